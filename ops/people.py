"""People from the command line of the host: the first of a tenant, and the way back in when nobody has one.

Whoever has this shell has the database; what happens here is on record in the tenant's audit log like
everything else that opens a door, in the transaction of the change. Later people are made through
the admin API, by people.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import Invalid, NotFound
from tenancy.people import Person, PersonID, normal_email
from tenancy.roles import roles_of
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


async def make_person(
    database: Database, scope: TenantScope, person: Person, *, base_url: str, clock: Clock
) -> Invitation:
    """A new person of the tenant, invited. Raises Invalid (roles), Conflict (e-mail in use), Unavailable."""
    async with database.tenant(scope) as conn:
        await _check_roles(conn, person)
        person_id = await store.create_person(conn, scope, person)
        after = msgspec.to_builtins(person)
        await _version(conn, scope, person_id, 1, after, "made on the host")
        facts = {"object": "person", "id": str(person_id), "revision": 1, "before": None}
        await _record(conn, scope, clock, Kind.ADMIN_CHANGE, {**facts, "after": after})
        return await _invited(conn, scope, person_id, base_url, clock)


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


async def _check_roles(conn: Connection, person: Person) -> None:
    row = await (await conn.execute("SELECT kind FROM tenants")).fetchone()
    if row is None:
        raise NotFound("there is no such tenant")
    wrong = sorted(set(person.roles) - roles_of(row[0]))
    if wrong:
        raise Invalid(f"roles: {', '.join(wrong)}: not a role of such a tenant", field="roles")


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
