"""SQL of the market part of a plan: equity, positions and what is under way, for one ticker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import structlog

from fanout.instrument_states import ask_instrument_states
from fanout.mandate import SENDERS, Mandate
from fanout.market import AccountNow, Instruments, Market
from fanout.option_choice import Choice, choose
from fanout.options import Contract
from fanout.ports import Caps
from fanout.signal import Signal
from fanout.windows import Sessions
from tenancy.database import Connection, Told
from tenancy.snapshot import Snapshot
from tenancy.values import AccountID, StrategyID

log = structlog.get_logger()

NOTHING_HELD = AccountNow()

_BALANCES = """
SELECT account_id, equity, unrealised, available, currency FROM balances WHERE account_id = ANY(%b)"""
# A market order fills at once or not at all: until it has, it counts as if it had, and so does what
# is in doubt, of any type. Orders that rest are counted apart; what the stop engine holds is nowhere.
# Positions and orders in one statement, for a statement is one moment: between two, a fill could be
# in neither, or in both.
_HELD_AND_UNDER_WAY = """
SELECT account_id, symbol, qty, 0, 0, 0, false FROM positions
WHERE strategy_id = %(strategy)s AND qty <> 0
  AND (%(accounts)s::uuid[] IS NULL OR account_id = ANY(%(accounts)s))
UNION ALL
SELECT account_id, symbol, 0,
       CASE WHEN ord_type <> 'market' AND state <> 'in_doubt' THEN 0
            WHEN side = 'buy' THEN order_qty - cum_qty ELSE cum_qty - order_qty END,
       CASE WHEN ord_type <> 'market' AND state <> 'in_doubt' AND side = 'buy' AND NOT reduce_only
            THEN order_qty - cum_qty ELSE 0 END,
       CASE WHEN ord_type <> 'market' AND state <> 'in_doubt' AND side = 'sell' AND NOT reduce_only
            THEN order_qty - cum_qty ELSE 0 END,
       state = 'in_doubt'
FROM orders WHERE strategy_id = %(strategy)s
  AND (%(accounts)s::uuid[] IS NULL OR account_id = ANY(%(accounts)s))
  AND state IN ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt')"""


async def read_market(
    conn: Connection,
    snapshot: Snapshot,
    signal: Signal,
    instruments: dict[str, Instruments],
    keyed: frozenset[str],
    calendars: dict[str, Sessions] | None = None,
    mandate: Mandate = SENDERS,
    *,
    caps: Mapping[str, Caps] | None = None,
    today: date | None = None,
) -> Market:
    """What the plan of this signal reads, as the caller's transaction sees it."""
    async with conn.pipeline():  # one round trip
        told = await ask_market(
            conn, snapshot, signal, instruments, keyed, calendars, mandate, caps=caps, today=today
        )
    return await told()


async def ask_market(
    conn: Connection,
    snapshot: Snapshot,
    signal: Signal,
    instruments: dict[str, Instruments],
    keyed: frozenset[str],
    calendars: dict[str, Sessions] | None = None,
    mandate: Mandate = SENDERS,
    *,
    caps: Mapping[str, Caps] | None = None,
    today: date | None = None,
) -> Told[Market]:
    """The same in a pipeline of the caller's."""
    currencies = {row.account.account_id: row.account.currency for row in snapshot.rows}
    asked = {"strategy": snapshot.strategy.strategy_id, "accounts": None}
    held_and_open = await conn.execute(_HELD_AND_UNDER_WAY, asked)
    balances = await conn.execute(_BALANCES, (list(currencies),))
    states_told = await ask_instrument_states(conn)

    async def told() -> Market:
        symbols = _symbols(snapshot, signal.ticker, instruments, mandate)
        books = _books(await held_and_open.fetchall())
        # Of a contract that is called by its own name, as any instrument, nothing is chosen.
        day = None if mandate.names_symbols else today
        contracts = _contracts(snapshot, signal, instruments, books, day)
        for account, found in contracts.items():
            if isinstance(found, Contract):
                symbols[account] = found.instrument.symbol
        money = _money(currencies, await balances.fetchall())
        return Market(
            instruments=instruments,
            keyed=keyed,
            calendars=calendars or {},
            caps=caps or {},
            reduces=frozenset(name for name, each in (caps or {}).items() if each.reduce_only),
            contracts=contracts,
            instrument_states=await states_told(),
            accounts={
                account: _with_money(books.get((account, symbol), NOTHING_HELD), money.get(account))
                for account, symbol in symbols.items()
            },
        )

    return told


def _money(
    currencies: Mapping[AccountID, str], balances: Iterable[Sequence[Any]]
) -> dict[AccountID, tuple[Decimal, Decimal, Decimal]]:
    """Of each account equity, unrealised and available, where they are in its own currency."""
    money: dict[AccountID, tuple[Decimal, Decimal, Decimal]] = {}
    for account, equity, unrealised, available, currency in balances:
        if currencies[account] == currency:
            money[account] = equity, unrealised, available
        else:
            log.warning("balance_in_another_currency", account=str(account), currency=currency)
    return money


def _contracts(
    snapshot: Snapshot,
    signal: Signal,
    instruments: dict[str, Instruments],
    books: Mapping[tuple[AccountID, str], AccountNow],
    today: date | None,
) -> dict[AccountID, Choice]:
    """The option contract of each account, where the signal speaks of one."""
    if today is None:
        return {}
    held: dict[AccountID, set[str]] = {}
    for account, symbol in books:
        held.setdefault(account, set()).add(symbol)
    return choose(signal, snapshot, instruments, held, today)


def _with_money(now: AccountNow, money: tuple[Decimal, Decimal, Decimal] | None) -> AccountNow:
    if money is None:
        return now
    equity, unrealised, available = money
    return AccountNow(
        equity=equity,
        unrealised=unrealised,
        available=available,
        position=now.position,
        under_way=now.under_way,
        resting_buy=now.resting_buy,
        resting_sell=now.resting_sell,
        in_doubt=now.in_doubt,
    )


async def read_books(
    conn: Connection, strategy: StrategyID, accounts: Sequence[AccountID]
) -> dict[tuple[AccountID, str], AccountNow]:
    """These accounts' books in each symbol, without equity, as the caller's transaction sees them."""
    asked = {"strategy": strategy, "accounts": list(accounts)}
    return _books(await (await conn.execute(_HELD_AND_UNDER_WAY, asked)).fetchall())


def _books(rows: Iterable[Sequence[Any]]) -> dict[tuple[AccountID, str], AccountNow]:
    """Each account's book in each symbol: the sums of what the rows say."""
    sums: dict[tuple[AccountID, str], list[Decimal]] = {}
    in_doubt: set[tuple[AccountID, str]] = set()
    for account, symbol, *amounts, doubtful in rows:
        key = (account, symbol)
        kept = sums.setdefault(key, [Decimal(0)] * 4)
        sums[key] = [total + amount for total, amount in zip(kept, amounts, strict=True)]
        if doubtful:
            in_doubt.add(key)
    return {
        key: AccountNow(
            position=held,
            under_way=under_way,
            resting_buy=buys,
            resting_sell=sells,
            in_doubt=key in in_doubt,
        )
        for key, (held, under_way, buys, sells) in sums.items()
    }


def _symbols(
    snapshot: Snapshot, ticker: str, instruments: dict[str, Instruments], mandate: Mandate
) -> dict[AccountID, str]:
    """What the ticker is called at each account's broker; accounts without an instrument are left out."""
    symbols: dict[AccountID, str] = {}
    for row in snapshot.rows:
        known = instruments.get(row.account.broker)
        mapped = {} if mandate.names_symbols else row.settings.symbol_map.value
        found = known.find(ticker, mapped) if known is not None else None
        if found is not None:
            symbols[row.account.account_id] = found.symbol
    return symbols
