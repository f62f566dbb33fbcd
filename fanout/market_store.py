"""SQL of the market part of a plan: equity, positions and what is under way, for one ticker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import structlog

from fanout.instrument_states import read_instrument_states
from fanout.mandate import SENDERS, Mandate
from fanout.market import AccountNow, Instruments, Market
from fanout.signal import Signal
from fanout.windows import Sessions
from tenancy.database import Connection
from tenancy.snapshot import Snapshot
from tenancy.values import AccountID, StrategyID

log = structlog.get_logger()

_BALANCES = "SELECT account_id, equity, currency FROM balances WHERE account_id = ANY(%b)"
# A market order fills at once or not at all: until it has, it counts as if it had. Orders that
# rest are not counted, and doubt stops the account. Positions and orders in one statement, for a
# statement is one moment: between two, a fill could be in neither, or in both.
_HELD_AND_UNDER_WAY = """
SELECT account_id, symbol, qty, 0, 0, 0, false FROM positions
WHERE strategy_id = %(strategy)s AND qty <> 0
  AND (%(accounts)s::uuid[] IS NULL OR account_id = ANY(%(accounts)s))
UNION ALL
SELECT account_id, symbol, 0,
       CASE WHEN ord_type <> 'market' THEN 0
            WHEN side = 'buy' THEN order_qty - cum_qty ELSE cum_qty - order_qty END,
       CASE WHEN ord_type <> 'market' AND side = 'buy' AND NOT reduce_only
            THEN order_qty - cum_qty ELSE 0 END,
       CASE WHEN ord_type <> 'market' AND side = 'sell' AND NOT reduce_only
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
) -> Market:
    """What the plan of this signal reads, as the caller's transaction sees it."""
    strategy = snapshot.strategy.strategy_id
    symbols = _symbols(snapshot, signal.ticker, instruments, mandate)
    currencies = {row.account.account_id: row.account.currency for row in snapshot.rows}
    asked = {"strategy": strategy, "accounts": None}
    async with conn.pipeline():  # one round trip
        held_and_open = await conn.execute(_HELD_AND_UNDER_WAY, asked)
        balances = await conn.execute(_BALANCES, (list(currencies),))
    books = _books(await held_and_open.fetchall())
    equities: dict[AccountID, Decimal] = {}
    for account, equity, currency in await balances.fetchall():
        if currencies[account] == currency:
            equities[account] = equity
        else:
            log.warning("balance_in_another_currency", account=str(account), currency=currency)
    return Market(
        instruments=instruments,
        keyed=keyed,
        calendars=calendars or {},
        instrument_states=await read_instrument_states(conn),
        accounts={
            account: msgspec.structs.replace(
                books.get((account, symbol), AccountNow()), equity=equities.get(account)
            )
            for account, symbol in symbols.items()
        },
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
