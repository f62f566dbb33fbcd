"""The clock agent as a process: `python -m ops.clock --settings FILE --index 0`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import structlog

from hsm.hardening import harden
from ops import telemetry
from ops.clock.agent import Agent, clock_file, seen
from ops.health import Health
from ops.processes import health_socket
from ops.settings import Settings, read_settings
from tenancy.clock_file import ClockFile
from tenancy.errors import ConfigurationError, PortcullisError

log = structlog.get_logger()


async def work(settings: Settings, index: int) -> None:
    """Measure and say so until SIGTERM. Raises ConfigurationError where no clock is set up."""
    if settings.clock is None:
        raise ConfigurationError("[clock] is missing: there is nothing to measure for")
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    path = clock_file(settings.instance.runtime)
    sense = ClockFile(path)
    health = Health(health_socket(settings, "clock", index), {"clock": lambda: seen(sense)})
    await health.start()
    log.info("started")
    try:
        await Agent(settings.clock, path).run(stop)
    finally:
        await health.stop()
    log.info("stopped")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.clock", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--index", type=int, default=0)
    given = parser.parse_args(arguments)
    harden()
    try:
        settings = read_settings(given.settings)
        telemetry.set_up_logging(settings.telemetry.log_level, process="clock", index=given.index)
        asyncio.run(work(settings, given.index))
    except (PortcullisError, OSError) as error:
        print(f"portcullis: {error}", file=sys.stderr)  # noqa: T201 - before and after logging
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
