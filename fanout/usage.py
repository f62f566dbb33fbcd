"""SQL of what accounts have used of the limits that more than one plan draws on: fanout/exposure.py.

Only for accounts that need it: shared with another strategy, or under a limit on what the account
does as a whole. Where nothing needs it nothing is read.

Exact, because the caller holds the turn of every strategy that shares one of the accounts, and
waited until all their orders are in the book (fanout/intake.py). Orders and fills go on moving
meanwhile; positions, orders and results are read in one statement, which is one moment.

Orders of a minute: each order once, when its intent was written, whatever became of it; a retry
of the same order is no other one. What waits to be sent (the second leg of a flip, an entry that
the stop engine holds) is counted from the beginning until a minute after it is sent. What was never
sent (denied, cancelled while held) is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from fanout.exposure import Book, Held, Lot, LotOf, Pending, Realised, factor, usage
from fanout.market import Instruments, Market, Usage
from fanout.order import Protect
from fanout.trading_day import day_of
from tenancy.account import Account
from tenancy.database import Connection, Told
from tenancy.limits import EffectiveLimits
from tenancy.snapshot import Snapshot
from tenancy.values import AccountID

MINUTE = timedelta(seconds=60)

_OPEN = "('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt')"
# `symbol` NULL: all of the account's.
_WANTED = """
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(%(accounts)b::uuid[], %(parts)b::smallint[], %(symbols)b::text[])
                  AS w (account_id, part, symbol))"""
_BOOKS = f"""{_WANTED}
SELECT account_id, p.strategy_id, p.symbol, p.qty, p.avg_px, NULL::text, NULL::text, false, NULL::text,
       NULL::numeric, NULL::numeric, NULL::numeric, NULL::numeric, NULL::json
FROM wanted w JOIN positions p USING (account_id)
WHERE p.qty <> 0 AND (w.symbol IS NULL OR w.symbol = p.symbol)
UNION ALL
SELECT o.account_id, o.strategy_id, o.symbol, o.order_qty - o.cum_qty, o.arrival_px, o.side, o.ord_type,
       o.reduce_only OR o.role <> 'main', o.role, o.price, o.stop_px, o.trail_amount, o.trail_percent,
       o.protect
FROM wanted w JOIN orders o ON o.part = w.part AND o.account_id = w.account_id
WHERE o.state IN {_OPEN} AND o.order_qty > o.cum_qty AND (w.symbol IS NULL OR w.symbol = o.symbol)
UNION ALL
SELECT account_id, NULL::uuid, d.symbol, d.realised, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, NULL,
       NULL
FROM wanted w JOIN daily_results d USING (account_id) WHERE w.symbol IS NULL AND d.day = %(day)b"""  # noqa: S608
_MINUTE = f"""{_WANTED}
SELECT account_id, count(*) FROM wanted w JOIN orders o USING (account_id)
WHERE o.attempt = 1 AND o.intent_at > %(since)b AND NOT o.state IN ('held', 'waiting', 'denied')
  AND NOT (o.state IN ('canceled', 'expired') AND o.broker_order_id IS NULL)
GROUP BY account_id
UNION ALL
SELECT o.account_id, count(*)
FROM wanted w JOIN orders o ON o.part = w.part AND o.account_id = w.account_id
WHERE o.state IN {_OPEN} AND o.attempt = 1
  AND (o.state = 'waiting' OR o.state = 'held' AND o.role = 'main' AND NOT o.reduce_only)
GROUP BY o.account_id"""  # noqa: S608 - constants only


class Needs(msgspec.Struct, frozen=True):
    """What of an account's usage its limits ask for."""

    lots: bool = False
    money: bool = False
    rate: bool = False


def needs(limits: EffectiveLimits, *, shared: bool) -> Needs:
    """`shared`: another strategy follows the account too."""
    money = limits.max_leverage is not None or limits.max_daily_loss is not None
    positions = (
        limits.max_position_quantity,
        limits.max_position_notional,
        limits.strategy_position_quantity,
        limits.strategy_position_notional,
    )
    return Needs(
        lots=shared or money or any(limit is not None for limit in positions),
        money=money,
        rate=limits.max_orders_per_minute is not None,
    )


class Watched(msgspec.Struct, frozen=True):
    """The accounts of a snapshot whose usage is read, and in which partitions they are."""

    accounts: tuple[tuple[Account, Needs], ...] = ()
    parts: frozenset[int] = frozenset()
    shared_parts: frozenset[int] = frozenset()


UNWATCHED = Watched()


def watch(snapshot: Snapshot) -> Watched:
    """Once for each version of a snapshot."""
    seen: dict[tuple[int, bool], Needs] = {}
    found: list[tuple[Account, Needs]] = []
    for row in snapshot.rows:
        shared = row.account.account_id in snapshot.shared
        key = (id(row.limits), shared)  # rows share their limits, and the snapshot keeps them alive
        asked = seen.get(key)
        if asked is None:
            asked = seen[key] = needs(row.limits, shared=shared)
        if asked.lots or asked.rate:
            found.append((row.account, asked))
    return Watched(
        accounts=tuple(found),
        parts=frozenset(account.part for account, _ in found),
        shared_parts=frozenset(a.part for a, _ in found if a.account_id in snapshot.shared),
    )


def symbols_of(
    snapshot: Snapshot,
    ticker: str,
    instruments: Mapping[str, Instruments],
    *,
    by_name: bool = False,
) -> dict[AccountID, str]:
    """What the ticker is called at each account's broker; accounts without an instrument are left out.

    `by_name`: it is the broker's own name, and no map applies.
    """
    symbols: dict[AccountID, str] = {}
    for row in snapshot.rows:
        known = instruments.get(row.account.broker)
        mapped = {} if by_name else row.settings.symbol_map.value
        found = known.find(ticker, mapped) if known is not None else None
        if found is not None:
            symbols[row.account.account_id] = found.symbol
    return symbols


async def read_usage(
    conn: Connection,
    snapshot: Snapshot,
    symbols: Mapping[AccountID, str],
    instruments: Mapping[str, Instruments],
    at: datetime,
    watched: Watched | None = None,
) -> dict[AccountID, Usage]:
    """Of the accounts that need it and trade one of `symbols`, as the caller's transaction sees them.

    `at`: the plan's own time. `watched`: watch(snapshot), if it is known.
    """
    async with conn.pipeline():  # one round trip
        told = await ask_usage(conn, snapshot, symbols, instruments, at, watched)
    return await told()


async def ask_usage(
    conn: Connection,
    snapshot: Snapshot,
    symbols: Mapping[AccountID, str],
    instruments: Mapping[str, Instruments],
    at: datetime,
    watched: Watched | None = None,
) -> Told[dict[AccountID, Usage]]:
    """The same in a pipeline of the caller's."""
    chosen = watch(snapshot) if watched is None else watched
    accounts = [
        (a, n, symbols[a.account_id]) for a, n in chosen.accounts if a.account_id in symbols
    ]
    if not accounts:
        return _nothing
    day = day_of(snapshot.tenant.trading_day, at)
    books_told = await _ask_books(conn, accounts, day=day, since=at - MINUTE)

    async def told() -> dict[AccountID, Usage]:
        books, counts = await books_told()
        lots = Lots(instruments, snapshot.tenant.fx_rates)
        empty = Book()
        return {
            account.account_id: usage(
                books.get(account.account_id, empty),
                snapshot.strategy.strategy_id,
                symbol,
                lots.of(account),
                orders_last_minute=counts.get(account.account_id, 0),
                money=asked.money,
            )
            for account, asked, symbol in accounts
        }

    return told


async def _nothing() -> dict[AccountID, Usage]:
    return {}


def counted(market: Market, usage: Mapping[AccountID, Usage]) -> Market:
    """The market with what was used; where that is known, a close that may yet fail frees no room."""
    accounts = dict(market.accounts)
    for account, used in usage.items():
        now = accounts.get(account)
        if now is not None:
            accounts[account] = msgspec.structs.replace(
                now, resting_buy=used.may_buy, resting_sell=used.may_sell
            )
    return msgspec.structs.replace(market, accounts=accounts, usage=usage)


async def read_books(
    conn: Connection,
    accounts: Sequence[tuple[Account, Needs, str | None]],
    *,
    day: date,
    since: datetime,
) -> tuple[dict[AccountID, Book], dict[AccountID, int]]:
    """The accounts' books, and how many orders each had after `since`.

    With each account the symbol that is asked for: of one that needs no money nothing else is read.
    """
    async with conn.pipeline():  # one round trip
        told = await _ask_books(conn, accounts, day=day, since=since)
    return await told()


async def _ask_books(
    conn: Connection,
    accounts: Sequence[tuple[Account, Needs, str | None]],
    *,
    day: date,
    since: datetime,
) -> Told[tuple[dict[AccountID, Book], dict[AccountID, int]]]:
    lots = [(a.account_id, a.part, None if n.money else s) for a, n, s in accounts if n.lots]
    rate = [(a.account_id, a.part, None) for a, n, _ in accounts if n.rate]
    books = await conn.execute(_BOOKS, {**_columns(lots), "day": day}) if lots else None
    minute = await conn.execute(_MINUTE, {**_columns(rate), "since": since}) if rate else None

    async def told() -> tuple[dict[AccountID, Book], dict[AccountID, int]]:
        counts: dict[AccountID, int] = {}
        for account, count in await minute.fetchall() if minute is not None else ():
            counts[account] = counts.get(account, 0) + count
        return _books(await books.fetchall() if books is not None else ()), counts

    return told


class Lots:
    """What one lot is worth to an account; each instrument and currency is looked up once."""

    def __init__(
        self, instruments: Mapping[str, Instruments], rates: Mapping[str, Decimal]
    ) -> None:
        self._instruments = instruments
        self._rates = rates
        self._known: dict[tuple[str, str], LotOf] = {}

    def of(self, account: Account) -> LotOf:
        """By symbol, for an account of this broker and currency."""
        key = (account.broker, account.currency)
        if key not in self._known:
            self._known[key] = self._of(*key)
        return self._known[key]

    def _of(self, broker: str, currency: str) -> LotOf:
        known: dict[str, Lot | None] = {}

        def lot_of(symbol: str) -> Lot | None:
            if symbol not in known:
                known[symbol] = self._lot(broker, currency, symbol)
            return known[symbol]

        return lot_of

    def _lot(self, broker: str, currency: str, symbol: str) -> Lot | None:
        table = self._instruments.get(broker)
        instrument = table.get(symbol) if table is not None else None
        if instrument is None or instrument.reference is None:
            return None
        rate = factor(self._rates, instrument.currency, currency)
        if rate is None:
            return None
        return Lot(price=instrument.reference, point=instrument.multiplier * rate)


def _columns(wanted: Sequence[tuple[AccountID, int, str | None]]) -> dict[str, list[Any]]:
    accounts, parts, symbols = zip(*wanted, strict=True)
    return {"accounts": list(accounts), "parts": list(parts), "symbols": list(symbols)}


def _books(rows: Iterable[Sequence[Any]]) -> dict[AccountID, Book]:
    books: dict[AccountID, Book] = {}
    for account, strategy, symbol, amount, px, side, *more in rows:
        book = books.get(account)
        if book is None:
            book = books[account] = Book(held=[], pending=[], realised=[])
        if side is not None:
            book.pending.append(_pending(strategy, symbol, side, amount, px, more))
        elif strategy is not None:
            book.held.append(Held(strategy, symbol, amount, px))
        else:
            book.realised.append(Realised(symbol, amount))
    return books


def _pending(
    strategy: Any,
    symbol: str,
    side: Any,
    lots: Decimal,
    arrival: Decimal | None,
    row: Sequence[Any],
) -> Pending:
    ord_type, closes, role, price, stop_px, trail_amount, trail_percent, protect = row
    return Pending(
        strategy_id=strategy,
        symbol=symbol,
        side=side,
        lots=lots,
        ord_type=ord_type,
        closes=closes,
        role=role,
        price=price,
        stop_px=stop_px,
        trail_amount=trail_amount,
        trail_percent=trail_percent,
        protect=None if protect is None else msgspec.convert(protect, Protect, strict=False),
        arrival_px=arrival,
    )
