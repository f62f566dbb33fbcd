"""This machine's clocks, of which the time of day can be set."""

from __future__ import annotations

from datetime import datetime, timedelta

from tenancy.clock import SystemClock


class SteppedClock(SystemClock):
    """`step_s`: by how much the time of day is ahead of the true one (below 0: behind)."""

    def __init__(self) -> None:
        self.step_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.step_s)

    def now_ns(self) -> int:
        return super().now_ns() + int(self.step_s * 1e9)
