"""Reconciliations: for each account, when its book was last compared with its broker's, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor


class ReconciliationQuery(PageQuery, frozen=True, kw_only=True):
    """Of which accounts."""

    account_id: UUID | None = None
    state: Literal["agreed", "differs", "unknown"] | None = None


class ReconciliationView(msgspec.Struct, frozen=True, kw_only=True):
    """The last comparison of one account. `unknown`: the broker could not be asked, and `why`. `epoch`: of the
    lease under which it was made. An account whose paper book lives in the worker is never compared."""

    account_id: UUID
    state: Literal["agreed", "differs", "unknown"]
    why: str
    at: datetime
    epoch: int
    agreed_at: datetime | None
    away_at: datetime | None
    open_drifts: int


_PAGE = """
SELECT r.account_id, r.state, r.why, r.at, r.epoch, r.agreed_at, r.away_at,
       (SELECT count(*) FROM drifts d WHERE d.account_id = r.account_id AND d.state = 'open')
FROM reconciliations r
WHERE (%(after)s::uuid IS NULL OR r.account_id > %(after)s)
  AND (%(account)s::uuid IS NULL OR r.account_id = %(account)s)
  AND (%(state)s::text IS NULL OR r.state = %(state)s)
ORDER BY r.account_id LIMIT %(limit)s"""


async def _list(call: Call) -> Result:
    query: ReconciliationQuery = call.query
    values = {
        "after": read_id(query.cursor), "account": query.account_id, "state": query.state,
        "limit": query.limit,
    }  # fmt: skip
    found = await (await call.conn.execute(_PAGE, values)).fetchall()
    names = ReconciliationView.__struct_fields__
    items = [ReconciliationView(**dict(zip(names, row, strict=True))) for row in found]
    more = write_cursor(str(items[-1].account_id)) if len(items) == query.limit else None
    return Result(content=Page(items=items, next=more))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_reconciliations", method="GET", path="/v1/reconciliations",
        tag="Reconciliation", action="positions:read",
        summary="When each account's book was last compared with its broker's, and what came of it.",
        handle=_list, query=ReconciliationQuery, answer=Page[ReconciliationView],
    ),
)  # fmt: skip
