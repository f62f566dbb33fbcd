"""Fills: the execution reports in which something was traded, newest first by the broker's time.

All fills and those of one account are ranges of an index; the fills of one signal are found by its orders; the
order's other facts (symbol, side, strategy, ticker) are looked at in the range (gateway/admin/pages.py).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin.listing import TimeQuery, Word, read_key, write_key
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.orders import shown
from gateway.admin.pages import Found, Lead, Listing, Range, Term, find
from gateway.admin.paging import Page
from tenancy.database import Connection

FillKey = tuple[Annotated[datetime, Meta(tz=True)], str, str]
"""The broker's time, cl_ord_id, exec_id."""


class FillQuery(TimeQuery, frozen=True, kw_only=True):
    """Which fills; `since` and `until` are of the broker's time."""

    symbol: Word | None = None
    ticker: Word | None = None
    account_id: UUID | None = None
    strategy_id: UUID | None = None
    signal_id: UUID | None = None


class FillView(msgspec.Struct, frozen=True, kw_only=True):
    """One trade of an order. `last_qty` in whole lots; `cum_qty` of the attempt, with it."""

    exec_id: str
    cl_ord_id: str
    order_id: str
    signal_id: UUID
    strategy_id: UUID
    account_id: UUID
    broker: str
    symbol: str
    side: str
    last_qty: str
    last_px: str | None
    cum_qty: str
    order_qty: str
    at: datetime


_SHOWN = (
    "seen.at", "seen.cl_ord_id", "seen.exec_id", "seen.account_id", "seen.last_qty", "seen.last_px",
    "seen.cum_qty", "o.order_id", "o.signal_id", "o.strategy_id", "o.broker", "o.symbol", "o.side",
    "o.order_qty",
)  # fmt: skip
_NAMES = tuple(name.partition(".")[2] for name in _SHOWN)
FILLS = Listing(
    source="execution_reports",
    key=("at", "cl_ord_id", "exec_id"),
    types=("timestamptz", "text", "text"),
    columns=_NAMES[:7],
    beside="JOIN orders AS o ON o.cl_ord_id = seen.cl_ord_id",
    shown=_SHOWN,
)
_IS_FILL = Term("exec_type = 'trade'")
# A signal has at most as many orders as the fan-out had accounts and legs: their reports are all read and sorted.
# OFFSET 0 keeps the server from walking through the tenant's fills in their order instead.
_OF_SIGNAL = """(
    SELECT r.* FROM (SELECT cl_ord_id FROM orders WHERE signal_id = %s OFFSET 0) AS of_signal
    JOIN execution_reports AS r USING (cl_ord_id) OFFSET 0) AS reports"""


async def find_fills(conn: Connection, query: FillQuery, after: FillKey | None) -> Found:
    """One page, as rows of the view's members."""
    within, filters = question(query)
    listing = FILLS
    if query.signal_id is not None:
        listing = msgspec.structs.replace(
            FILLS, source=_OF_SIGNAL, source_values=(query.signal_id,)
        )
    return await find(conn, listing, within=within, filters=filters, after=after, limit=query.limit)


def question(query: FillQuery) -> tuple[Range, list[Term]]:
    """Where to look, and what to look at there. Pure."""
    lead = None
    filters: list[Term] = []
    if query.account_id is not None and query.signal_id is None:
        lead = Lead("account_id", "uuid", query.account_id)
    elif query.account_id is not None:
        filters.append(Term("seen.account_id = %s", (query.account_id,)))
    asked: dict[str, Any] = {"symbol": query.symbol, "strategy_id": query.strategy_id}
    filters += [Term(f"o.{n} = %s", (value,)) for n, value in asked.items() if value is not None]
    if query.ticker is not None:
        # Not EXISTS: the server may answer that by reading every signal of the ticker first.
        ticker = "SELECT s.ticker FROM signals s WHERE s.signal_id = o.signal_id"
        filters.append(Term(f"({ticker}) = %s", (query.ticker,)))
    return Range(lead=lead, low=query.since, high=query.until, only=(_IS_FILL,)), filters


async def _list(call: Call) -> Result:
    query: FillQuery = call.query
    found = await find_fills(call.conn, query, read_key(query.cursor, FillKey))
    items = [FillView(**shown(dict(zip(_NAMES, row, strict=True)))) for row in found.rows]
    return Result(content=Page(items=items, next=write_key(found.after)))


OPERATIONS = (
    Operation(
        name="list_fills", method="GET", path="/v1/fills", tag="Orders", action="orders:read",
        summary="List fills, newest first by the broker's time.",
        handle=_list, query=FillQuery, answer=Page[FillView],
    ),
)  # fmt: skip
