"""A process that needs nothing of what ops/compose.py wires: the clock agent, the WAL archive.

It is hardened, reads the settings, logs as the others do, works until SIGTERM or SIGINT, and says over its health
socket how it is. Exit status 1, with a sentence on stderr, where it cannot run.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import structlog

from hsm.hardening import harden
from ops import telemetry
from ops.health import Check, Health
from ops.processes import health_socket
from ops.settings import Settings, read_settings
from tenancy import systemd
from tenancy.errors import PortcullisError

log = structlog.get_logger()

Work = Callable[[Settings, int], Coroutine[Any, Any, None]]


async def until_told(
    settings: Settings, name: str, index: int, checks: Mapping[str, Check],
    run: Callable[[asyncio.Event], Awaitable[None]],
) -> None:  # fmt: skip
    """`run` with an event that is set when the process is told to end, beside its health socket."""
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    health = Health(health_socket(settings, name, index), checks)
    await health.start()
    log.info("started")
    try:
        async with systemd.working():
            await run(stop)
    finally:
        await health.stop()
    log.info("stopped")


def main(name: str, module: str, about: str, work: Work, arguments: list[str] | None) -> int:
    """The program's exit status. `about`: its help."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--index", type=int, default=0)
    given = parser.parse_args(arguments)
    harden()
    try:
        settings = read_settings(given.settings)
        telemetry.set_up_logging(settings.telemetry.log_level, process=name, index=given.index)
        asyncio.run(work(settings, given.index))
    except (PortcullisError, OSError) as error:
        print(f"portcullis: {error}", file=sys.stderr)  # noqa: T201 - before and after logging
        return 1
    return 0
