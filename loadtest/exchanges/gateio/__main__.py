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

import orjson
import uvloop

from loadtest.exchanges.gateio.server import Simulator


async def _run(port: int, state_file: Path | None) -> None:
    simulator = Simulator()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    url = await simulator.start(port=port)
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


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.exchanges.gateio",
        description="A Gate.io USDT-perpetual API v4 on loopback, which can be told to misbehave.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free port")
    parser.add_argument(
        "--state-file", type=Path, help="write every executed order there, as JSON, at the end"
    )
    arguments = parser.parse_args()
    # Every order is kept for ever: scanning them again and again would be most of the work.
    gc.set_threshold(100_000, 50, 100)
    uvloop.run(_run(arguments.port, arguments.state_file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
