"""What a plan comes to: how many accounts trade, why the others do not, and how much it is in all. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, Inexact

import msgspec

from fanout.market import Instruments
from fanout.plan import Plan, PlanEntry
from fanout.reasons import SENTENCES, Reason
from tenancy.paper import is_shadow
from tenancy.values import plain

EXACTLY = Context(prec=400, traps=[Inexact])
"""Sums of products of what `exact` lets in: none is rounded."""


class Because(msgspec.Struct, frozen=True, kw_only=True):
    """How many accounts have one reason."""

    reason: Reason
    sentence: str
    accounts: int


class Turnover(msgspec.Struct, frozen=True, kw_only=True):
    """All orders in one instrument: lots, and what they are worth in its currency."""

    broker: str
    symbol: str
    currency: str | None
    accounts: int
    buy_lots: Decimal
    sell_lots: Decimal
    buy_notional: Decimal | None
    """Null: one of the orders has no price to reckon with."""
    sell_notional: Decimal | None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """`trading` accounts have orders that are sent at once; about the orders of `asked` a person is asked."""

    accounts: int
    trading: int
    asked: int
    reasons: tuple[Because, ...]
    """The commonest first."""
    turnover: tuple[Turnover, ...]


def totals(plan: Plan, instruments: Mapping[str, Instruments]) -> Totals:
    """Of the whole plan but for shadows; what a person is asked about counts as if the answer were yes."""
    entries = [entry for entry in plan.entries if not is_shadow(entry.broker)]
    counted = Counter(entry.reason for entry in entries)
    by_symbol: dict[tuple[str, str], list[PlanEntry]] = {}
    for entry in entries:
        if entry.legs and entry.symbol is not None:
            by_symbol.setdefault((entry.broker, entry.symbol), []).append(entry)
    return Totals(
        accounts=len(entries),
        trading=sum(1 for e in entries if e.legs and e.asked is None),
        asked=sum(1 for e in entries if e.asked is not None),
        reasons=tuple(
            Because(reason=reason, sentence=SENTENCES[reason], accounts=count)
            for reason, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        ),
        turnover=tuple(
            _turnover(broker, symbol, some, instruments)
            for (broker, symbol), some in sorted(by_symbol.items())
        ),
    )


def _turnover(
    broker: str, symbol: str, entries: Iterable[PlanEntry], instruments: Mapping[str, Instruments]
) -> Turnover:
    known = instruments.get(broker)
    instrument = None if known is None else known.find(symbol, {})
    lots = {"buy": Decimal(0), "sell": Decimal(0)}
    worth: dict[str, Decimal | None] = {"buy": Decimal(0), "sell": Decimal(0)}
    accounts = 0
    for entry in entries:
        accounts += 1
        for leg in entry.legs:
            lots[leg.side] += leg.order_qty
            price = next(
                (p for p in (leg.price, entry.price, entry.market_price) if p is not None), None
            )
            so_far = worth[leg.side]
            if price is None or so_far is None or instrument is None:
                worth[leg.side] = None
                continue
            each = EXACTLY.multiply(price, instrument.multiplier)
            worth[leg.side] = EXACTLY.add(so_far, EXACTLY.multiply(each, leg.order_qty))
    return Turnover(
        broker=broker,
        symbol=symbol,
        currency=None if instrument is None else instrument.currency,
        accounts=accounts,
        buy_lots=Decimal(plain(lots["buy"])),
        sell_lots=Decimal(plain(lots["sell"])),
        buy_notional=_plain(worth["buy"]),
        sell_notional=_plain(worth["sell"]),
    )


def _plain(value: Decimal | None) -> Decimal | None:
    """Without an exponent: Decimal's own text may have one."""
    return None if value is None else Decimal(plain(value))
