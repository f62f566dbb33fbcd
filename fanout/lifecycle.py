"""How an attempt's state moves, and what a report adds to it. Pure.

Reports are cumulative and may come late, twice or out of order, from the answer to a
submission, a look-up or a poll. `advance` takes what the book says and one report, and gives
what is new, or None. A fill is never dropped: it counts even after a cancel (the broker said
so first), and a report that knows less than the book changes nothing.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import msgspec

from fanout.order import FINAL, OrdState
from fanout.ports import Report

S = OrdState

# From each state, what a broker's report may make of it.
MOVES: dict[OrdState, frozenset[OrdState]] = {
    S.HELD: frozenset(),  # never sent: a report of it would be a lie
    S.WAITING: frozenset(),
    S.INTENT: frozenset({S.NEW, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED}),
    S.IN_DOUBT: frozenset({S.NEW, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED}),
    S.NEW: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED}),
    S.PARTIALLY_FILLED: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED}),
    S.FILLED: frozenset(),
    S.CANCELED: frozenset({S.FILLED}),  # the fill crossed our cancel
    S.EXPIRED: frozenset({S.FILLED}),
    S.REJECTED: frozenset(),
    S.DENIED: frozenset(),
    # The broker shows an order that we had ruled out: the fact wins, and is an alarm.
    S.UNSENT: frozenset({S.NEW, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED}),
    S.ABSENT: frozenset({S.NEW, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED}),
}

# What we ourselves may say of an attempt, without a report.
OUR_WORD: dict[OrdState, frozenset[OrdState]] = {
    S.HELD: frozenset({S.INTENT, S.CANCELED, S.EXPIRED, S.DENIED}),
    S.WAITING: frozenset({S.INTENT, S.DENIED}),
    S.INTENT: frozenset({S.IN_DOUBT, S.REJECTED, S.UNSENT, S.ABSENT, S.DENIED}),
    S.IN_DOUBT: frozenset({S.ABSENT, S.REJECTED}),
    S.NEW: frozenset({S.CANCELED}),  # the broker has forgotten it, which it does only unfilled
}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a report adds."""

    state: OrdState
    cum_qty: Decimal
    avg_px: Decimal | None
    last_qty: Decimal  # 0 where nothing new was filled
    last_px: Decimal | None
    surprising: bool  # the book had ruled this out: worth an alarm


def advance(
    state: OrdState, cum_qty: Decimal, avg_px: Decimal | None, report: Report
) -> Progress | None:
    """What is new in `report`, or None."""
    last_qty = report.cum_qty - cum_qty
    moves = report.ord_status != state and report.ord_status in MOVES[state]
    if last_qty <= 0 and not moves:
        return None
    if last_qty < 0:
        return None  # an older picture than the book's
    return Progress(
        state=report.ord_status if moves else state,
        cum_qty=report.cum_qty,
        avg_px=report.avg_px if report.avg_px is not None else avg_px,
        last_qty=last_qty,
        last_px=_last_price(cum_qty, avg_px, report) if last_qty > 0 else None,
        surprising=state in FINAL,
    )


def _last_price(cum_qty: Decimal, avg_px: Decimal | None, report: Report) -> Decimal | None:
    """The price of what is new, from two averages."""
    if report.avg_px is None:
        return None
    if cum_qty == 0 or avg_px is None:
        return report.avg_px
    with localcontext() as context:
        context.prec = 40
        paid = report.avg_px * report.cum_qty - avg_px * cum_qty
        return (paid / (report.cum_qty - cum_qty)).quantize(Decimal("1e-18")).normalize()
