"""What Gate.io says of what can be traded there. Pure; raises only Unreadable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.brokers.gate.reading import Unreadable, decode, finite, optional
from fanout.ports import Instrument
from tenancy.values import exact


class _Contract(msgspec.Struct):
    name: str
    quanto_multiplier: Decimal
    order_price_round: Decimal
    order_size_min: Decimal
    order_size_max: Decimal
    last_price: Decimal | None = None
    mark_price: Decimal | None = None
    in_delisting: bool = False
    status: str = "trading"


class _Ticker(msgspec.Struct):
    contract: str
    highest_bid: str = ""  # empty where nobody bids
    lowest_ask: str = ""


Quotes = Mapping[str, tuple[Decimal | None, Decimal | None]]
"""Best bid and ask by contract; None where there is none."""


def quotes(body: bytes) -> Quotes:
    """Best bid and ask. A pair that crosses is no quote: both are left out. Raises Unreadable."""
    found: dict[str, tuple[Decimal | None, Decimal | None]] = {}
    for ticker in decode(body, list[_Ticker]):
        bid, ask = _quote(ticker.highest_bid), _quote(ticker.lowest_ask)
        crossed = bid is not None and ask is not None and bid > ask
        found[ticker.contract] = (None, None) if crossed else (bid, ask)
    return found


def _quote(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        number = exact(text, "quote")
    except ValueError as why:
        raise Unreadable(str(why)) from None
    return number if number > 0 else None


def instruments(
    body: bytes, settle: str, now: datetime, quotes: Quotes | None = None
) -> dict[str, Instrument]:
    """The contracts that can be traded now. Inverse contracts (multiplier 0) are left out.

    Raises Unreadable: a table that is half read is no table.
    """
    known = quotes or {}
    return {
        c.name: Instrument(
            symbol=c.name,
            multiplier=finite(c.quanto_multiplier, "quanto_multiplier"),
            lot_step=Decimal(1),
            min_qty=Decimal(max(1, math.ceil(finite(c.order_size_min, "order_size_min")))),
            max_qty=Decimal(math.floor(finite(c.order_size_max, "order_size_max"))),
            tick=finite(c.order_price_round, "order_price_round"),
            currency=settle.upper(),
            last_price=optional(c.last_price, "last_price"),
            mark_price=optional(c.mark_price, "mark_price"),
            as_of=now,
            bid=known.get(c.name, (None, None))[0],
            ask=known.get(c.name, (None, None))[1],
        )
        for c in decode(body, list[_Contract])
        if c.status == "trading"
        and not c.in_delisting
        and finite(c.quanto_multiplier, "quanto_multiplier") > 0
    }
