"""SQL of operators let in: rows of the customer's, and what an operator finds of its own asks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row

from tenancy.database import Connection
from tenancy.errors import Conflict, NotFound
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

State = Literal["asked", "granted", "refused", "revoked"]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's wish to look into a tenant. `minutes` count from the yes; `expires_at`: their end."""

    grant_id: UUID
    tenant_id: UUID
    operator_id: str
    reason: str
    minutes: int
    state: State
    asked_at: datetime
    decided_at: datetime | None
    expires_at: datetime | None


_COLUMNS = ", ".join(Grant.__struct_fields__)


async def live(conn: Connection, operator_id: str, at: datetime) -> Grant | None:
    """The grant under which this operator may look at that moment."""
    found = await _rows(
        conn,
        f"SELECT {_COLUMNS} FROM access_grants WHERE operator_id = %s AND state = 'granted'"  # noqa: S608
        " AND expires_at > %s ORDER BY expires_at DESC LIMIT 1",
        (operator_id, at),
    )
    return found[0] if found else None


async def ask(
    conn: Connection, scope: TenantScope, grant_id: UUID, reason: str, minutes: int, at: datetime
) -> None:
    """A new ask of `scope`'s actor. Raises NotFound without such a tenant, Conflict where one waits."""
    try:
        await conn.execute(
            "INSERT INTO access_grants (grant_id, tenant_id, operator_id, reason, minutes, asked_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (grant_id, scope.tenant_id, scope.actor.id, reason, minutes, at),
        )
    except psycopg.errors.ForeignKeyViolation:
        raise NotFound(f"there is no tenant {scope.tenant_id}") from None
    except psycopg.errors.UniqueViolation:
        raise Conflict("you asked this tenant already, and it has not answered yet") from None


async def read(conn: Connection, grant_id: UUID) -> Grant:
    """One of the transaction's tenant, locked until its end. Raises NotFound."""
    found = await _rows(
        conn,
        f"SELECT {_COLUMNS} FROM access_grants WHERE grant_id = %s FOR UPDATE",  # noqa: S608
        (grant_id,),
    )
    if not found:
        raise NotFound(f"nobody asked for access under {grant_id} in this tenant")
    return found[0]


async def page(conn: Connection, *, limit: int, before: UUID | None) -> list[Grant]:
    """Of the transaction's tenant, newest first."""
    return await _rows(
        conn,
        f"SELECT {_COLUMNS} FROM access_grants WHERE %s::uuid IS NULL OR grant_id < %s"  # noqa: S608
        " ORDER BY grant_id DESC LIMIT %s",
        (before, before, limit),
    )


async def page_of_operator(
    conn: Connection, operator_id: str, *, limit: int, before: UUID | None
) -> list[Grant]:
    """What this operator asked for in all tenants, newest first; empty outside the platform."""
    return await _rows(
        conn,
        f"SELECT {_COLUMNS} FROM find_access_asks(%s, %s, %s)",  # noqa: S608
        (operator_id, before, limit),
    )


async def decide(
    conn: Connection,
    grant_id: UUID,
    state: State,
    by: Actor,
    at: datetime,
    expires_at: datetime | None,
) -> None:
    """Write down an answer to an ask that the caller has locked."""
    await conn.execute(
        "UPDATE access_grants SET state = %s, decided_by = %s::jsonb, decided_at = %s,"
        " expires_at = %s WHERE grant_id = %s",
        (state, msgspec.json.encode(by).decode(), at, expires_at, grant_id),
    )


async def platform(conn: Connection) -> TenantID | None:
    """The platform's tenant; None where this installation has none yet."""
    row = await (await conn.execute("SELECT platform_tenant()")).fetchone()
    return TenantID(row[0]) if row is not None and row[0] is not None else None


async def _rows(conn: Connection, query: str, values: Any) -> list[Grant]:
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), values)
    return [msgspec.convert(row, Grant) for row in await cursor.fetchall()]
