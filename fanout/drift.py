"""Our book of one account against its broker's: do they agree, and where do they differ? Pure.

A comparison is worth something only if nothing moved while it was made: our book is read, the broker
is asked, our book is read again. It says

- **Agreed** where the two are the same;
- **Differs** where they are not, and nothing that is under way could be why;
- **Unsettled** where they are not, and something moved, or an order of ours is under way, or one that
  rests has moved at the broker and we have not heard of it. Look again: it proves nothing yet.

The broker answers two questions at two moments, so a caller takes a difference for one only when a
second look, a moment later, finds the very same (fanout/reconcile.py).

What was set aside (a person said: that is the client's own) is no difference, as long as it stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from fanout.order import OrdState
from fanout.ports import BrokerPosition, Report

Kind = Literal["position", "order", "shortfall"]
NOTHING = Decimal(0)
UNDER_WAY = frozenset({OrdState.INTENT, OrdState.IN_DOUBT})


class OpenOrder(msgspec.Struct, frozen=True):
    """An order of ours that is not final and may be at the broker."""

    cl_ord_id: str
    symbol: str
    state: OrdState
    cum_qty: Decimal


class Ours(msgspec.Struct, frozen=True, kw_only=True):
    """Our book of one account. `positions`: signed lots of all strategies together, none of them 0."""

    positions: Mapping[str, Decimal] = {}
    open: tuple[OpenOrder, ...] = ()


class Theirs(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker says. `open`: by our name for an order, where it is ours."""

    positions: Mapping[str, Decimal] = {}
    open: Mapping[str, Report] = {}


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """What is there and is not ours, by somebody's word: signed lots, and orders by the broker's ids."""

    positions: Mapping[str, Decimal] = {}
    orders: frozenset[str] = frozenset()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`subject`: the symbol of a position; of an order that is not ours the broker's id for it; of a
    shortfall our own name for the leg. Lots, signed; of an order: what has filled of it."""

    kind: Kind
    subject: str
    symbol: str | None
    ours: Decimal
    theirs: Decimal

    @property
    def key(self) -> tuple[Kind, str]:
        return self.kind, self.subject

    @property
    def lots(self) -> Decimal:
        """What the broker has more than we."""
        return self.theirs - self.ours


class Agreed(msgspec.Struct, frozen=True):
    """The two are the same."""


class Unsettled(msgspec.Struct, frozen=True):
    """They are not, which proves nothing yet."""

    why: str


class Differs(msgspec.Struct, frozen=True):
    found: tuple[Difference, ...]


Compared = Agreed | Unsettled | Differs


def theirs_of(positions: Iterable[BrokerPosition], open_orders: Iterable[Report]) -> Theirs:
    """The broker's two answers as one. Both sides of a hedged symbol are added up, as our book has them."""
    held: dict[str, Decimal] = {}
    for one in positions:
        held[one.symbol] = held.get(one.symbol, NOTHING) + one.qty
    return Theirs(
        positions={symbol: qty for symbol, qty in held.items() if qty},
        open={report.cl_ord_id or report.broker_order_id: report for report in open_orders},
    )


def compare(
    before: Ours, theirs: Theirs, after: Ours, aside: Aside, waiting: frozenset[str] = frozenset()
) -> Compared:
    """`before`, `after`: our book right before and right after the broker was asked.

    `waiting`: symbols in which what is not sent yet waits for this very comparison: there an intent is
    provably not at the broker.
    """
    found = (*positions(after, theirs, aside), *strangers(after, theirs, aside))
    behind = _behind(after.open, theirs.open)
    if not found and behind is None:
        return Agreed()
    under_way = [
        order.cl_ord_id
        for order in after.open
        if order.state in UNDER_WAY
        and not (order.state is OrdState.INTENT and order.symbol in waiting)
    ]
    if under_way:
        return Unsettled(f"{under_way[0]} is under way")
    if _moved(before, after):
        return Unsettled("our book moved while the broker was asked")
    if behind is not None:
        return Unsettled(behind)
    return Differs(found)


def still_aside(aside: Aside, ours: Ours, theirs: Theirs) -> Aside:
    """Without what is gone from the broker: there the two are the same with nothing set aside."""
    held = {
        symbol: lots
        for symbol, lots in aside.positions.items()
        if ours.positions.get(symbol, NOTHING) != theirs.positions.get(symbol, NOTHING)
    }
    there = {report.broker_order_id for report in theirs.open.values()}
    return Aside(positions=held, orders=aside.orders & there)


def positions(ours: Ours, theirs: Theirs, aside: Aside) -> Sequence[Difference]:
    """By symbol, in their order."""
    symbols = sorted({*ours.positions, *theirs.positions, *aside.positions})
    made = (
        Difference(
            kind="position",
            subject=symbol,
            symbol=symbol,
            ours=ours.positions.get(symbol, NOTHING),
            theirs=theirs.positions.get(symbol, NOTHING) - aside.positions.get(symbol, NOTHING),
        )
        for symbol in symbols
    )
    return [one for one in made if one.lots]


def strangers(ours: Ours, theirs: Theirs, aside: Aside) -> Sequence[Difference]:
    """Orders that rest at the broker and are not open in our book."""
    known = {order.cl_ord_id for order in ours.open}
    return [
        Difference(
            kind="order",
            subject=report.broker_order_id,
            symbol=None,
            ours=NOTHING,
            theirs=report.cum_qty,
        )
        for name, report in sorted(theirs.open.items())
        if name not in known and report.broker_order_id not in aside.orders
    ]


def _behind(ours: Iterable[OpenOrder], theirs: Mapping[str, Report]) -> str | None:
    """Whether an order of ours has gone on at the broker: who follows it will hear of it."""
    for order in ours:
        if order.state in UNDER_WAY:
            continue
        report = theirs.get(order.cl_ord_id)
        if report is None:
            return f"{order.cl_ord_id} does not rest at the broker any more"
        if report.cum_qty != order.cum_qty:
            return f"{order.cl_ord_id} has filled further at the broker"
    return None


def _moved(before: Ours, after: Ours) -> bool:
    """Intents that came and wait are no movement: nothing of them is at the broker."""
    return before.positions != after.positions or _settled(before) != _settled(after)


def _settled(ours: Ours) -> frozenset[OpenOrder]:
    return frozenset(order for order in ours.open if order.state is not OrdState.INTENT)
