"""Orders and fills as the API shows them: every attempt, and what the broker said of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from fanout.order import OrdState, OrdType, Protect, Role
from gateway.admin.listing import OrderKey, read_key, write_key
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.order_pages import COLUMNS, OrderQuery, find_orders
from gateway.admin.paging import Page
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.values import plain


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to place an order. Quantities are whole lots; decimals are text, exactly as kept."""

    cl_ord_id: str
    order_id: str
    signal_id: UUID
    strategy_id: UUID
    account_id: UUID
    leg: int
    attempt: int
    place: int
    broker: str
    symbol: str
    side: str
    order_qty: str
    ord_type: str
    price: str | None
    time_in_force: str
    reduce_only: bool
    deadline: datetime
    status: OrdState
    broker_order_id: str | None
    cum_qty: str
    avg_px: str | None
    text: str | None
    intent_at: datetime
    sent_at: datetime | None
    acked_at: datetime | None
    done_at: datetime | None
    role: Role
    stop_px: str | None
    """Where a stop stands now; of a trailing one at most a second old."""
    trail_amount: str | None
    trail_percent: str | None
    cancel_at: datetime | None
    protect: Protect | None
    asked_type: OrdType | None
    """Of an order that waited for its price at the gateway: what was asked for; `ord_type` is what was sent."""
    best_px: str | None
    entry_px: str | None
    breakeven_px: str | None
    trigger_px: str | None
    note: str | None = None


HELD_NOTE = (
    "This order lives with the gateway: the broker does not know of it, and it goes out only while a"
    " worker runs, can reach the broker and has fresh prices."
)


class ReportView(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker said of an attempt (FIX ExecutionReport)."""

    exec_id: str
    exec_type: str
    ord_status: str
    last_qty: str | None
    last_px: str | None
    cum_qty: str
    at: datetime


class AttemptView(OrderView, frozen=True, kw_only=True):
    """An attempt with its reports, in their order."""

    reports: list[ReportView]


class OrderStory(msgspec.Struct, frozen=True, kw_only=True):
    """An order and its attempts: another one exists only after the one before is proven absent."""

    order_id: str
    attempts: list[AttemptView]


_ATTEMPTS = f"SELECT {', '.join(COLUMNS)} FROM orders WHERE "  # noqa: S608 - constants
_REPORTS = """
SELECT cl_ord_id, exec_id, exec_type, ord_status, last_qty, last_px, cum_qty, at
FROM execution_reports WHERE cl_ord_id = ANY(%b) ORDER BY at, cum_qty, exec_id"""
FEW_ATTEMPTS, ALL_ATTEMPTS = 16, 999


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as its view wants it: decimals as plain text, `state` under the name of its filter."""
    members = {n: plain(v) if isinstance(v, Decimal) else v for n, v in row.items()}
    if "state" in members:
        members["status"] = members.pop("state")
    if "protect" in members:
        protect = members["protect"]
        members["protect"] = None if protect is None else msgspec.convert(protect, Protect)
        members["note"] = HELD_NOTE if members["status"] == OrdState.HELD else None
    return members


async def orders_of_accounts(
    conn: Connection, signal_id: UUID, accounts: Sequence[UUID]
) -> dict[UUID, list[AttemptView]]:
    """The attempts that a signal made at each of these accounts, by leg and attempt."""
    where = "signal_id = %b AND account_id = ANY(%b) ORDER BY leg, attempt"
    by_account: dict[UUID, list[AttemptView]] = defaultdict(list)
    for attempt in await _attempts(conn, where, signal_id, list(accounts)):
        by_account[attempt.account_id].append(attempt)
    return by_account


async def order_by_id(conn: Connection, order_id: str) -> OrderStory:
    """One order and its attempts. Raises NotFound, also for another tenant's."""
    where = "cl_ord_id = ANY(%b) ORDER BY attempt"
    attempts: list[AttemptView] = []
    for most in (FEW_ATTEMPTS, ALL_ATTEMPTS):  # their names are derived, and numbered from 1
        names = [f"{order_id}.{number}" for number in range(1, most + 1)]
        attempts = await _attempts(conn, where, names)
        if len(attempts) < most:
            break
    if not attempts:
        raise NotFound(f"there is no order {order_id} in this tenant")
    return OrderStory(order_id=order_id, attempts=attempts)


async def _attempts(conn: Connection, where: str, *values: Any) -> list[AttemptView]:
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute((_ATTEMPTS + where).encode(), values)
    orders = [shown(row) for row in await cursor.fetchall()]
    reports: dict[str, list[ReportView]] = defaultdict(list)
    await cursor.execute(_REPORTS, ([order["cl_ord_id"] for order in orders],))
    for row in await cursor.fetchall():
        report = shown(row)
        reports[report.pop("cl_ord_id")].append(ReportView(**report))
    return [AttemptView(**order, reports=reports[order["cl_ord_id"]]) for order in orders]


async def _list(call: Call) -> Result:
    query: OrderQuery = call.query
    found = await find_orders(call.conn, query, read_key(query.cursor, OrderKey))
    items = [OrderView(**shown(dict(zip(COLUMNS, row, strict=True)))) for row in found.rows]
    return Result(content=Page(items=items, next=write_key(found.after)))


async def _read(call: Call) -> Result:
    order_id = call.path["order_id"]
    if len(order_id) > 64 or not order_id.isascii() or not order_id.isalnum():
        raise NotFound("an order's id is 24 letters and digits; there is no such order")
    return Result(content=await order_by_id(call.conn, order_id))


OPERATIONS = (
    Operation(
        name="list_orders", method="GET", path="/v1/orders", tag="Orders", action="orders:read",
        summary="List orders, each attempt one item, newest signal first.",
        handle=_list, query=OrderQuery, answer=Page[OrderView],
    ),
    Operation(
        name="get_order", method="GET", path="/v1/orders/{order_id}", tag="Orders",
        action="orders:read", summary="Read an order: its attempts and what the broker said of them.",
        handle=_read, answer=OrderStory, problems=("not_found",),
    ),
)  # fmt: skip
