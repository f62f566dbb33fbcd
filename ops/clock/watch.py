"""What one process sees of the host's clock, once a second: figures for metrics, and jumps by itself.

Time of day and time since boot part only when somebody steps the clock, so each process notices a
jump with no daemon's help. Judging does that anew at every look (tenancy/clock_quality.py); here it
is counted, logged, and told to whoever writes records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ops.clock import metrics
from tenancy.clock_file import ClockFile, read_instants
from tenancy.clock_quality import Instants, moved_ns
from tenancy.pause import pause

EVERY_S = 1.0
JUMP_NS = 1_000_000
"""Less is no jump to tell of; the bound holds it all the same."""

log = structlog.get_logger()


def jump_ns(before: Instants, now: Instants) -> int:
    """By how much the time of day jumped in between; 0: it did not. Forward is positive. Pure."""
    moved = moved_ns(now, before.offset_ns)
    noise = JUMP_NS + before.uncertainty_ns + now.uncertainty_ns
    return moved if abs(moved) > noise else 0


def nobody(_: int) -> None:
    """Most processes only count."""


async def watch(
    file: ClockFile,
    stop: asyncio.Event,
    *,
    jumped: Callable[[int], None] = nobody,
    instants: Callable[[], Instants] = read_instants,
    every_s: float = EVERY_S,
) -> None:
    """Until `stop`. `jumped` is told of each jump, in ns."""
    before = instants()
    while not stop.is_set():
        now = instants()
        if by_ns := jump_ns(before, now):
            metrics.stepped(by_ns)
            log.warning("clock_jumped", by_ns=by_ns)
            jumped(by_ns)
        before = now
        metrics.publish(file.quality(), file.report)
        await pause(stop, every_s)
