"""Circuit breakers: who does not answer is not asked a thousand times. Pure: time is an argument.

One per broker and one per account (a venue may refuse one key's connections and serve all others).
So many failures of transport in a row open it: `Unsent`, `InDoubt`, `Maintenance`. A word of the
broker closes it, also one that says no: `Rejected` is never a failure. What the adapter said no to by
itself, before anything left, is neither.

While it is open, what opens a position waits: for one *probe* at a time, after pauses that grow up to a
cap. What closes, cancels or asks goes through, for a wrong guess must not keep a position open; if it is
answered, that closes the breaker, too. An order that cannot come before its deadline is denied at once
(`broker_unavailable`), never sent late.

In memory: a new process finds out again. A crash leaves nothing behind.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import structlog

from fanout import metrics
from fanout.order import Order
from fanout.ports import AuthFailed, InDoubt, Maintenance, Outcome, Rejected, Unsent
from fanout.switch import opens
from tenancy.values import AccountID

log = structlog.get_logger()

PROBE_S = 30.0
"""After so long a probe that nobody heard of again counts as lost, and another may go."""


class BreakerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Failures in a row that open it, and how long it then waits for a probe. Seconds."""

    account_failures: int = 5
    broker_failures: int = 20
    pause_first_s: float = 0.5
    pause_most_s: float = 5.0

    def __post_init__(self) -> None:
        if min(self.account_failures, self.broker_failures) < 1:
            raise ValueError("account_failures and broker_failures must be at least 1")
        if not 0 < self.pause_first_s <= self.pause_most_s:
            raise ValueError("pause_first_s must be above 0 and not above pause_most_s")


State = Literal["closed", "open", "half_open"]


class Breaker:
    """Of one broker, or of one account."""

    def __init__(self, failures_max: int, settings: BreakerSettings) -> None:
        self._failures_max, self._settings = failures_max, settings
        self._failures = 0
        self._pause_s = settings.pause_first_s
        self._until = 0.0
        self._probing_since: float | None = None
        self.state: State = "closed"

    def __repr__(self) -> str:
        return f"Breaker({self.state}, failures={self._failures})"

    def pause_s(self, now: float) -> float:
        """Seconds until something that opens may be tried; 0: now, and while open as the one probe."""
        if self.state == "closed":
            return 0.0
        if self._is_probing(now):
            return self._settings.pause_first_s
        return max(0.0, self._until - now)

    def enter(self, now: float) -> None:
        """What opens is sent now, as `pause_s` allowed."""
        if self.state != "closed":
            self.state, self._probing_since = "half_open", now

    def answered(self) -> None:
        """The broker's word, whichever."""
        self._failures, self._probing_since = 0, None
        self._pause_s = self._settings.pause_first_s
        self.state = "closed"

    def failed(self, now: float, *, until: float | None = None, probe: bool = True) -> None:
        """No answer. `until`: when the broker said that it will be back. `probe`: what opens was sent."""
        self._failures += 1
        if self.state == "closed":
            if self._failures >= self._failures_max:
                self._open(now, until)
        elif probe and self.state == "half_open":
            self._pause_s = min(2 * self._pause_s, self._settings.pause_most_s)
            self._open(now, until)

    def _open(self, now: float, until: float | None) -> None:
        self.state, self._probing_since = "open", None
        self._until = max(now + self._pause_s, until or now)

    def _is_probing(self, now: float) -> bool:
        return self._probing_since is not None and now - self._probing_since < PROBE_S


class Breakers:
    """Those of one worker."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._brokers: dict[str, Breaker] = {}
        self._accounts: dict[str, dict[AccountID, Breaker]] = {}

    def __repr__(self) -> str:
        return f"Breakers({self.words()})"

    def pause_s(self, order: Order, now: float) -> float:
        """For how long the order is to wait; 0 for what closes, whatever is open."""
        if not opens(order):
            return 0.0
        return max(breaker.pause_s(now) for breaker in self._both(order))

    def enter(self, order: Order, now: float) -> None:
        """The order is sent now: of an open breaker it is the probe."""
        if opens(order):
            for breaker in self._both(order):
                breaker.enter(now)

    def heard(self, order: Order, outcome: Outcome, now: float, until_s: float = 0.0) -> None:
        """What became of the sending. `until_s`: in how many seconds the broker will be back."""
        if isinstance(outcome, Rejected | AuthFailed) and not outcome.left:
            return
        failed = isinstance(outcome, Unsent | InDoubt | Maintenance)
        for breaker, whose in zip(self._both(order), ("broker", "account"), strict=True):
            was = breaker.state
            if failed:
                until = now + until_s if until_s > 0 else None
                breaker.failed(now, until=until, probe=opens(order))
            else:
                breaker.answered()
            self._tell(order, whose, was, breaker.state)

    def words(self) -> str:
        """What is open, for people."""
        said = []
        for name, broker in sorted(self._brokers.items()):
            accounts = sum(b.state != "closed" for b in self._accounts.get(name, {}).values())
            if broker.state != "closed":
                said.append(f"{name}: does not answer, what opens waits")
            elif accounts:
                said.append(f"{name}: does not answer for {accounts} account(s), what opens waits")
        return "; ".join(said) or "all brokers answer"

    def _both(self, order: Order) -> tuple[Breaker, Breaker]:
        broker = self._brokers.get(order.broker)
        if broker is None:
            made = Breaker(self._settings.broker_failures, self._settings)
            broker = self._brokers[order.broker] = made
        accounts = self._accounts.setdefault(order.broker, {})
        account = accounts.get(order.account_id)
        if account is None:
            made = Breaker(self._settings.account_failures, self._settings)
            account = accounts[order.account_id] = made
        return broker, account

    def _tell(self, order: Order, whose: str, was: State, state: State) -> None:
        """Once each time that it opens or closes; a probe is no news."""
        if (was == "closed") == (state == "closed"):
            return
        breakers = (
            [self._brokers[order.broker]]
            if whose == "broker"
            else list(self._accounts[order.broker].values())
        )
        count = sum(breaker.state != "closed" for breaker in breakers)
        metrics.BREAKERS_OPEN.labels(order.broker, whose).set(count)
        event = "breaker_closed" if state == "closed" else "breaker_open"
        named = str(order.account_id) if whose == "account" else ""
        log.warning(event, broker=order.broker, of=whose, account=named)
