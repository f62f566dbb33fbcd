"""How an attempt's state moves, and what a report adds to it. Pure.

Reports are cumulative and may come late, twice or out of order, from the answer to a submission, a
look-up or a poll. `advance` takes what the book says and one report, and gives what is new, or None:

- Less filled than the book knows: old news, ignored whole, its end too. Who follows asks again.
- As much filled: the state moves as `MOVES` says, else it is no news. Of two different ends at the
  same quantity the first that was heard stands, but for FILLED: what traded is not taken back.
- More filled: a fill is never dropped, and who knows of more knows better, so the reported state
  holds, even after an end. An order that its broker shows open again is followed again.

So the order in which reports arrive does not matter: what is filled is the most that was heard, and
the state is one that came with it (tests/property/test_lifecycle.py). Odd ones, all of them alarms:

| what is heard | of an order that | becomes |
| --- | --- | --- |
| anything | we had ruled out: unsent, absent, denied | what is reported |
| a fill after its cancel or expiry | ended | filled, open again, or ended with more filled |
| a fill after its refusal | was rejected | what is reported |
| a refusal that comes with fills | is open | canceled: the rest of it has ended |
| more than was ordered | any | what is reported, counted in full |
| anything with a fill | waits here and was never sent | counted; its state is ours to move |
| *not odd:* a fill before the acknowledgement | is an intent or in doubt | what is reported |
| *not odd:* a refusal after NEW | rests unfilled | rejected |
| *not odd:* a cancel that is refused, because it was filled | is open | asked for, and found filled |
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Literal

import msgspec

from fanout.order import FINAL, OrdState
from fanout.ports import Report

S = OrdState

_ENDS = frozenset({S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED})
_SHOWN = frozenset({S.NEW, S.PARTIALLY_FILLED}) | _ENDS

# From each state, what a report without a new fill may make of it.
MOVES: dict[OrdState, frozenset[OrdState]] = {
    S.HELD: frozenset(),  # never sent: a report of it would be a lie
    S.WAITING: frozenset(),
    S.INTENT: _SHOWN,
    S.IN_DOUBT: _SHOWN,
    S.NEW: frozenset({S.PARTIALLY_FILLED}) | _ENDS,
    S.PARTIALLY_FILLED: frozenset({S.FILLED, S.CANCELED, S.EXPIRED}),
    S.FILLED: frozenset(),
    S.CANCELED: frozenset({S.FILLED}),  # the fill crossed our cancel
    S.EXPIRED: frozenset({S.FILLED}),
    S.REJECTED: frozenset(),
    # The broker shows an order that we had ruled out: the fact wins.
    S.DENIED: _SHOWN,
    S.UNSENT: _SHOWN,
    S.ABSENT: _SHOWN,
}

# What we ourselves may say of an attempt, without a report.
OUR_WORD: dict[OrdState, frozenset[OrdState]] = {
    S.HELD: frozenset({S.INTENT, S.CANCELED, S.EXPIRED, S.DENIED}),
    S.WAITING: frozenset({S.INTENT, S.DENIED}),
    S.INTENT: frozenset({S.IN_DOUBT, S.REJECTED, S.UNSENT, S.ABSENT, S.DENIED}),
    S.IN_DOUBT: frozenset({S.ABSENT, S.REJECTED}),
    S.NEW: frozenset({S.CANCELED}),  # the broker has forgotten it, which it does only unfilled
}

NEVER_SENT = frozenset({S.HELD, S.WAITING})

Surprise = Literal["after_its_end", "never_sent", "overfilled", "filled_and_refused"]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a report adds."""

    state: OrdState
    cum_qty: Decimal
    avg_px: Decimal | None
    last_qty: Decimal  # 0 where nothing new was filled
    last_px: Decimal | None
    surprise: Surprise | None = None

    @property
    def surprising(self) -> bool:
        """The book had ruled this out: worth an alarm."""
        return self.surprise is not None


def advance(
    state: OrdState,
    cum_qty: Decimal,
    avg_px: Decimal | None,
    report: Report,
    *,
    order_qty: Decimal | None = None,
) -> Progress | None:
    """What is new in `report`, or None. `order_qty`: what was ordered, in lots, where that is known."""
    last_qty = report.cum_qty - cum_qty
    reported = _read(report)
    moves = reported in MOVES[state] if last_qty == 0 else state not in NEVER_SENT
    if last_qty < 0 or (last_qty == 0 and not moves):
        return None
    return Progress(
        state=reported if moves else state,
        cum_qty=report.cum_qty,
        avg_px=report.avg_px if report.avg_px is not None else avg_px,
        last_qty=last_qty,
        last_px=_last_price(cum_qty, avg_px, report) if last_qty > 0 else None,
        surprise=_surprise(state, report, order_qty),
    )


def _read(report: Report) -> OrdState:
    """The reported state, where it and its own quantity are made to agree."""
    if report.cum_qty > 0 and report.ord_status is S.NEW:
        return S.PARTIALLY_FILLED
    if report.cum_qty > 0 and report.ord_status is S.REJECTED:
        return S.CANCELED
    return report.ord_status


def _surprise(state: OrdState, report: Report, order_qty: Decimal | None) -> Surprise | None:
    if state in NEVER_SENT:
        return "never_sent"
    if order_qty is not None and report.cum_qty > order_qty:
        return "overfilled"
    if report.ord_status is S.REJECTED and report.cum_qty > 0:
        return "filled_and_refused"
    return "after_its_end" if state in FINAL else None


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
