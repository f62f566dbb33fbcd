"""`portcullis simulate gateio`: it says where it is, trades, misbehaves by number, and ends cleanly."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from click.testing import CliRunner

from loadtest.exchanges.gateio.control_client import ControlClient
from ops.cli.main import cli
from tests.integration.simulator.clients import Wire

COMMAND = (sys.executable, "-m", "ops.cli.main", "simulate", "gateio")


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, bytes]]:
    """The process, and its first line."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            yield process, await process.stdout.readline()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_what_it_says_is_enough_to_trade_and_ctrl_c_ends_it():
    async with running("--json", "--accounts", "1", "--seed", "4", "--share", "0") as (
        process,
        line,
    ):
        said: dict[str, Any] = json.loads(line)
        (account,) = said["accounts"]
        wire = Wire(said["url"], account["key"], account["secret"])
        status, order = await wire.order("t-first")
        assert (status, order["finish_as"]) == (201, "filled")
        async with ControlClient(said["url"]) as control:
            mood = await control.mood()
            assert mood is not None
            assert mood["seed"] == 4
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    with_nobody = await asyncio.to_thread(refused, said["url"])
    assert with_nobody


def refused(url: str) -> bool:
    """Is the port closed again?"""
    import socket

    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def test_a_misspelt_fault_is_said_plainly(capfd):
    wrong = CliRunner().invoke(cli, ["simulate", "gateio", "--fault", "drop_sometimes"])
    assert wrong.exit_code == 2
    assert "ended before it listened" in wrong.stderr
    assert "drop_sometimes" in capfd.readouterr().err  # the simulator's own words
