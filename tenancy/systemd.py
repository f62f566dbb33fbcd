"""What a process tells systemd, where systemd started it: that it works, that its loop still turns, that it ends.

sd_notify(3): a datagram to the Unix socket that NOTIFY_SOCKET names. `Type=notify` makes `systemctl start` and
a rolling upgrade wait for READY=1, which is sent when the process does its work and not when it was begun.
`WatchdogSec=` has a process that hangs ended and begun anew: the beat comes from the event loop that does the
work, at a third of the time that systemd waits. Where nobody asked (`portcullis up`, a test) nothing is sent.

Three dozen lines of our own: the packages that exist for it are bindings of libsystemd (LGPL, a compiler on the
host), or have not been kept for years.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import structlog

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
BEATS = 3
"""In the time after which systemd takes a silent process for dead."""

log = structlog.get_logger()


@asynccontextmanager
async def working(environment: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Within it the process does its work, and systemd knows."""
    tell(READY, environment)
    beating = asyncio.create_task(_beat(environment), name="watchdog")
    try:
        yield
    finally:
        tell(STOPPING, environment)
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


def tell(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send one line. A systemd that does not listen stops nothing: it is logged."""
    at = environment.get("NOTIFY_SOCKET", "")
    if not at:
        return
    # A name that begins with @ is in the abstract namespace, whose names begin with a zero byte.
    address = "\0" + at[1:] if at.startswith("@") else at
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), address)
    except OSError as error:
        log.warning("systemd_not_told", state=state, error=str(error))


def beat_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two beats; None where systemd does not watch this process. Pure."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 / BEATS if text.isdecimal() and int(text) > 0 else None


async def _beat(environment: Mapping[str, str]) -> None:
    every_s = beat_s(environment, os.getpid())
    while every_s is not None:
        tell(ALIVE, environment)
        await asyncio.sleep(every_s)
