"""What Gate.io says of spot pairs, prices and balances. Pure; raises only Unreadable.

One lot is one unit of the base asset, traded in steps of the pair's `amount_precision`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.abilities import Balance
from fanout.brokers.gate.reading import Unreadable, decode, finite, optional
from fanout.brokers.gateio_spot.answers import on_step
from fanout.ports import BrokerPosition, Equity, Instrument
from tenancy.values import exact

UNLIMITED = Decimal(10) ** 12
"""Where Gate states no maximum: in lots, far above what there is of anything."""


class _Pair(msgspec.Struct):
    id: str
    base: str
    quote: str
    amount_precision: int
    precision: int
    trade_status: str
    min_base_amount: Decimal | None = None
    min_quote_amount: Decimal | None = None
    max_base_amount: Decimal | None = None


class _Ticker(msgspec.Struct):
    currency_pair: str
    last: str = ""
    lowest_ask: str | None = ""
    highest_bid: str | None = ""


class _Holding(msgspec.Struct):
    currency: str
    available: Decimal
    locked: Decimal


class Prices(msgspec.Struct, frozen=True):
    """Of one pair; None where there is none."""

    last: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None


def prices(body: bytes) -> dict[str, Prices]:
    """A bid above the ask is no quote: both are left out. Raises Unreadable."""
    found = {}
    for ticker in decode(body, list[_Ticker]):
        bid, ask = _price(ticker.highest_bid), _price(ticker.lowest_ask)
        if bid is not None and ask is not None and bid > ask:
            bid = ask = None
        found[ticker.currency_pair] = Prices(_price(ticker.last), bid, ask)
    return found


def _price(text: str | None) -> Decimal | None:
    if not text:
        return None
    try:
        number = exact(text, "price")
    except ValueError as why:
        raise Unreadable(str(why)) from None
    return number if number > 0 else None


class Pairs(msgspec.Struct, frozen=True):
    """`steps`: of every pair that Gate names, for old orders in pairs that trade no more."""

    traded: dict[str, Instrument]
    steps: dict[str, Decimal]


def pairs(body: bytes, quote: str, now: datetime, known: Mapping[str, Prices]) -> Pairs:
    """The pairs against `quote` that can be bought and sold now. Raises Unreadable."""
    listed = decode(body, list[_Pair])
    steps = {pair.id: Decimal(1).scaleb(-pair.amount_precision) for pair in listed}
    traded = {
        pair.id: _instrument(pair, steps[pair.id], now, known.get(pair.id, Prices()))
        for pair in listed
        if pair.quote == quote and pair.trade_status == "tradable"
    }
    return Pairs(traded, steps)


def _instrument(pair: _Pair, step: Decimal, now: datetime, seen: Prices) -> Instrument:
    least = optional(pair.min_base_amount, "min_base_amount") or step
    most = optional(pair.max_base_amount, "max_base_amount") or UNLIMITED
    return Instrument(
        symbol=pair.id,
        kind="spot",
        underlying=pair.base,
        multiplier=Decimal(1),
        lot_step=step,
        min_qty=-on_step(-least, step),
        max_qty=on_step(most, step),
        min_notional=optional(pair.min_quote_amount, "min_quote_amount") or Decimal(0),
        tick=Decimal(1).scaleb(-pair.precision),
        currency=pair.quote,
        last_price=seen.last,
        mark_price=None,
        bid=seen.bid,
        ask=seen.ask,
        as_of=now,
    )


# ------------------------------------------------------------------ the account


def balances(body: bytes) -> list[Balance]:
    """Every asset that the account has any of. Raises Unreadable."""
    found = []
    for holding in decode(body, list[_Holding]):
        available, locked = finite(holding.available, "available"), finite(holding.locked, "locked")
        if available + locked:
            found.append(
                Balance(asset=holding.currency, total=available + locked, available=available)
            )
    return found


def positions(held: Sequence[Balance], traded: Mapping[str, Instrument]) -> list[BrokerPosition]:
    """What is held of the bases of the pairs, in whole steps; under a pair's least amount it is dust."""
    of = {balance.asset: balance.total for balance in held}
    found = []
    for pair in traded.values():
        qty = on_step(of.get(pair.underlying or "", Decimal(0)), pair.lot_step)
        if qty >= pair.min_qty:
            found.append(
                BrokerPosition(symbol=pair.symbol, qty=qty, avg_px=None, unrealised_pnl=None)
            )
    return found


def equity(
    held: Sequence[Balance], traded: Mapping[str, Instrument], quote: str, now: datetime
) -> Equity:
    """All balances in `quote` by the last prices; what has no pair or no price counts for nothing."""
    worth = {
        pair.underlying: pair.last_price for pair in traded.values() if pair.last_price is not None
    }
    of = {balance.asset: balance for balance in held}
    cash = of.pop(quote, Balance(asset=quote, total=Decimal(0), available=Decimal(0)))
    assets = sum((b.total * (worth.get(b.asset) or 0) for b in of.values()), Decimal(0))
    return Equity(equity=cash.total + assets, available=cash.available, currency=quote, as_of=now)
