"""How fast one account may place orders: a token bucket that also obeys what the broker says.

`Budget` is pure: time is an argument, on any clock that never runs backwards. It promises that
no window of `window_s` seconds ever holds more than `limit` sends. A plain token bucket does not:
a full bucket and then a window's refill make twice the limit. So the burst is taken out of the
limit and the rest is the steady rate: of any `limit` + 1 sends in a row, the last comes at least
(limit - burst + 1) steady intervals after the first, which is more than the window.

The broker's own count (`X-Gate-RateLimit-*` and its like) is a hint that can only slow us down:
it is stale by the requests that are still under way, and another program may use the same key.

`Budgets` holds one Budget per account and waits, for one process alone: where several share a
broker's limit, fanout/shared_budget.py does the same through Redis. Were the limit hit all the same,
the broker answers 429, which means *not placed*: nothing is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol
from uuid import UUID

Key = UUID | str
"""Whose limit it is: an account, or where several of ours are one to the broker, its name for them."""


class Pace(Protocol):
    """What an adapter is given to keep within its broker's limits."""

    async def wait(self, key: Key, *, closes: bool = False) -> None:
        """Return when one more request may be sent. `closes`: it reduces or cancels, and goes first."""
        ...

    def hint(self, key: Key, *, remaining: int, reset_in_s: float) -> None:
        """The broker's own count: `remaining` more within the next `reset_in_s` seconds."""
        ...


class MakesPace(Protocol):
    """How a broker's limit becomes what its adapter is given."""

    def __call__(self, name: str, *, limit: int, window_s: float, burst: int) -> Pace: ...


class BrokersCount:
    """What the broker said is left of its window. It can only slow us down."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._remaining: int | None = None
        self._reset_at_s = float("-inf")

    def __repr__(self) -> str:
        return f"BrokersCount(remaining={self._remaining})"

    def hint(self, remaining: int, reset_at_s: float) -> None:
        """`remaining` more are allowed until `reset_at_s`."""
        same_window = abs(reset_at_s - self._reset_at_s) < self._window_s / 2
        if same_window and self._remaining is not None:
            remaining = min(remaining, self._remaining)  # ours counts what is still under way
        self._remaining, self._reset_at_s = max(0, remaining), reset_at_s

    def pause(self, now: float) -> float:
        """Seconds until one more is allowed."""
        if self._remaining is None or now >= self._reset_at_s:
            self._remaining = None
            return 0.0
        return 0.0 if self._remaining > 0 else self._reset_at_s - now

    def take(self, now: float) -> bool:
        """Take one of what is left; False where there is none."""
        if self.pause(now) > 0:
            return False
        if self._remaining is not None:
            self._remaining -= 1
        return True


class Budget:
    """At most `limit` sends in any `window_s` seconds, of which `burst` may come at once."""

    def __init__(self, *, limit: int, window_s: float, burst: int) -> None:
        """Raises ValueError unless 1 ≤ burst < limit and window_s > 0."""
        if not 1 <= burst < limit:
            raise ValueError(f"burst must be 1 to {limit - 1}, got {burst}")
        if window_s <= 0:
            raise ValueError(f"window_s must be greater than 0, got {window_s}")
        self._limit = limit
        self._window_s = window_s
        self._interval_s = window_s / (limit - burst)
        self._slack_s = self._interval_s * (burst - 1)
        self._due = float("-inf")  # when the next send would be due at the steady rate
        self._count = BrokersCount(window_s)

    def __repr__(self) -> str:
        return f"Budget({self._limit} per {self._window_s} s, {self._count!r})"

    def reserve(self, now: float) -> float:
        """Take the next place in the queue: seconds to wait before sending, 0 = go.

        Places are given in order and never given back; who decides not to send wastes one.
        """
        at = max(now, self._due - self._slack_s, self._earliest_by_hint(now))
        self._due = max(self._due, at) + self._interval_s
        return at - now

    def hint(self, remaining: int, reset_at_s: float) -> None:
        """The broker says that `remaining` more are allowed until `reset_at_s` (the clock of reserve())."""
        self._count.hint(remaining, reset_at_s)

    def _earliest_by_hint(self, now: float) -> float:
        at = now + self._count.pause(now)
        self._count.take(now)
        return at


class Budgets:
    """The budgets of one broker's accounts. Not shared between processes."""

    def __init__(
        self,
        *,
        limit: int,
        window_s: float,
        burst: int,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._make = lambda: Budget(limit=limit, window_s=window_s, burst=burst)
        self._make()  # a wrong setting is refused at start, not at the first order
        self._now = now
        self._of: dict[Key, Budget] = {}

    def of(self, key: Key) -> Budget:
        budget = self._of.get(key)
        if budget is None:
            budget = self._of[key] = self._make()
        return budget

    async def wait(self, key: Key, *, closes: bool = False) -> None:
        """Return when one order may be sent. In one process all go in their order, closing or not."""
        wait_s = self.of(key).reserve(self._now())
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def hint(self, key: Key, *, remaining: int, reset_in_s: float) -> None:
        """Pass on what an answer said: `remaining` more within the next `reset_in_s` seconds."""
        self.of(key).hint(remaining, self._now() + reset_in_s)


def alone(name: str, *, limit: int, window_s: float, burst: int) -> Budgets:
    """A `MakesPace` for who shares a broker's limit with nobody."""
    return Budgets(limit=limit, window_s=window_s, burst=burst)
