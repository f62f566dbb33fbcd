"""SQL of the stop engine beside the release: finding, reading, where stops stand, whose time is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from audit.inbox import append
from fanout import stops_book
from fanout.order import Order, OrdState
from fanout.order_rows import SELECT, order_of_row
from fanout.stops_release import say as say_in
from tenancy.database import Connection, Database
from tenancy.scope import TenantScope
from tenancy.values import TenantID

EXPIRED = "its cancelAfter is over"

_FIND = "SELECT cl_ord_id, tenant_id FROM find_held_orders(%s::smallint[])"
_FIND_TIMED = "SELECT cl_ord_id, tenant_id FROM find_timed_orders(%s::smallint[], %s)"
_READ = f"{SELECT} WHERE cl_ord_id = ANY(%b::text[]) AND state = 'held'"
_LOCK = f"{SELECT} WHERE cl_ord_id = ANY(%b::text[]) ORDER BY cl_ord_id FOR UPDATE"
_MOVE = """
UPDATE orders o SET stop_px = n.stop_px, best_px = n.best_px, breakeven_px = n.breakeven_px
FROM unnest(%b::text[], %b::numeric[], %b::numeric[], %b::numeric[], %b::numeric[])
     AS n(cl_ord_id, stop_px, best_px, breakeven_px, entry_px)
WHERE o.cl_ord_id = n.cl_ord_id AND o.state = 'held' AND o.entry_px IS NOT DISTINCT FROM n.entry_px"""


async def find_held(database: Database, parts: Sequence[int]) -> dict[str, TenantID]:
    """What these partitions hold: names and whose they are. Raises Unavailable."""
    async with database.connection() as conn:
        return dict(await (await conn.execute(_FIND, (list(parts),))).fetchall())


async def read_held(
    database: Database, scope: TenantScope, names: Sequence[str]
) -> dict[str, Order]:
    """Those of these that are held now. Raises Unavailable."""
    async with database.tenant(scope) as conn:
        rows = await (await conn.execute(_READ.encode(), (list(names),))).fetchall()
    return {order.cl_ord_id: order for order in map(order_of_row, rows)}


async def move(conn: Connection, orders: Sequence[Order]) -> None:
    """Where these held stops stand now; one whose entry has filled further is left as its fill put it."""
    columns = [
        [order.cl_ord_id for order in orders],
        [order.stop_px for order in orders],
        [order.best_px for order in orders],
        [order.breakeven_px for order in orders],
        [order.entry_px for order in orders],
    ]
    await conn.execute(_MOVE, columns)


async def say(database: Database, scope: TenantScope, texts: Mapping[str, str]) -> None:
    """Why these stay held, or that nothing is in their way any more."""
    async with database.tenant(scope) as conn:
        for name in sorted(texts):
            await say_in(conn, name, texts[name])


async def find_timed(
    database: Database, parts: Sequence[int], at: datetime
) -> dict[TenantID, list[str]]:
    """Open orders whose time is over and that nobody has wished cancelled. Raises Unavailable."""
    async with database.connection() as conn:
        rows = await (await conn.execute(_FIND_TIMED, (list(parts), at))).fetchall()
    found: dict[TenantID, list[str]] = {}
    for name, tenant in rows:
        found.setdefault(tenant, []).append(name)
    return found


async def end_timed(
    conn: Connection, scope: TenantScope, names: Sequence[str], at: datetime
) -> list[Order]:
    """End the held ones, wish the others cancelled; those that rest at the broker now.

    A wish is what somebody asked for, so it needs no lease: whoever owns the lane carries it out.
    """
    orders = [
        order_of_row(row) for row in await (await conn.execute(_LOCK, (list(names),))).fetchall()
    ]
    held = [order for order in orders if order.state is OrdState.HELD]
    entries = await stops_book.end_held(conn, held, at, OrdState.EXPIRED, EXPIRED)
    others = [order for order in orders if order.state is not OrdState.HELD]
    resting, wishes = await stops_book.wish(conn, others, at)
    await append(conn, [(scope.tenant_id, entry) for entry in (*entries, *wishes)])
    return resting
