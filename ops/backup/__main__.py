"""The WAL archive as a process: `python -m ops.backup --settings FILE --index 0`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from hsm.hardening import harden
from ops import telemetry
from ops.backup.archive import Archive
from ops.backup.prepare import wanted
from ops.health import Health
from ops.processes import health_socket
from ops.settings import Settings, read_settings
from tenancy.errors import PortcullisError

log = structlog.get_logger()


async def work(settings: Settings, index: int) -> None:
    """Receive and watch until SIGTERM. Raises ConfigurationError where nothing was prepared."""
    archive = Archive(wanted(settings), settings.instance.var / "log" / "pg_receivewal.log")
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    health = Health(health_socket(settings, "archive", index), {"archive": archive.check})
    await health.start()
    log.info("started")
    try:
        await archive.run(stop)
    finally:
        await health.stop()
    log.info("stopped")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.backup", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--index", type=int, default=0)
    given = parser.parse_args(arguments)
    harden()
    os.umask(0o077)
    try:
        settings = read_settings(given.settings)
        telemetry.set_up_logging(settings.telemetry.log_level, process="archive", index=given.index)
        asyncio.run(work(settings, given.index))
    except (PortcullisError, OSError) as error:
        print(f"portcullis: {error}", file=sys.stderr)  # noqa: T201 - before and after logging
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
