"""Run the simulator as a process: prints {"url": …} when ready; SIGTERM ends it cleanly.

With --state-file the audit document is written there at the end (to a temporary file, then
renamed), so that an auditor can read what was executed after the process is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path

import msgspec
import orjson
import uvloop

from loadtest.exchanges.gateio.faults import Rule
from loadtest.exchanges.gateio.mood import BadMood, SeededMood
from loadtest.exchanges.gateio.server import Simulator


async def _run(
    host: str, port: int, state_file: Path | None, rules: list[Rule], mood: BadMood | None
) -> None:
    simulator = Simulator()
    simulator.gateway.faults.add(rules)
    if mood is not None:
        simulator.gateway.faults.mood = SeededMood(mood)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    url = await simulator.start(host=host, port=port)
    print(json.dumps({"url": url}), flush=True)
    try:
        await stopped.wait()
    finally:
        await simulator.stop()
        if state_file is not None:
            _write(state_file, orjson.dumps(simulator.control.audit()))


def _write(path: Path, document: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(document)
    os.replace(beside, path)


def _rule(text: str) -> Rule:
    """`kind,name=value,…`; the names are Rule's."""
    kind, *members = text.split(",")
    named = dict(member.partition("=")[::2] for member in members)
    try:
        return msgspec.convert({"kind": kind, **named}, Rule, strict=False)
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.exchanges.gateio",
        description="A Gate.io USDT-perpetual API v4, which can be told to misbehave.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free port")
    parser.add_argument(
        "--state-file", type=Path, help="write every executed order there, as JSON, at the end"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND[,NAME=VALUE…]", type=_rule,
        help="a fault rule, as drop_after,probability=0.1 (kinds: loadtest/exchanges/gateio/faults.py)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="a bad mood, by this number")
    parser.add_argument("--share", type=float, default=0.1, help="of requests that the mood hits")
    arguments = parser.parse_args()
    try:
        mood = (
            None if arguments.seed is None else BadMood(seed=arguments.seed, share=arguments.share)
        )
    except ValueError as error:
        parser.error(f"--share: {error}")
    # Every order is kept for ever: scanning them again and again would be most of the work.
    gc.set_threshold(100_000, 50, 100)
    uvloop.run(_run(arguments.host, arguments.port, arguments.state_file, arguments.fault, mood))
    return 0


if __name__ == "__main__":
    sys.exit(main())
