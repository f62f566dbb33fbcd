"""SQL of proposals: changes that wait for a second person, or for their hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.scope import Actor

State = Literal["open", "approved", "applied", "rejected", "withdrawn", "expired", "failed"]
STATES: tuple[State, ...] = get_args(State)


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A change that somebody wants. `base`: the revision it was made for; 0: there was no object.

    `reasons`: the categories for which the tenant wants a second person. `effective_from`: when an
    approved one is applied. `failure`: why an approved one could not be.
    """

    proposal_id: UUID
    tenant_id: UUID
    reasons: list[str]
    operation: str
    kind: str
    object_id: str
    base: int
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    comment: str
    state: State
    proposed_by: Actor
    proposed_at: datetime
    expires_at: datetime
    effective_from: datetime | None
    decided_by: Actor | None
    decided_at: datetime | None
    decision_comment: str
    applied_at: datetime | None
    failure: str | None


_COLUMNS = ", ".join(Proposal.__struct_fields__)


async def read(conn: Connection, proposal_id: UUID, *, lock: bool = False) -> Proposal:
    """One of the transaction's tenant. `lock`: nobody else decides until it ends. Raises NotFound."""
    found = await _rows(
        conn,
        f"SELECT {_COLUMNS} FROM proposals WHERE proposal_id = %s"  # noqa: S608
        f"{' FOR UPDATE' if lock else ''}",
        (proposal_id,),
    )
    if not found:
        raise NotFound(f"there is no proposal {proposal_id} in this tenant")
    return found[0]


async def page(
    conn: Connection,
    *,
    limit: int,
    before: UUID | None = None,
    state: str | None = None,
    kind: str | None = None,
) -> list[Proposal]:
    """Newest first, those before `before`."""
    return await _rows(
        conn,
        f"SELECT {_COLUMNS} FROM proposals WHERE (%s::uuid IS NULL OR proposal_id < %s)"  # noqa: S608
        " AND (%s::text IS NULL OR state = %s) AND (%s::text IS NULL OR kind = %s)"
        " ORDER BY proposal_id DESC LIMIT %s",
        (before, before, state, state, kind, kind, limit),
    )


async def decide(
    conn: Connection,
    proposal_id: UUID,
    state: State,
    by: Actor,
    at: datetime,
    comment: str,
    effective_from: datetime | None = None,
) -> None:
    """Write down a decision about a proposal that the caller has locked and judged."""
    await conn.execute(
        "UPDATE proposals SET state = %s, decided_by = %s::jsonb, decided_at = %s,"
        " decision_comment = %s, effective_from = %s WHERE proposal_id = %s",
        (
            state, msgspec.json.encode(by).decode(), at, comment, effective_from, proposal_id,
        ),
    )  # fmt: skip


async def applied(conn: Connection, proposal_id: UUID, at: datetime) -> None:
    await conn.execute(
        "UPDATE proposals SET state = 'applied', applied_at = %s WHERE proposal_id = %s",
        (at, proposal_id),
    )


async def failed(conn: Connection, proposal_id: UUID, why: str) -> None:
    await conn.execute(
        "UPDATE proposals SET state = 'failed', failure = %s WHERE proposal_id = %s",
        (why, proposal_id),
    )


async def expired(conn: Connection, proposal_id: UUID) -> None:
    await conn.execute(
        "UPDATE proposals SET state = 'expired' WHERE proposal_id = %s", (proposal_id,)
    )


async def due(conn: Connection, at: datetime) -> list[tuple[UUID, UUID]]:
    """Of all tenants: approved ones whose hour came and open ones whose time is over; up to 100
    (proposal, tenant). In a transaction without a tenant."""
    cursor = await conn.execute("SELECT proposal_id, tenant_id FROM find_due_proposals(%s)", (at,))
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def people_behind(conn: Connection, actor: Actor) -> frozenset[str]:
    """The people whose act something is: the person, or whoever made or changed the service key,
    or the key that made that one, however long the chain."""
    cursor = await conn.execute(_BEHIND, (actor.kind, actor.id))
    return frozenset(row[0] for row in await cursor.fetchall())


_BEHIND = """
WITH RECURSIVE behind (kind, id) AS (
    SELECT %s::text, %s::text
    UNION
    SELECT r.actor ->> 'kind', r.actor ->> 'id' FROM revisions r
    JOIN behind b ON b.kind = 'api' AND r.kind = 'service_key' AND r.object_id = b.id
) SELECT id FROM behind WHERE kind = 'human'"""


async def _rows(conn: Connection, query: str, values: Any) -> list[Proposal]:
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), values)
    return [_proposal(row) for row in await cursor.fetchall()]


def _proposal(row: Mapping[str, Any]) -> Proposal:
    return msgspec.convert(row, Proposal)
