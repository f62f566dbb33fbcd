"""Signals as the API shows them: what came, what was decided for each account, what became of it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from gateway.admin.orders import orders_of_signal, shown
from gateway.admin.paging import write_cursor
from tenancy.database import Connection
from tenancy.errors import NotFound

_ONE = """
    SELECT s.signal_id, s.strategy_id, s.message_id, s.state, s.received_at, s.traceparent, s.body,
           p.version, p.seed::text AS seed, p.planned_at, p.plan::text AS plan
    FROM signals s LEFT JOIN plans p USING (signal_id) WHERE s.signal_id = %b
"""
_PAGE = """
    SELECT signal_id, strategy_id, message_id, state, received_at
    FROM signals WHERE %b::uuid IS NULL OR signal_id < %b::uuid
    ORDER BY signal_id DESC LIMIT %b
"""


async def signals_page(conn: Connection, *, limit: int, after: UUID | None) -> dict[str, Any]:
    """Newest first. `next` is there where more may follow."""
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_PAGE, (after, after, limit))
    rows = await cursor.fetchall()
    page: dict[str, Any] = {"signals": [shown(row) for row in rows]}
    if len(rows) == limit:
        page["next"] = write_cursor(str(rows[-1]["signal_id"]))
    return page


async def signal_by_id(conn: Connection, signal_id: UUID) -> dict[str, Any]:
    """The whole story. Raises NotFound, also for another tenant's."""
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_ONE, (signal_id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"there is no signal {signal_id} in this tenant")
    plan_text, body, traceparent = row.pop("plan"), row.pop("body"), row.pop("traceparent")
    orders = await orders_of_signal(conn, signal_id)
    plan = msgspec.json.decode(plan_text) if plan_text else None
    return {
        **shown(row),
        "traceId": traceparent.split("-")[1],
        "body": bytes(body).decode("utf-8", "replace"),
        "accounts": outcomes(plan, orders),
    }


def outcomes(plan: dict[str, Any] | None, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for each account of the plan, in fan-out order: its entry as planned, and its orders."""
    by_account: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for order in orders:
        by_account[str(order["accountId"])].append(order)
    entries = plan["entries"] if plan is not None else []
    return [
        {
            "accountId": entry["account_id"],
            "decision": _decision(entry),
            "reason": entry["reason"],
            "planned": entry,
            "orders": by_account[entry["account_id"]],
        }
        for entry in entries
    ]


def _decision(entry: dict[str, Any]) -> str:
    if not entry.get("legs"):
        return "nothing"
    return "asked" if "asked" in entry else "order"
