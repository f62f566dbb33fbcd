"""Time as an input. UTC for what is written down, the monotonic clock for how long something took."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What code that decides by time is given."""

    def now(self) -> datetime:
        """The time, UTC, aware."""
        ...

    def now_ns(self) -> int:
        """The time in Unix nanoseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards and never stop; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        # CLOCK_MONOTONIC stands still while the machine is suspended, and a lease does not.
        return time.clock_gettime(time.CLOCK_BOOTTIME)
