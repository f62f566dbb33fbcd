"""SQL of people, their passwords and their invitations.

`create_person` and `invite` are what the first person of a tenant is made with at the command line
(`portcullis init`, `tenant create`); later ones come through the admin API, which versions them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

from tenancy.database import Connection
from tenancy.errors import Conflict
from tenancy.ids import new_id
from tenancy.people import Person, PersonID
from tenancy.scope import TenantScope
from tenancy.sessions import INVITATION, hashed, new_token
from tenancy.store.documents import Table, insert

INVITED_FOR = timedelta(days=7)

PEOPLE: Table[Person] = Table(
    noun="person",
    table="people",
    key="person_id",
    document=Person,
    facts=(
        "state",
        "joined_at",
        "factors_reset_at",
        "password_reset_at",
        "created_at",
        "archived_at",
    ),
    names={"people_email": "somebody with this e-mail address is here already"},
)


async def create_person(conn: Connection, scope: TenantScope, person: Person) -> PersonID:
    """A new person, invited. Raises Conflict for an e-mail address that is in use.

    The roles are the caller's to check (tenancy.roles.roles_of).
    """
    person_id = PersonID(new_id())
    await insert(conn, scope, PEOPLE, person_id, person)
    return person_id


async def invite(
    conn: Connection, scope: TenantScope, person: PersonID, now: datetime
) -> tuple[str, datetime]:
    """A one-time token with which the person sets a password, and until when; older ones are void."""
    token, expires = new_token(INVITATION), now + INVITED_FOR
    await conn.execute(
        "INSERT INTO invitations (token_sha256, tenant_id, person_id, created_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (person_id) DO UPDATE SET"
        " token_sha256 = excluded.token_sha256, created_at = excluded.created_at,"
        " expires_at = excluded.expires_at",
        (hashed(token), scope.tenant_id, person, now, expires),
    )
    return token, expires


async def take_up(conn: Connection, person: PersonID, token: str, now: datetime) -> bool:
    """Use the invitation up: true for exactly one caller, and only while it lasts."""
    cursor = await conn.execute(
        "DELETE FROM invitations WHERE token_sha256 = %s AND person_id = %s AND expires_at > %s",
        (hashed(token), person, now),
    )
    if cursor.rowcount != 1:
        return False
    await join(conn, person, now)
    return True


async def join(conn: Connection, person: PersonID, now: datetime) -> None:
    """The person came in for the first time. No change of the document: no revision."""
    await conn.execute(
        "UPDATE people SET joined_at = %s WHERE person_id = %s AND joined_at IS NULL", (now, person)
    )


async def put_password(
    conn: Connection, scope: TenantScope, person: PersonID, kept: str, now: datetime
) -> None:
    """Set the password by its hash. Ending sessions is the caller's to do."""
    await conn.execute(
        "INSERT INTO passwords (person_id, tenant_id, hash, set_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (person_id) DO UPDATE SET hash = excluded.hash, set_at = excluded.set_at",
        (person, scope.tenant_id, kept, now),
    )


async def drop_password(conn: Connection, person: PersonID) -> None:
    """No password fits until a new one is set (a reset by an administrator)."""
    await conn.execute("DELETE FROM passwords WHERE person_id = %s", (person,))


async def password_of(conn: Connection, person: PersonID) -> str | None:
    cursor = await conn.execute("SELECT hash FROM passwords WHERE person_id = %s", (person,))
    row = await cursor.fetchone()
    return row[0] if row is not None else None


async def find_by_subject(conn: Connection, issuer: str, subject: str) -> PersonID | None:
    """The active or invited person that a provider's subject was bound to."""
    cursor = await conn.execute(
        "SELECT person_id FROM people WHERE oidc_issuer = %s AND oidc_subject = %s"
        " AND archived_at IS NULL AND NOT disabled",
        (issuer, subject),
    )
    row = await cursor.fetchone()
    return PersonID(row[0]) if row is not None else None


async def bind_subject(conn: Connection, email: str, issuer: str, subject: str) -> PersonID | None:
    """Bind a provider's subject to the person with that verified address who has none yet.

    None where there is nobody, or somebody whose account at a provider is another one.
    """
    try:
        cursor = await conn.execute(
            "UPDATE people SET oidc_issuer = %s, oidc_subject = %s WHERE email = %s"
            " AND oidc_subject IS NULL AND archived_at IS NULL AND NOT disabled RETURNING person_id",
            (issuer, subject, email),
        )
    except psycopg.errors.UniqueViolation:
        raise Conflict("this account at the provider belongs to somebody else here") from None
    row = await cursor.fetchone()
    return PersonID(row[0]) if row is not None else None
