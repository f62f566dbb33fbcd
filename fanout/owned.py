"""Which orders are of which strategies: asked by the audit log's exports, which know no orders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from fanout.order import cl_ord_id
from tenancy.database import Connection

_OF_STRATEGIES = """
SELECT order_id FROM orders WHERE cl_ord_id = ANY(%b) AND strategy_id = ANY(%b)"""


async def orders_of_strategies(
    conn: Connection, strategies: Sequence[UUID], orders: Sequence[str]
) -> Collection[str]:
    """Those of `orders` that are of one of `strategies`: looked up by their first attempt."""
    firsts = [cl_ord_id(order, 1) for order in orders]
    cursor = await conn.execute(_OF_STRATEGIES, (firsts, list(strategies)))
    return frozenset(row[0] for row in await cursor.fetchall())
