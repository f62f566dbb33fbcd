"""One process of the product: `python -m ops.run NAME --settings FILE [--index I] [--fd N]`.

Settings, then telemetry, then a look whether the schema serves this code (ops/migrate.py), then wiring
(ops/compose.py), then work, until SIGTERM. A part that does not answer at the start ends the process
with status 1, and its supervisor tries again: one path for start and repair. PostgreSQL alone is asked again
and again: after an outage a pooler's first answer is that of before, and where a whole host boots, a process
that begins anew takes from PostgreSQL the processor that it waits for. Never under -O: the assertions stay on.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import structlog

from audit.worm import rights
from hsm.hardening import harden
from ops import migrate, serve, telemetry
from ops.compose import PROCESSES, Process, Seat, process
from ops.garbage import collect_garbage_rarely
from ops.health import Health
from ops.processes import health_socket
from ops.settings import Settings, read_settings
from tenancy import systemd
from tenancy.errors import PortcullisError

STOP_LIMIT_S = 8.0
DATABASE_WITHIN_S = 240.0
"""Less than systemd lets a start take (ansible/roles/portcullis/templates/sandbox.conf.j2)."""
ROLE = {"session": "worker"}
"""Under which database role a process asks, where it has not its own name."""

log = structlog.get_logger()


async def run_process(
    name: str, wired: Process, settings: Settings, index: int, fd: int | None
) -> int:
    """Run until told to stop (0) or until the work ends by itself, which is a fault (1)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    async with wired(settings, Seat(index=index, fd=fd, stop=stop)) as (checks, work):
        health = Health(health_socket(settings, name, index), checks)
        await health.start()
        log.info("started")
        try:
            async with systemd.working():
                await _until(stop, work)
        finally:
            await health.stop()
    log.info("stopped")
    return 0 if stop.is_set() else 1


async def _until(stop: asyncio.Event, work: asyncio.Task[None]) -> None:
    """Wait for either; then give the work STOP_LIMIT_S to end. Raises what the work raised."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, work], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await work
    except TimeoutError:
        log.error("stop_took_too_long", limit_s=STOP_LIMIT_S)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.run", description=__doc__)
    parser.add_argument("name", choices=sorted(PROCESSES))
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--fd", type=int)
    given = parser.parse_args(arguments)
    if not __debug__:
        print("portcullis refuses to run under -O: its assertions are part of it", file=sys.stderr)  # noqa: T201
        return 2
    harden()
    rights.give_up(rights.CAP_LINUX_IMMUTABLE)  # the sealer alone has it
    wired = process(given.name)  # imported before the collector is told what is there
    collect_garbage_rarely()
    try:
        settings = read_settings(given.settings)
    except PortcullisError as error:
        print(f"portcullis: {error}", file=sys.stderr)  # noqa: T201 - before logging is set up
        return 2
    provider = telemetry.set_up(settings.telemetry, process=given.name, index=given.index)
    try:
        role = ROLE.get(given.name, given.name)
        migrate.require(getattr(settings.database, role), within_s=DATABASE_WITHIN_S)
        return serve.run(lambda: run_process(given.name, wired, settings, given.index, given.fd))
    except PortcullisError as error:
        log.error("cannot_run", code=error.code, error=str(error))
        return 1
    finally:
        telemetry.close(provider)


if __name__ == "__main__":
    sys.exit(main())
