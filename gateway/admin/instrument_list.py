"""Instruments as workers last saw them: what a broker trades, at which prices, and how old those are."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fanout.pictures import Seen
from fanout.ports import Instrument, InstrumentKind
from gateway.admin.listing import Word, read_key, write_key
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery
from tenancy.paper import is_shadow
from tenancy.values import plain

Key = tuple[Annotated[str, Meta(max_length=40)], Annotated[str, Meta(max_length=100)]]
"""Broker and symbol."""


class InstrumentQuery(PageQuery, frozen=True, kw_only=True):
    """Which instruments. `ticker`: the one that a signal would mean at each broker; none, where nothing or
    more than one thing fits. A subscription's symbol map comes before that and is not looked at here."""

    broker: Word | None = None
    ticker: Word | None = None


class InstrumentView(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument. `multiplier`: units of the underlying in one lot. Not `fresh`: too old to plan by."""

    broker: str
    symbol: str
    kind: InstrumentKind
    currency: str
    multiplier: str
    lot_step: str
    min_qty: str
    max_qty: str
    min_notional: str
    tick: str
    last_price: str | None
    mark_price: str | None
    bid: str | None
    ask: str | None
    underlying: str | None
    option_type: Literal["call", "put"] | None
    strike: str | None
    expires_on: date | None
    stands_for: str | None
    as_of: datetime
    age_ms: int
    fresh: bool


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def view(one: Instrument, seen: Seen) -> InstrumentView:
    """As the API shows it. Pure."""
    return InstrumentView(
        broker=seen.broker,
        symbol=one.symbol,
        kind=one.kind,
        currency=one.currency,
        multiplier=plain(one.multiplier),
        lot_step=plain(one.lot_step),
        min_qty=plain(one.min_qty),
        max_qty=plain(one.max_qty),
        min_notional=plain(one.min_notional),
        tick=plain(one.tick),
        last_price=_text(one.last_price),
        mark_price=_text(one.mark_price),
        bid=_text(one.bid),
        ask=_text(one.ask),
        underlying=one.underlying,
        option_type=one.option_type,
        strike=_text(one.strike),
        expires_on=one.expires_on,
        stands_for=one.stands_for,
        as_of=seen.as_of,
        age_ms=int(seen.age_s * 1000),
        fresh=seen.fresh,
    )


def chosen(
    query: InstrumentQuery, seen: tuple[Seen, ...], after: tuple[str, str] | None
) -> list[tuple[Instrument, Seen]]:
    """One more than a page, in the order of their brokers and symbols. Pure."""
    found: list[tuple[Instrument, Seen]] = []
    for one in seen:
        if query.broker not in (None, one.broker):
            continue
        if query.broker is None and is_shadow(one.broker):
            continue  # the same instruments once more; who asks for it by name is shown it
        if query.ticker is None:
            found += [(instrument, one) for instrument in one.instruments]
        elif (named := one.instruments.find(query.ticker, {})) is not None:
            found.append((named, one))
    found.sort(key=lambda pair: (pair[1].broker, pair[0].symbol))
    if after is not None:
        found = [pair for pair in found if (pair[1].broker, pair[0].symbol) > after]
    return found[: query.limit + 1]


async def _list(call: Call) -> Result:
    query: InstrumentQuery = call.query
    world = await call.services.pictures.read(call.conn)
    found = chosen(query, world.seen, read_key(query.cursor, Key))
    page = found[: query.limit]
    more = (page[-1][1].broker, page[-1][0].symbol) if len(found) > query.limit else None
    items = [view(instrument, seen) for instrument, seen in page]
    return Result(content=Page(items=items, next=write_key(more)))


OPERATIONS = (
    Operation(
        name="list_instruments", method="GET", path="/v1/instruments", tag="Instruments",
        action="signals:read",
        summary="List what the brokers trade, with prices and their age; or what a ticker means at each.",
        handle=_list, query=InstrumentQuery, answer=Page[InstrumentView],
    ),
)  # fmt: skip
