"""SQL of the market part of a plan: equity, positions and what is under way, for one ticker."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import structlog

from fanout.market import AccountNow, Instruments, Market
from fanout.signal import Signal
from tenancy.database import Connection
from tenancy.snapshot import Snapshot
from tenancy.values import AccountID

log = structlog.get_logger()

_BALANCES = "SELECT account_id, equity, currency FROM balances WHERE account_id = ANY(%b)"
# A market order fills at once or not at all: until it has, it counts as if it had. Orders that
# rest are not counted, and doubt stops the account. Positions and orders in one statement, for a
# statement is one moment: between two, a fill could be in neither, or in both.
_HELD_AND_UNDER_WAY = """
SELECT account_id, symbol, qty, 0, false FROM positions WHERE strategy_id = %(strategy)s AND qty <> 0
UNION ALL
SELECT account_id, symbol, 0,
       CASE WHEN ord_type <> 'market' THEN 0
            WHEN side = 'buy' THEN order_qty - cum_qty ELSE cum_qty - order_qty END,
       state = 'in_doubt'
FROM orders WHERE strategy_id = %(strategy)s
  AND state IN ('waiting', 'intent', 'new', 'partially_filled', 'in_doubt')"""


async def read_market(
    conn: Connection,
    snapshot: Snapshot,
    signal: Signal,
    instruments: dict[str, Instruments],
    keyed: frozenset[str],
) -> Market:
    """What the plan of this signal reads, as the caller's transaction sees it."""
    strategy = snapshot.strategy.strategy_id
    symbols = _symbols(snapshot, signal.ticker, instruments)
    currencies = {row.account.account_id: row.account.currency for row in snapshot.rows}
    async with conn.pipeline():  # one round trip
        held_and_open = await conn.execute(_HELD_AND_UNDER_WAY, {"strategy": strategy})
        balances = await conn.execute(_BALANCES, (list(currencies),))
    positions: dict[AccountID, Decimal] = defaultdict(Decimal)
    under_way: dict[AccountID, Decimal] = defaultdict(Decimal)
    in_doubt: set[AccountID] = set()
    for account, symbol, held, moving, doubtful in await held_and_open.fetchall():
        if symbols.get(account) != symbol:
            continue
        positions[account] += held
        under_way[account] += moving
        if doubtful:
            in_doubt.add(account)
    equities: dict[AccountID, Decimal] = {}
    for account, equity, currency in await balances.fetchall():
        if currencies[account] == currency:
            equities[account] = equity
        else:
            log.warning("balance_in_another_currency", account=str(account), currency=currency)
    return Market(
        instruments=instruments,
        keyed=keyed,
        accounts={
            account: AccountNow(
                equity=equities.get(account),
                position=positions.get(account, Decimal(0)),
                under_way=under_way.get(account, Decimal(0)),
                in_doubt=account in in_doubt,
            )
            for account in symbols
        },
    )


def _symbols(
    snapshot: Snapshot, ticker: str, instruments: dict[str, Instruments]
) -> dict[AccountID, str]:
    """What the ticker is called at each account's broker; accounts without an instrument are left out."""
    symbols: dict[AccountID, str] = {}
    for row in snapshot.rows:
        known = instruments.get(row.account.broker)
        found = known.find(ticker, row.settings.symbol_map.value) if known is not None else None
        if found is not None:
            symbols[row.account.account_id] = found.symbol
    return symbols
