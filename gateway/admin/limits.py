"""Limits of all layers at a glance; each is changed through the object that holds it.

Additive: of all layers that set one, the tightest holds (tenancy/limits.py). Who may change an object
may not for that reason change its limits: that is an action of its own.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from gateway.admin.changes import By
from gateway.admin.errors import Forbidden, Malformed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_cursor, write_cursor
from tenancy.limits import Limits, LimitSource


class LayerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one layer lays down. `revision` is of the object that holds it; `object_id` is null for
    the platform where somebody else asks: its limits hold for everybody, itself is nobody's business."""

    layer: LimitSource
    object_id: UUID | None
    name: str
    limits: Limits
    revision: int


ACTION = "limits:write"


def require_limits_action(by: By, before: Any, after: Any) -> None:
    """Raises Forbidden where a document's limits change, either way, and the author may not do that."""
    if after is None or by.proposal is not None or ACTION in by.actions:
        return
    if after.limits != (Limits() if before is None else before.limits):
        raise Forbidden(
            f"{ACTION} is needed to change limits, and this credential does not have it"
        )


_LAYERS = """
SELECT * FROM (
    SELECT 0 AS place, 'platform' AS layer, NULL::uuid AS id, 'platform' AS name, limits, revision
        FROM platform_terms()
    UNION ALL SELECT 1, 'tenant', tenant_id, name, limits::text, revision FROM tenants
        WHERE kind = 'customer'
    UNION ALL SELECT 2, 'strategy', strategy_id, name, limits::text, revision FROM strategies
        WHERE limits <> '{}' AND archived_at IS NULL
    UNION ALL SELECT 3, 'group', group_id, name, limits::text, revision FROM account_groups
        WHERE limits <> '{}' AND archived_at IS NULL
    UNION ALL SELECT 4, 'account', account_id, name, limits::text, revision FROM accounts
        WHERE limits <> '{}' AND archived_at IS NULL
) layers
WHERE %(place)s::int IS NULL
   OR (place, coalesce(id::text, '')) > (%(place)s::int, %(id)s::text)
ORDER BY place, coalesce(id::text, '') LIMIT %(limit)s"""


async def _list(call: Call) -> Result:
    place, after = _after(call.query.cursor)
    asked: dict[str, Any] = {"place": place, "id": after, "limit": call.query.limit}
    rows = await (await call.conn.execute(_LAYERS, asked)).fetchall()
    items = [
        LayerLimits(
            layer=row[1], object_id=row[2], name=row[3],
            limits=msgspec.json.decode(row[4], type=Limits), revision=row[5],
        )
        for row in rows
    ]  # fmt: skip
    more = f"{rows[-1][0]}:{rows[-1][2] or ''}" if len(rows) == call.query.limit else None
    return Result(content=Page(items=items, next=write_cursor(more) if more else None))


def _after(cursor: str | None) -> tuple[int | None, str]:
    text = read_cursor(cursor)
    if text is None:
        return None, ""
    place, colon, after = text.partition(":")
    if not colon or place not in ("0", "1", "2", "3", "4"):
        raise Malformed("cursor: take it from `next` of the page before, unchanged", field="cursor")
    return int(place), after


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_limits", method="GET", path="/v1/limits", tag="Limits", action="limits:read",
        summary="The limits of the platform, the tenant and every object that sets any.",
        handle=_list, query=PageQuery, answer=Page[LayerLimits],
    ),
)  # fmt: skip
