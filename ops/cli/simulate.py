"""`portcullis simulate`: an exchange of one's own on loopback, to trade on without money.

The simulator is a program of its own (loadtest/exchanges), which imports nothing of ours and which we do
not import: it is started as a child, set up over its control API, and ends with this command.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit

import click

from ops.cli.simulate_shioaji import shioaji
from ops.processes import ROOT
from tenancy.errors import ConfigurationError

STOP_TIMEOUT_S = 10.0
CONTROL_TIMEOUT_S = 10.0


@click.group()
def simulate() -> None:
    """Run a simulated exchange on loopback, to trade on without money."""


@simulate.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: a free one.")
@click.option("--accounts", type=click.IntRange(1, 1000), default=2, show_default=True,
              help="So many, each with a key of its own.")  # fmt: skip
@click.option(
    "--balance",
    type=click.IntRange(0),
    default=10_000,
    show_default=True,
    help="USDT of each account.",
)
@click.option(
    "--seed", type=int, help="A bad mood: faults decided by this number alone, the same each time."
)
@click.option("--share", type=click.FloatRange(0, 1), default=0.1, show_default=True,
              help="Of the requests and messages that the mood hits.")  # fmt: skip
@click.option("--fault", "faults", multiple=True, metavar="KIND[,NAME=VALUE…]",
              help="A fault rule, as drop_after,probability=0.1 or 429,lasting_s=5. Can be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Say where it is as one line of JSON.")
def gateio(
    port: int,
    accounts: int,
    balance: int,
    seed: int | None,
    share: float,
    faults: Sequence[str],
    as_json: bool,
) -> None:
    """Gate.io: futures, REST and WebSocket, until Ctrl-C. Everything is forgotten at its end.

    \b
    Example:  portcullis simulate gateio --port 8085
              portcullis simulate gateio --seed 7 --share 0.2
    """
    command = [sys.executable, "-m", "loadtest.exchanges.gateio", "--port", str(port)]
    if seed is not None:
        command += ["--seed", str(seed), "--share", str(share)]
    for fault in faults:
        command += ["--fault", fault]
    with _child(command) as (child, url):
        keys = [f"simulated-{n}" for n in range(1, accounts + 1)]
        rows = [{"key": key, "secret": f"{key}-secret", "balance": str(balance)} for key in keys]
        _control(url, "accounts", rows)
        _say(url, rows, as_json=as_json)
        child.wait()


@contextmanager
def _child(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running simulator and its URL; ended with the block. Raises ConfigurationError."""

    def stop(_: int, __: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    # Ctrl-C, too: whoever was started in the background has it ignored, and Python then leaves it so.
    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            child.wait()
            raise ConfigurationError(
                "the simulator ended before it listened: see the lines above, and whether the port is free"
            )
        yield child, json.loads(line)["url"]
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _control(url: str, path: str, document: object) -> None:
    address = urlsplit(url)
    assert address.hostname is not None
    connection = HTTPConnection(address.hostname, address.port, timeout=CONTROL_TIMEOUT_S)
    with closing(connection):
        connection.request("POST", f"/_control/{path}", body=json.dumps(document))
        answer = connection.getresponse()
        said = json.loads(answer.read())
    if answer.status != 200:
        raise ConfigurationError(f"the simulator refused the {path}: {said['message']}")


def _say(url: str, rows: list[dict[str, str]], *, as_json: bool) -> None:
    socket = url.replace("http://", "ws://") + "/v4/ws/usdt"
    if as_json:
        said = {"url": url, "rest": f"{url}/api/v4", "websocket": socket, "accounts": rows}
        click.echo(json.dumps(said))
        sys.stdout.flush()
        return
    click.echo(f"REST       {url}/api/v4")
    click.echo(f"WebSocket  {socket}")
    for row in rows:
        click.echo(f"key {row['key']}  secret {row['secret']}  {row['balance']} USDT")
    click.echo(
        f"""
Any Gate client trades on it: give it that host and a key. Ours: base_url = "{url}" in [brokers.gateio].

  curl {url}/api/v4/futures/usdt/tickers
  curl {url}/_control/price  -d '{{"contract": "BTC_USDT", "mark": "61000"}}'      the market moves
  curl {url}/_control/faults -d '[{{"kind": "drop_after", "probability": 0.1}}]'   it misbehaves
  curl {url}/_control/mood   -d '{{"seed": 7, "share": 0.2}}'                      by number
  curl {url}/_control/audit                                                     what it executed

Ctrl-C ends it."""
    )
    sys.stdout.flush()


simulate.add_command(shioaji)
