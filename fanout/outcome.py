"""What became of a signal: one word for each account, and one object for all of them. Pure.

The same object everywhere: the API shows it, the live stream and notifications tell it when the
signal is done, a sender that waits gets it (`Prefer: wait`). It says only how many accounts are in
which state, never which: those are pages of their own.

A signal is **done** when everything that its plan wanted has come to its end: no part of the plan
is unwritten, nobody is asked, no order of it is open. Two things do not hold it up, because they
may wait for weeks: what stands behind a position (roles `stop` and `target`), and an entry that the
gateway's own stop engine holds until its price is reached. Such an account counts as `working`.

Times are our own clock's throughout, so no difference is of two clocks:

    plan_ms   from the signal's receipt (a delayed one's due time) to its plan
    send_ms   from the plan (or a person's yes) to the account's first order on the wire
    ack_ms    from there to the broker's first answer
    fill_ms   from that to the last fill as we learned it; of accounts whose orders filled whole
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Literal

import msgspec

from fanout.order import FINAL, OrdState, Side
from fanout.reasons import Reason
from fanout.slippage import Reference, slippage_bps
from tenancy.values import plain

SignalState = Literal["accepted", "planned", "working", "done", "refused", "canceled"]
"""`canceled`: taken back before it was planned."""
Kept = Literal["accepted", "planned", "refused", "canceled"]
"""What a signal's own row says."""
AccountState = Literal[
    "skipped",  # nothing was to be done: the reason says why
    "cancels",  # open orders were cancelled, nothing new was sent
    "asked",  # a person's answer is waited for, or what was approved is not written yet
    "declined",  # a person said no, or nobody answered in time, or the yes had become void
    "planned",  # its orders are not written yet
    "working",  # an order of it is open
    "filled",  # everything that was asked for is filled
    "partly_filled",  # it ended with less
    "failed",  # it ended with nothing
]
End = Literal["filled", "partly_filled", "failed", "working", "nothing", "refused"]
"""What became of all accounts of a signal together, in a word: for counting."""
Answer = Literal["pending", "approved", "rejected", "expired", "void"]

OPEN = frozenset(OrdState) - FINAL
HOLDS_UP = OPEN - {OrdState.HELD}
"""States in which an entry's order keeps its signal from being done."""


class LegNow(msgspec.Struct, frozen=True):
    """One leg of one account, all its attempts together."""

    order_qty: Decimal
    cum_qty: Decimal
    open: bool


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What of a row of `orders` counts here. Only of role `main`."""

    leg: int
    side: Side
    order_qty: Decimal
    cum_qty: Decimal
    avg_px: Decimal | None
    signal_px: Decimal | None
    arrival_px: Decimal | None
    state: OrdState
    sent_at: datetime | None
    acked_at: datetime | None
    done_at: datetime | None


class AccountOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a signal at one account. Quantities in whole lots; decimals are text.

    `avg_px` and slippage are of all that was filled, over the legs, weighted by quantity.
    """

    state: AccountState
    order_qty: str
    cum_qty: str
    avg_px: str | None
    slippage_signal_bps: str | None
    slippage_arrival_bps: str | None
    send_ms: float | None
    ack_ms: float | None
    fill_ms: float | None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, over accounts. Milliseconds."""

    n: int
    mean: float
    p50: float
    p95: float
    most: float


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """What took how long; what has not happened is null."""

    plan_ms: float | None = None
    send_ms: Spread | None = None
    ack_ms: Spread | None = None
    fill_ms: Spread | None = None


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol on one side at one broker: whole lots, prices as kept, slippage weighted by quantity.

    Decimals are text. `avg_px` is of what has a price; slippage is null where there is no reference.
    """

    broker: str
    symbol: str
    side: str
    accounts: int
    order_qty: str
    cum_qty: str
    avg_px: str | None
    slippage_signal_bps: str | None
    slippage_arrival_bps: str | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A signal's outcome. `states` and `reasons` count accounts; each sums to `accounts`."""

    signal_id: str
    strategy_id: str
    state: SignalState
    received_at: datetime
    planned_at: datetime | None
    done_at: datetime | None
    accounts: int
    states: dict[str, int]
    reasons: dict[str, int]
    totals: list[Total]
    more_totals: int
    """Symbols that are left out because there are too many."""
    latency: Latency


def state_of_orders(legs: Sequence[LegNow]) -> AccountState:
    """The word for an account that has orders."""
    if any(leg.open for leg in legs):
        return "working"
    if all(leg.cum_qty >= leg.order_qty for leg in legs):
        return "filled"
    return "partly_filled" if any(leg.cum_qty > 0 for leg in legs) else "failed"


def state_of_account(
    reason: str, legs: Sequence[LegNow], answer: Answer | None = None
) -> AccountState:
    """The word for any account of a plan. `answer`: to the question, where one was put."""
    if legs:
        return state_of_orders(legs)
    if answer in ("rejected", "expired", "void"):
        return "declined"
    if answer is not None or reason == Reason.AWAITS_APPROVAL:
        return "asked"
    if reason == Reason.CANCEL_ONLY:
        return "cancels"
    return "planned" if reason == Reason.ORDER else "skipped"


def account_outcome(
    reason: str, attempts: Sequence[Attempt], *, answer: Answer | None, since: datetime
) -> AccountOutcome:
    """One account's. `since`: when it was decided, which is the plan's time or a person's yes."""
    legs = _legs(attempts)
    state = state_of_account(reason, legs, answer)
    sent = min((a.sent_at for a in attempts if a.sent_at is not None), default=None)
    acked = min((a.acked_at for a in attempts if a.acked_at is not None), default=None)
    done = max((a.done_at for a in attempts if a.done_at is not None), default=None)
    return AccountOutcome(
        state=state,
        order_qty=plain(sum((leg.order_qty for leg in legs), Decimal(0))),
        cum_qty=plain(sum((leg.cum_qty for leg in legs), Decimal(0))),
        avg_px=_text(_weighted(attempts, lambda a: a.avg_px), "1e-18"),
        slippage_signal_bps=_text(_weighted(attempts, _against("signal_px")), "0.0001"),
        slippage_arrival_bps=_text(_weighted(attempts, _against("arrival_px")), "0.0001"),
        send_ms=_between(since, sent),
        ack_ms=_between(sent, acked),
        fill_ms=_between(acked, done) if state == "filled" else None,
    )


def _legs(attempts: Sequence[Attempt]) -> list[LegNow]:
    by_leg: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_leg[attempt.leg].append(attempt)
    return [
        LegNow(
            max(a.order_qty for a in each),
            sum((a.cum_qty for a in each), Decimal(0)),
            any(a.state in OPEN for a in each),
        )
        for _, each in sorted(by_leg.items())
    ]


def _against(reference: Reference) -> Callable[[Attempt], Decimal | None]:
    return lambda a: slippage_bps(a.side, a.avg_px, getattr(a, reference))


def _weighted(
    attempts: Sequence[Attempt], value: Callable[[Attempt], Decimal | None]
) -> Decimal | None:
    """The mean of what has a value, weighted by quantity."""
    known = [(a.cum_qty, v) for a in attempts if a.cum_qty > 0 and (v := value(a)) is not None]
    if not known:
        return None
    with localcontext() as context:
        context.prec = 60
        return sum((qty * v for qty, v in known), Decimal(0)) / sum(qty for qty, _ in known)


def _text(value: Decimal | None, step: str) -> str | None:
    if value is None:
        return None
    with localcontext() as context:
        context.prec = 60
        return plain(value.quantize(Decimal(step)).normalize())


def _between(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else ms(until - since)


def states_of(
    reasons: Mapping[str, int], with_orders: Mapping[str, int], *, declined: int, carried: int
) -> dict[str, int]:
    """How many accounts are in each state: `state_of_account` of all of them, from counts alone.

    `with_orders`: accounts that have orders, by state. `declined`, `carried`: answers to questions.
    """
    asked = reasons.get(Reason.AWAITS_APPROVAL, 0)
    direct = reasons.get(Reason.ORDER, 0)
    cancels = reasons.get(Reason.CANCEL_ONLY, 0)
    counted = Counter(with_orders)
    counted["planned"] += max(0, direct + carried - sum(with_orders.values()))
    counted["asked"] += max(0, asked - declined - carried)
    counted["declined"] += declined
    counted["cancels"] += cancels
    counted["skipped"] += sum(reasons.values()) - asked - direct - cancels
    return {state: count for state, count in sorted(counted.items()) if count}


def signal_state(kept: Kept, *, done: bool, with_orders: int) -> SignalState:
    """The signal's word. `kept`: its row's own; `with_orders`: accounts that have orders."""
    if kept in ("accepted", "refused", "canceled"):
        return kept
    if done:
        return "done"
    return "working" if with_orders else "planned"


def end(state: SignalState, states: Mapping[str, int]) -> End:
    """One word for a signal that is done. `states`: accounts by state.

    `nothing`: no account had an order. `working`: all else is filled, and what is left is held for its price.
    """
    if state == "refused":
        return "refused"
    with_orders = {
        name for name in ("filled", "partly_filled", "failed", "working") if states.get(name)
    }
    if not with_orders:
        return "nothing"
    if with_orders <= {"filled"}:
        return "filled"
    if with_orders <= {"filled", "working"}:
        return "working"
    return "failed" if with_orders == {"failed"} else "partly_filled"


def ms(span: timedelta) -> float:
    """Milliseconds, to the microsecond."""
    return round(span / timedelta(milliseconds=1), 3)


def facts(outcome: Outcome) -> dict[str, Any]:
    """The outcome as an audit record's payload: as it stood when the signal was done."""
    made: dict[str, Any] = msgspec.to_builtins(outcome)
    return made
