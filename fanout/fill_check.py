"""Our fills of a day against the broker's own statement of them: what differs, and how. Pure.

Compared order by order, in lots and in money (price times lots): a broker that fills an order in many
trades tells us sums, so single trades are not ours to compare. An order belongs to the day if either side
has a fill of it within the day; what is then compared is everything within the day and `MARGIN` on both
sides, because the two clocks need not put a fill at midnight on the same side of it.

Thin: an order that fills within the moments at the outer edge of the margin too may be called different.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec

from fanout.abilities import BrokerFill
from tenancy.values import plain

MARGIN = timedelta(minutes=30)
EQUAL_WITHIN = Decimal("1e-9")
"""Relative, of money: our price of a fill is the difference of two averages."""
TOLD_MOST = 100


class OwnFill(msgspec.Struct, frozen=True):
    """One fill in our book. `price` None: the broker named none when it told of it."""

    cl_ord_id: str
    symbol: str
    side: Literal["buy", "sell"]
    qty: Decimal
    price: Decimal | None
    at: datetime


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`missing`: the broker's, not ours. `extra`: ours, not the broker's. `amount`: lots or money differ.
    `foreign`: traded in this account by somebody else; nothing of ours is wrong."""

    what: Literal["missing", "extra", "amount", "foreign"]
    symbol: str
    order: str
    ours: Decimal
    theirs: Decimal
    our_money: Decimal
    their_money: Decimal

    def told(self) -> dict[str, Any]:
        """As the audit record says it."""
        return {
            "what": self.what, "symbol": self.symbol, "order": self.order, "ours": plain(self.ours),
            "theirs": plain(self.theirs), "our_money": plain(self.our_money),
            "their_money": plain(self.their_money),
        }  # fmt: skip


class _Sum:
    """Signed lots and money of one order, and whether any of it is of the day."""

    def __init__(self) -> None:
        self.qty = self.money = Decimal(0)
        self.priced = True
        self.of_day = False

    def add(self, side: str, qty: Decimal, price: Decimal | None, *, of_day: bool) -> None:
        signed = qty if side == "buy" else -qty
        self.qty += signed
        self.priced &= price is not None
        self.money += signed * (price or Decimal(0))
        self.of_day |= of_day


def span(day: date) -> tuple[datetime, datetime]:
    """The day, UTC: from its first moment up to the next one's."""
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)


def asked(day: date) -> tuple[datetime, datetime]:
    """What both sides are asked for."""
    start, end = span(day)
    return start - MARGIN, end + MARGIN


def differences(
    day: date, ours: Iterable[OwnFill], theirs: Iterable[BrokerFill]
) -> list[Difference]:
    """All of the day's, in the order of symbols and orders."""
    start, end = span(day)
    own: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    said: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    foreign: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    for fill in ours:
        key = fill.symbol, fill.cl_ord_id
        own[key].add(fill.side, fill.qty, fill.price, of_day=start <= fill.at < end)
    for trade in theirs:
        of_day = start <= trade.at < end
        into = said if trade.cl_ord_id is not None else foreign
        key = trade.symbol, trade.cl_ord_id or trade.broker_order_id
        into[key].add(trade.side, trade.qty, trade.price, of_day=of_day)
    found = [
        one
        for key in sorted(own.keys() | said.keys())
        if (one := _difference(key, own.get(key), said.get(key))) is not None
    ]
    nothing = _Sum()
    strangers = [
        _made("foreign", key, nothing, trade)
        for key, trade in sorted(foreign.items())
        if trade.of_day
    ]
    return found + strangers


def _difference(key: tuple[str, str], ours: _Sum | None, theirs: _Sum | None) -> Difference | None:
    if not any(side is not None and side.of_day for side in (ours, theirs)):
        return None
    if ours is None:
        return _made("missing", key, _Sum(), theirs or _Sum())
    if theirs is None:
        return _made("extra", key, ours, _Sum())
    same_money = abs(ours.money - theirs.money) <= EQUAL_WITHIN * abs(theirs.money)
    if ours.qty == theirs.qty and (same_money or not ours.priced):
        return None
    return _made("amount", key, ours, theirs)


def _made(
    what: Literal["missing", "extra", "amount", "foreign"], key: tuple[str, str], ours: _Sum,
    theirs: _Sum,
) -> Difference:  # fmt: skip
    return Difference(
        what=what, symbol=key[0], order=key[1], ours=ours.qty, theirs=theirs.qty,
        our_money=ours.money, their_money=theirs.money,
    )  # fmt: skip


def facts(
    day: date, broker: str, ours: int, theirs: int, found: Sequence[Difference]
) -> dict[str, Any]:
    """What the audit record says. Somebody else's trades in the account are told, and no disagreement."""
    wrong = [one for one in found if one.what != "foreign"]
    return {
        "event": "differ" if wrong else "agreed", "day": day.isoformat(), "broker": broker,
        "fills": ours, "statement": theirs, "differences": len(wrong),
        "foreign": len(found) - len(wrong), "named": [one.told() for one in found[:TOLD_MOST]],
    }  # fmt: skip
