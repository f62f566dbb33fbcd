"""Orders as the API shows them: every attempt, and what the broker said of it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from psycopg.rows import dict_row

from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.values import plain

_ORDERS = """
    SELECT cl_ord_id, order_id, signal_id, strategy_id, account_id, leg, attempt, place, broker, symbol,
           side, order_qty, ord_type, price, time_in_force, reduce_only, deadline, state,
           broker_order_id, cum_qty, avg_px, text, intent_at, sent_at, acked_at, done_at
    FROM orders WHERE {where} ORDER BY place, leg, attempt
"""
_REPORTS = """
    SELECT r.cl_ord_id, r.exec_id, r.exec_type, r.ord_status, r.last_qty, r.last_px, r.cum_qty, r.at
    FROM execution_reports r WHERE r.cl_ord_id = ANY(%b) ORDER BY r.at, r.cum_qty
"""
_EXACT = frozenset({"order_qty", "price", "cum_qty", "avg_px", "last_qty", "last_px"})


async def orders_of_signal(conn: Connection, signal_id: object) -> list[dict[str, Any]]:
    """All attempts of a signal, in fan-out order."""
    return await _orders(conn, "signal_id = %b", signal_id)


async def order_by_id(conn: Connection, order_id: str) -> dict[str, Any]:
    """One order and its attempts. Raises NotFound, also for another tenant's."""
    attempts = await _orders(conn, "order_id = %b", order_id)
    if not attempts:
        raise NotFound(f"there is no order {order_id} in this tenant")
    return {"orderId": order_id, "attempts": attempts}


async def _orders(conn: Connection, where: str, value: object) -> list[dict[str, Any]]:
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_ORDERS.format(where=where).encode(), (value,))
    orders = [shown(row) for row in await cursor.fetchall()]
    await cursor.execute(_REPORTS, ([order["clOrdId"] for order in orders],))
    reports: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in await cursor.fetchall():
        report = shown(row)
        reports[report.pop("clOrdId")].append(report)
    return [{**order, "reports": reports[order["clOrdId"]]} for order in orders]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """camelCase names; decimals as plain text, never as floats."""
    return {
        _camel(name): plain(value) if name in _EXACT and value is not None else value
        for name, value in row.items()
    }


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
