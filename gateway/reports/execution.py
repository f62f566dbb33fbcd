"""Best execution: what trading cost against two references, by broker, instrument, hour and order type.

An *order* is one leg of one account, all its attempts together; each counts once, whatever its size, because
lots of different instruments cannot be added. Slippage is of what was filled (fanout/slippage.py): positive is
worse for the client. `p95` is the 95th percentile, `worst` the largest. The hour is UTC, of the first intent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from fanout.slippage import Reference, slippage_sql
from gateway.reports.period import Orders, Period, bounded, orders_of
from tenancy.database import Connection

By = Literal["all", "broker", "symbol", "hour", "ord_type"]
ROWS_MOST = 500
"""Rows of one kind: the instruments with most orders, where there are more."""


class Slippage(msgspec.Struct, frozen=True, kw_only=True):
    """Over the orders that have a price and a reference. Basis points; positive is worse for the client."""

    n: int
    mean: float | None
    median: float | None
    p95: float | None
    worst: float | None


class ExecutionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One broker, instrument, hour or order type. `value` is null for all together.

    `fill_ratio`: the mean of what part of each order was filled. `rejected`: orders that the broker refused.
    """

    by: By
    value: str | None
    orders: int
    fill_ratio: float
    rejected: int
    signal: Slippage
    arrival: Slippage


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """A period. `left_out`: instruments beyond ROWS_MOST."""

    strategy_id: UUID | None
    account_id: UUID | None
    since: datetime
    until: datetime
    orders: int
    left_out: int
    rows: list[ExecutionRow]


def _worse(reference: Reference) -> str:
    """A leg's slippage, over its attempts weighted by quantity."""
    bps = slippage_sql(reference)
    return f"(sum(o.cum_qty * {bps}) / nullif(sum(o.cum_qty) FILTER (WHERE {bps} IS NOT NULL), 0))::float8"


def _shown(name: str) -> str:
    return (
        f"count({name}) AS {name}_n, avg({name}) AS {name}_mean, max({name}) AS {name}_worst,"
        f" percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY {name}) AS {name}_parts"
    )


_SQL = f"""
WITH legs AS (
    SELECT o.broker, o.symbol, extract(hour FROM min(o.intent_at) AT TIME ZONE 'UTC')::int AS hour,
           min(o.ord_type) AS ord_type, least(sum(o.cum_qty) / max(o.order_qty), 1)::float8 AS filled,
           bool_or(o.state = 'rejected') AS rejected,
           {_worse("signal_px")} AS signal, {_worse("arrival_px")} AS arrival
    FROM {{orders}} GROUP BY o.signal_id, o.account_id, o.leg, o.broker, o.symbol
)
SELECT CASE grouping(broker, symbol, hour, ord_type) WHEN 15 THEN 'all' WHEN 7 THEN 'broker' WHEN 11 THEN 'symbol'
            WHEN 13 THEN 'hour' ELSE 'ord_type' END AS by,
       coalesce(broker, symbol, lpad(hour::text, 2, '0'), ord_type) AS value, count(*) AS orders,
       avg(filled) AS fill_ratio, count(*) FILTER (WHERE rejected) AS rejected,
       {_shown("signal")}, {_shown("arrival")}
FROM legs GROUP BY GROUPING SETS ((), (broker), (symbol), (hour), (ord_type))"""  # noqa: S608 - constants only
_ORDER: tuple[By, ...] = ("all", "broker", "symbol", "hour", "ord_type")


async def execution(
    conn: Connection, within: Period, *, strategy_id: UUID | None, account_id: UUID | None
) -> Execution:
    """The report. Raises Malformed where there are too many orders."""
    orders = orders_of(within, strategy_id=strategy_id, account_id=account_id)
    count = await bounded(conn, orders)
    rows = [_row(row) for row in await _read(conn, orders)] if count else []
    kinds = {by: [row for row in rows if row.by == by] for by in _ORDER}
    by_orders = sorted(kinds["symbol"], key=lambda row: (-row.orders, row.value or ""))
    kinds["symbol"] = by_orders[:ROWS_MOST]
    for by in ("broker", "hour", "ord_type"):
        kinds[by].sort(key=lambda row: row.value or "")
    return Execution(
        strategy_id=strategy_id,
        account_id=account_id,
        since=within.since,
        until=within.until,
        orders=count,
        left_out=len(by_orders) - len(kinds["symbol"]),
        rows=[row for by in _ORDER for row in kinds[by]],
    )


async def _read(conn: Connection, orders: Orders) -> list[dict[str, Any]]:
    cursor = conn.cursor(row_factory=dict_row)
    query = _SQL.replace("{orders}", orders.sql).encode()
    await cursor.execute(query, orders.values, prepare=False)
    return await cursor.fetchall()


def _row(row: dict[str, Any]) -> ExecutionRow:
    return ExecutionRow(
        by=row["by"],
        value=row["value"],
        orders=row["orders"],
        fill_ratio=round(row["fill_ratio"], 4),
        rejected=row["rejected"],
        signal=_slippage(row, "signal"),
        arrival=_slippage(row, "arrival"),
    )


def _slippage(row: dict[str, Any], name: str) -> Slippage:
    median, p95 = row[f"{name}_parts"] or (None, None)
    return Slippage(
        n=row[f"{name}_n"],
        mean=_short(row[f"{name}_mean"]),
        median=_short(median),
        p95=_short(p95),
        worst=_short(row[f"{name}_worst"]),
    )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4) + 0.0
