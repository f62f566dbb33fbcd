"""Never more than `limit` operations in any `window_s` seconds, counted at the moment each is begun. Pure.

A token bucket promises that of the places it gives out, not of the calls that follow them late and
bunched. SinoPac suspends who breaks its limit (an id, an address), so the session asks here in the last
line before a call. Time is an argument, on the host's monotonic clock, which outlives a process: what a
session that died has begun counts for the one after it (`past`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Window:
    """The last `limit` operations' times."""

    def __init__(self, limit: int, window_s: float, past: Iterable[float] = ()) -> None:
        """Raises ValueError unless limit ≥ 1 and window_s > 0."""
        if limit < 1 or window_s <= 0:
            raise ValueError(f"limit and window_s must be greater than 0, got {limit}, {window_s}")
        self._window_s = window_s
        self._begun: deque[float] = deque(sorted(past)[-limit:], maxlen=limit)

    def __repr__(self) -> str:
        return f"Window({len(self._begun)} of {self._begun.maxlen} per {self._window_s} s)"

    def wait_s(self, now: float, most_of: float = 1.0) -> float:
        """Seconds until one more may begin; 0: now. `most_of`: the share of the limit that is asked of.

        What can wait (a look, an order that opens) takes less than all of it, so that a cancel has room.
        """
        room = self._begun.maxlen or 0
        share = max(1, int(room * most_of))
        if len(self._begun) < share:
            return 0.0
        return max(0.0, self._begun[-share] + self._window_s - now)

    def begin(self, now: float) -> None:
        """One begins. Raises ValueError where wait_s() is not 0: who did not ask has a bug."""
        if self.wait_s(now) > 0:
            raise ValueError("more operations than the broker allows")
        self._begun.append(now)
