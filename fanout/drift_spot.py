"""Spot: what is held there is assets, so a book of pairs is compared with balances, asset by asset. Pure.

- An asset in which we hold nothing and have no order is not ours to judge. What is there of it becomes its
  *baseline*: the client's own, from before we came or put there since.
- An asset in which we hold something is what the balance is above its baseline. What differs by less than a
  pair of it can trade is dust, which fees and steps leave behind.

Several pairs may have one base (BTC_USDT, BTC_USDC): a difference then names the asset, and no pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from fanout.abilities import Balance
from fanout.drift import NOTHING, Ours
from fanout.ports import BrokerPosition, Instrument


class Assets(msgspec.Struct, frozen=True):
    """Both sides by asset; `baseline`: what is there and is not ours, from now on."""

    ours: Ours
    theirs: tuple[BrokerPosition, ...]
    baseline: Mapping[str, Decimal]


def base_of(symbol: str, table: Mapping[str, Instrument]) -> str:
    """The asset that a pair trades; by its name where the broker does not list it any more."""
    known = table.get(symbol)
    if known is not None and known.underlying:
        return known.underlying
    return symbol.split("_")[0]


def by_asset(
    ours: Ours, held: Iterable[Balance], table: Mapping[str, Instrument],
    baseline: Mapping[str, Decimal],
) -> Assets:  # fmt: skip
    """Our book and the balances, comparable."""
    mine: dict[str, Decimal] = defaultdict(Decimal)
    for symbol, lots in ours.positions.items():
        known = table.get(symbol)
        mine[base_of(symbol, table)] += lots * (known.multiplier if known is not None else 1)
    busy = {base_of(order.symbol, table) for order in ours.open}
    totals = {balance.asset: balance.total for balance in held}
    watched = {asset for asset, qty in mine.items() if qty} | busy
    kept = {a: qty for a, qty in baseline.items() if a in watched}
    kept |= {asset: total for asset, total in totals.items() if asset not in watched}
    theirs = {}
    for asset in watched:
        above = totals.get(asset, NOTHING) - kept.get(asset, NOTHING)
        dust = abs(above - mine[asset]) < dust_of(asset, table)
        theirs[asset] = mine[asset] if dust else above
    return Assets(
        Ours(positions={a: q for a, q in mine.items() if q}, open=ours.open),
        tuple(
            BrokerPosition(symbol=asset, qty=qty, avg_px=None, unrealised_pnl=None)
            for asset, qty in sorted(theirs.items())
            if qty
        ),
        kept,
    )


def dust_of(asset: str, table: Mapping[str, Instrument]) -> Decimal:
    """The least of the asset that any pair of it trades; nothing is dust where none is known."""
    least = [
        max(one.min_qty, one.lot_step) * one.multiplier
        for symbol, one in table.items()
        if base_of(symbol, table) == asset
    ]
    return min(least, default=NOTHING)


def pair_of(asset: str, ours: Ours, table: Mapping[str, Instrument]) -> str | None:
    """The one pair by which our book holds the asset."""
    pairs = [symbol for symbol in ours.positions if base_of(symbol, table) == asset]
    return pairs[0] if len(pairs) == 1 else None
