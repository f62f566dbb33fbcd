"""The option contract of each account of a plan, found once for all that would find the same. Pure.

An entry's contract depends on the broker, the name that the ticker has there and `invert_puts`
alone, so a plan over ten thousand accounts scans a handful of chains. What acts on a position
depends on what the account holds too, and is looked up there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from fanout.market import Instruments
from fanout.options import Contract, NoContract, acts_on_what_is_held, resolve, underlying_price
from fanout.signal import Signal
from tenancy.snapshot import Snapshot
from tenancy.values import AccountID

Choice = Contract | NoContract


def choose(
    signal: Signal,
    snapshot: Snapshot,
    instruments: Mapping[str, Instruments],
    held: Mapping[AccountID, Collection[str]],
    today: date,
) -> dict[AccountID, Choice]:
    """By account; without those for which the signal speaks of no option, or whose broker is away.

    `held`: the symbols in which each account has a position or an open order.
    """
    holds = acts_on_what_is_held(signal)
    known: dict[tuple[str, str, bool, frozenset[str]], Choice | None] = {}
    chosen: dict[AccountID, Choice] = {}
    for row in snapshot.rows:
        broker, settings = row.account.broker, row.settings
        table = instruments.get(broker)
        if table is None:
            continue
        ticker = settings.symbol_map.value.get(signal.ticker, signal.ticker)
        mine = frozenset(held.get(row.account.account_id, ())) if holds else frozenset()
        key = (broker, ticker, settings.invert_puts.value, mine)
        if key not in known:
            price = underlying_price(signal, ticker, table)
            known[key] = resolve(signal, ticker, table, price, today, invert_puts=key[2], held=mine)
        found = known[key]
        if found is not None:
            chosen[row.account.account_id] = found
    return chosen
