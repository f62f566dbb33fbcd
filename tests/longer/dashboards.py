"""`python -m tests.longer.dashboards`: every panel asked of a real Prometheus that scrapes a real installation.

An installation with twelve accounts trades for some seconds while Prometheus (Debian's package) finds its
processes and scrapes them; then each expression of each panel is asked, with the dashboards' variables
filled in. It ends with 1 where Prometheus refuses one, and lists the panels that stay empty: of an
installation in which nothing goes wrong some do, and people should know which. Two minutes.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import click

from ops.dashboards.__main__ import HERE
from ops.initialise import PAPER_INSTRUMENTS, Choices
from ops.trial.cast import assemble
from ops.trial.customer import API_RATES, customer
from ops.trial.exchange import broker_settings, exchange
from ops.trial.installation import Installation, free_port, fresh, remove, running
from ops.trial.sender import Sender, sender

THEIRS = ("node_", "pg_", "redis_")
UP_S = 120.0
STANDS_FOR = {"job": "portcullis", "__rate_interval": "30s"}


@click.command()
@click.option("--seconds", default=40, help="For how long it trades.")
def main(seconds: int) -> None:
    """Trade, scrape, ask."""
    with tempfile.TemporaryDirectory() as directory:
        raise SystemExit(asyncio.run(whole(Path(directory), seconds)))


async def whole(directory: Path, seconds: int) -> int:
    where = None
    try:
        async with exchange(directory / "exchange.log") as market:
            choices = Choices(
                ingress_port=0, admin_port=free_port(), api_rates=API_RATES,
                brokers={
                    "gateio": broker_settings(market.url),
                    "paper": {"instruments": PAPER_INSTRUMENTS},
                },
            )  # fmt: skip
            where = await asyncio.to_thread(fresh, directory / "var", choices)
            async with running(where, within_s=UP_S) as here, prometheus(directory, here) as url:
                async with customer(here, "Acme") as house:
                    cast = await assemble(house, market, accounts=12)
                authority = here.places.var / "tls" / "ca.pem"
                async with sender(here.state.urls["ingress"], authority, cast.hook) as strategy:
                    await trade(strategy, seconds)
                return await ask(url)
    finally:
        if where is not None:
            await asyncio.to_thread(remove, where)


async def trade(strategy: Sender, seconds: int) -> None:
    """In and out again; one of five is sent twice, and one has a body that is refused."""
    until, turn = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        turn += 1
        fields: dict[str, Any] = {"ticker": "BTC_USDT", "action": "exit" if turn % 2 else "buy"}
        sent = await strategy.send(**fields, **({} if turn % 2 else {"quantity": 10}))
        if turn % 5 == 0:
            await strategy.send(sent.message_id, **fields)
            await strategy.send(ticker="BTC_USDT")
        await asyncio.sleep(0.5)


@asynccontextmanager
async def prometheus(directory: Path, here: Installation) -> AsyncIterator[str]:
    """A Prometheus that finds the installation's processes by itself; its address."""
    trust = {"ca_file": str(here.places.var / "tls" / "ca.pem")}
    found = {
        "url": here.state.urls["admin"] + "/metrics/targets",
        "tls_config": trust,
        "refresh_interval": "5s",
    }
    scrape = {
        "job_name": "portcullis", "scheme": "https", "scrape_interval": "2s", "tls_config": trust,
        "http_sd_configs": [found],
    }  # fmt: skip
    config, address = directory / "prometheus.yml", f"127.0.0.1:{free_port()}"
    config.write_text(json.dumps({"scrape_configs": [scrape]}))  # JSON is YAML
    process = await asyncio.create_subprocess_exec(
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={address}", "--log.level=warn",
    )  # fmt: skip
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()


async def ask(url: str) -> int:
    """What each panel of ours shows; 1 where an expression is refused or no target was found."""
    refused, empty, shown = 0, [], 0
    async with aiohttp.ClientSession() as session:
        if not await answer(session, url, 'up{job="portcullis"} == 1'):
            print("no target was scraped")
            return 1
        for path in sorted(HERE.glob("*.json")):
            for panel in json.loads(path.read_text())["panels"]:
                texts = [target["expr"] for target in panel.get("targets", ())]
                found = [await answer(session, url, filled(text)) for text in texts]
                refused += found.count(None)
                shown += bool(any(found))
                if texts and not any(found) and not any(their in texts[0] for their in THEIRS):
                    empty.append(f"{path.stem}: {panel['title']}")
    print(f"{shown} panels show something, {refused} expressions were refused")
    print("empty, where nothing went wrong:", *sorted(empty), sep="\n  ")
    return int(refused > 0)


def filled(text: str) -> str:
    """The expression with the dashboard's variables at their defaults."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: STANDS_FOR.get(found[1], ".*"), text)


async def answer(session: aiohttp.ClientSession, url: str, text: str) -> list[Any] | None:
    """The series of the expression; None where Prometheus refuses it."""
    async with session.get(f"{url}/api/v1/query", params={"query": text}) as got:
        said = await got.json()
    if said["status"] != "success":
        print(f"refused: {text}: {said.get('error')}")
        return None
    return list(said["data"]["result"])


if __name__ == "__main__":
    main()
