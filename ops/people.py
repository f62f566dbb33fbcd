"""The way back in for a person who lost everything, from the host: `portcullis user recover`.

Whoever has this shell has the database; what happens here is on record in the tenant's audit log like
everything else that opens a door, in the transaction of the change. People are made, and everything
else is done, through the admin API.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import NotFound
from tenancy.people import PersonID, normal_email
from tenancy.scope import TenantScope
from tenancy.store import people as store
from tenancy.store import sessions


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """`url` lets somebody set this person's password: shown once."""

    person_id: PersonID
    url: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Invitation({self.person_id}, url=…)"


async def reset_person(
    database: Database, scope: TenantScope, email: str, *, base_url: str, clock: Clock
) -> Invitation:
    """Somebody's password and second factors are gone, their sessions end, and they are invited anew.

    Raises NotFound for an address that nobody has who may come in.
    """
    now = clock.now()
    async with database.tenant(scope) as conn:
        cursor = await conn.execute(
            "UPDATE people SET factors_reset_at = %s, revision = revision + 1 WHERE email = %s"
            " AND archived_at IS NULL AND NOT disabled RETURNING person_id, revision",
            (now, normal_email(email)),
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFound("nobody here has this address, or they are disabled")
        person_id = PersonID(row[0])
        await _version(
            conn, scope, person_id, row[1], {"factors_reset_at": now}, "reset on the host"
        )
        await store.drop_password(conn, person_id)
        await sessions.end_sessions(conn, person_id)
        facts = {"event": "reset_on_the_host", "of": str(person_id)}
        await _record(conn, scope, clock, Kind.LOGIN, facts)
        return await _invited(conn, scope, person_id, base_url, clock)


async def _invited(
    conn: Connection, scope: TenantScope, person: PersonID, base_url: str, clock: Clock
) -> Invitation:
    token, expires = await store.invite(conn, scope, person, clock.now())
    url = f"{base_url.rstrip('/')}/#invitation={token}"
    return Invitation(person_id=person, url=url, expires_at=expires)


async def _version(
    conn: Connection, scope: TenantScope, person: PersonID, revision: int, after: Any, why: str
) -> None:
    await conn.execute(
        "INSERT INTO revisions (tenant_id, kind, object_id, revision, after, actor, why)"
        " VALUES (%s, 'person', %s, %s, %s::jsonb, %s::jsonb, %s)",
        (scope.tenant_id, str(person), revision, _json(after), _json(scope.actor), why),
    )


async def _record(
    conn: Connection, scope: TenantScope, clock: Clock, kind: Kind, payload: dict[str, Any]
) -> None:
    entry = Entry(kind=kind, ts_ns=clock.now_ns(), payload=payload, actor=scope.actor, cls="admin")
    await append(conn, [(scope.tenant_id, entry)])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
