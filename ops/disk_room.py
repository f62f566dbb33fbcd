"""How much room is left where a process writes, as metrics: a full disk is seen coming, and each place by itself.

Every process looks at its own places, for another's user may not reach them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from ops import metrics
from tenancy.pause import pause

EVERY_S = 5.0

log = structlog.get_logger()


async def watch_disks(
    places: Mapping[str, Path], stop: asyncio.Event, *, every_s: float = EVERY_S
) -> None:
    """Show the room of each place, by its name, until `stop`. A file system that hangs holds up only this."""
    while not stop.is_set():
        for name, path in places.items():
            await asyncio.to_thread(look, name, path)
        await pause(stop, every_s)


def look(name: str, path: Path) -> None:
    """Show one place, or of a directory that is not there yet, the place where it will be made."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        found = os.statvfs(path)
    except OSError as error:
        log.warning("disk_room_unknown", place=name, error=str(error))
        return
    metrics.DISK_FREE.labels(name).set(found.f_bavail * found.f_frsize)
    metrics.DISK_SIZE.labels(name).set(found.f_blocks * found.f_frsize)
