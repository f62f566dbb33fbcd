"""Which orders: the question that a list of orders asks, as a range of one index and what is left to look at.

The most selective filter leads, and each that can lead has its index (ops/migrations/0008_pages.sql):

    signal_id                  the orders of one signal
    status, unless `filled`    most orders are filled: the others have an index of their own
    account_id, symbol         one index each
    strategy_id, ticker        are the signal's, not the order's: first its signals, then their orders
    none, or `filled`          all orders

What does not lead is looked at in the range of what does. Pure but for the reading itself.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from fanout.order import OrdState
from gateway.admin.listing import OrderKey, TimeQuery, Word, first_id
from gateway.admin.pages import Found, Lead, Listing, Range, Term, find
from tenancy.database import Connection

COLUMNS = (
    "signal_id", "account_id", "leg", "attempt", "cl_ord_id", "order_id", "strategy_id", "place",
    "broker", "symbol", "side", "order_qty", "ord_type", "price", "time_in_force", "reduce_only",
    "deadline", "state", "broker_order_id", "cum_qty", "avg_px", "text", "intent_at", "sent_at",
    "acked_at", "done_at", "role", "stop_px", "trail_amount", "trail_percent", "cancel_at", "protect",
    "asked_type", "best_px", "entry_px", "breakeven_px", "trigger_px",
)  # fmt: skip
ORDERS = Listing(
    source="orders",
    key=COLUMNS[:4],
    types=("uuid", "uuid", "smallint", "smallint"),
    columns=COLUMNS,
)
SIGNALS_AT_ONCE = 200
"""Signals whose orders one page may look at."""


class OrderQuery(TimeQuery, frozen=True, kw_only=True):
    """Which orders; `since` and `until` are of the signal's arrival."""

    status: OrdState | None = None
    symbol: Word | None = None
    ticker: Word | None = None
    account_id: UUID | None = None
    strategy_id: UUID | None = None
    signal_id: UUID | None = None


async def find_orders(conn: Connection, query: OrderQuery, after: OrderKey | None) -> Found:
    """One page, as rows of COLUMNS."""
    if query.signal_id is None and (query.strategy_id or query.ticker) and not _leads(query):
        return await _by_signals(conn, query, after)
    within, filters = question(query)
    return await find(conn, ORDERS, within=within, filters=filters, after=after, limit=query.limit)


def question(query: OrderQuery) -> tuple[Range, list[Term]]:
    """Where to look, and what to look at there. Pure."""
    low, high = first_id(query.since), first_id(query.until)
    filters = _filters(query)
    if query.signal_id is not None:
        filters.pop("signal_id")
        only = (Term("signal_id = %s", (query.signal_id,)),)
        return Range(low=low, high=high, only=only), list(filters.values())
    name = _leads(query)
    if name == "state":
        filters.pop("state")
        only = (Term("state <> 'filled'"),)  # says to the server that the partial index holds them
        return Range(lead=Lead("state", "text", query.status), low=low, high=high, only=only), list(
            filters.values()
        )
    if name is not None:
        filters.pop(name)
        value, kind = (query.account_id, "uuid") if name == "account_id" else (query.symbol, "text")
        return Range(lead=Lead(name, kind, value), low=low, high=high), list(filters.values())
    return Range(low=low, high=high), list(filters.values())


def _leads(query: OrderQuery) -> str | None:
    """The order's own column whose index is asked."""
    if query.status not in (None, OrdState.FILLED):
        return "state"
    if query.account_id is not None:
        return "account_id"
    return "symbol" if query.symbol is not None else None


def _filters(query: OrderQuery) -> dict[str, Term]:
    asked: dict[str, Any] = {
        "signal_id": query.signal_id,
        "state": query.status,
        "account_id": query.account_id,
        "symbol": query.symbol,
        "strategy_id": query.strategy_id,
    }
    terms = {n: Term(f"seen.{n} = %s", (value,)) for n, value in asked.items() if value is not None}
    if query.ticker is not None:
        # Not EXISTS: the server may answer that by reading every signal of the ticker first.
        ticker = "SELECT s.ticker FROM signals s WHERE s.signal_id = seen.signal_id"
        terms["ticker"] = Term(f"({ticker}) = %s", (query.ticker,))
    return terms


async def _by_signals(conn: Connection, query: OrderQuery, after: OrderKey | None) -> Found:
    """The orders of the next signals of a strategy or a ticker.

    1. The next signals, from that of the cursor on, which may have orders left.
    2. Their orders. Where these are all told and there are more signals, the page goes on behind the last one.
    """
    high = first_id(query.until)
    if after is not None:
        following = UUID(int=min(after[0].int + 1, 2**128 - 1))
        high = following if high is None else min(high, following)
    signals = await find(
        conn, _SIGNALS, within=_signals_range(query, high), filters=_signal_filters(query),
        after=None, limit=SIGNALS_AT_ONCE,
    )  # fmt: skip
    orders = Found([], None)
    if signals.rows:
        left = msgspec.structs.replace(query, strategy_id=None, ticker=None)
        listing = msgspec.structs.replace(
            ORDERS, source=_ORDERS_OF, source_values=([row[0] for row in signals.rows],)
        )
        orders = await find(
            conn, listing, within=Range(), filters=list(_filters(left).values()), after=after,
            limit=query.limit,
        )  # fmt: skip
    if orders.after is None and signals.after is not None:
        return Found(orders.rows, (signals.after[0], UUID(int=0), 0, 0))
    return orders


_SIGNALS = Listing(
    source="signals", key=("signal_id",), types=("uuid",), columns=("signal_id", "strategy_id")
)
# Sorted within, so that the server knows the order of the outer side and need not sort all their orders.
_ORDERS_OF = f"""(
    SELECT s.signal_id, {", ".join(f"o.{name}" for name in COLUMNS[1:])}
    FROM (SELECT id AS signal_id FROM unnest(%s::uuid[]) AS id ORDER BY id DESC) AS s,
         LATERAL (SELECT * FROM orders WHERE orders.signal_id = s.signal_id OFFSET 0) AS o) AS of_signals"""  # noqa: S608


def _signals_range(query: OrderQuery, high: UUID | None) -> Range:
    if query.ticker is not None:
        lead = Lead("ticker", "text", query.ticker)
    else:
        lead = Lead("strategy_id", "uuid", query.strategy_id)
    return Range(lead=lead, low=first_id(query.since), high=high)


def _signal_filters(query: OrderQuery) -> list[Term]:
    if query.ticker is None or query.strategy_id is None:
        return []
    return [Term("seen.strategy_id = %s", (query.strategy_id,))]
