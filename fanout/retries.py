"""When the same attempt may be sent again. Pure: time is an argument.

Only after an outcome that says that the order does not exist (`Unsent`, `RateLimited`,
`Maintenance`): then nothing is sent twice by sending again. What opens a position goes on until its
deadline (`worker.open_window_s` after its plan), what closes until it is done or a person stops it: by
the kill switch, or by a wish to cancel it, which is looked for before each repetition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

from fanout.order import Order, OrdState
from fanout.ports import AuthFailed, Maintenance, Outcome, RateLimited, Rejected, Unsent
from tenancy.scope import TenantScope

Unwanted = Callable[[TenantScope, Order], Awaitable[bool]]
"""Whether somebody wishes an order cancelled that has not been sent yet."""

Why = Literal["", "unsent", "rate_limited", "maintenance", "breaker"]


class Tries:
    """How one attempt fares at being sent. `first_s` to `most_s`: its growing pauses."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._wait_s, self._most_s = first_s, most_s
        self._again_at: float | None = None
        self.why: Why = ""
        self.last: Outcome | None = None
        self.count = 0
        """So many were sent, and certainly did not arrive."""

    def __repr__(self) -> str:
        return f"Tries({self.count}, {self.why})"

    def sent(self, outcome: Outcome, mono: float, now: datetime) -> float | None:
        """Seconds until it may be sent again, or None where the outcome stands."""
        pause_s = self._pause_s(outcome, now)
        if pause_s is None:
            return None
        self.last, self.count = outcome, self.count + 1
        self._wait_s = min(2 * self._wait_s, self._most_s)
        self._again_at = mono + pause_s
        return pause_s

    def rest_s(self, mono: float) -> float:
        """How much of the pause is left."""
        return 0.0 if self._again_at is None else max(0.0, self._again_at - mono)

    def news(self, why: Why) -> bool:
        """Whether it waits for something else than before: said once, not at every try."""
        was, self.why = self.why, why
        return why != was

    def because(self) -> Why:
        """Of its last outcome."""
        if isinstance(self.last, RateLimited):
            return "rate_limited"
        return "maintenance" if isinstance(self.last, Maintenance) else "unsent"

    def _pause_s(self, outcome: Outcome, now: datetime) -> float | None:
        if isinstance(outcome, Unsent):
            return self._wait_s
        if isinstance(outcome, RateLimited):
            return max(outcome.retry_after_s, self._wait_s)
        if isinstance(outcome, Maintenance):
            return max(until_s(outcome, now), self._wait_s)
        return None


async def nobody_wishes(scope: TenantScope, order: Order) -> bool:
    """The `Unwanted` of who has nobody to ask."""
    return False


def until_s(outcome: Outcome, now: datetime) -> float:
    """In how many seconds the broker said that its maintenance is over; 0: it did not say."""
    if not isinstance(outcome, Maintenance) or outcome.until is None:
        return 0.0
    return max(0.0, (outcome.until - now).total_seconds())


def refusal(outcome: Outcome) -> tuple[str, str, OrdState]:
    """Code, text and state of an outcome that says no."""
    if isinstance(outcome, Rejected):
        return outcome.code, outcome.text, OrdState.REJECTED
    if isinstance(outcome, AuthFailed):
        return f"auth_{outcome.kind}", outcome.text, OrdState.REJECTED
    if isinstance(outcome, RateLimited):
        return "rate_limited", "the broker's rate limit outlasted the deadline", OrdState.UNSENT
    if isinstance(outcome, Maintenance):
        return "maintenance", outcome.text, OrdState.UNSENT
    assert isinstance(outcome, Unsent)
    return "unsent", outcome.cause, OrdState.UNSENT
