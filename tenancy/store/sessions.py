"""SQL of sessions and of logins that are half-way: what is kept of a token is its hash."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from tenancy.database import Connection
from tenancy.ids import new_id
from tenancy.people import PersonID
from tenancy.scope import TenantScope
from tenancy.sessions import (
    HALF_SESSION,
    SESSION,
    Opened,
    SessionLimits,
    Transport,
    hashed,
    new_token,
)

HALF_SESSION_FOR = timedelta(minutes=5)
_TEXT_MOST = 200


async def open_session(
    conn: Connection,
    scope: TenantScope,
    person: PersonID,
    *,
    transport: Transport,
    second_factor: bool,
    client: str,
    user_agent: str,
    limits: SessionLimits,
    now: datetime,
) -> Opened:
    """A new session. What of the tenant's is long over is cleared away on the way."""
    await conn.execute("DELETE FROM sessions WHERE created_at < %s", (now - limits.absolute,))
    await conn.execute("DELETE FROM login_steps WHERE expires_at < %s", (now,))
    opened = Opened(
        session_id=new_id(),
        token=new_token(SESSION),
        csrf_token=new_token(""),
        expires_at=now + limits.absolute,
    )
    await conn.execute(
        "INSERT INTO sessions (session_id, tenant_id, person_id, token_sha256, csrf_token, transport,"
        " created_at, seen_at, rotated_at, second_factor_at, client, user_agent)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            opened.session_id, scope.tenant_id, person, hashed(opened.token), opened.csrf_token,
            transport, now, now, now, now if second_factor else None, client[:_TEXT_MOST],
            user_agent[:_TEXT_MOST],
        ),
    )  # fmt: skip
    return opened


async def rotate(conn: Connection, session: UUID, token: str, now: datetime) -> str | None:
    """A new token in place of this one; None where another request was faster."""
    fresh = new_token(SESSION)
    cursor = await conn.execute(
        "UPDATE sessions SET previous_sha256 = token_sha256, token_sha256 = %s, rotated_at = %s,"
        " seen_at = %s WHERE session_id = %s AND token_sha256 = %s",
        (hashed(fresh), now, now, session, hashed(token)),
    )
    return fresh if cursor.rowcount == 1 else None


async def seen(conn: Connection, session: UUID, now: datetime) -> None:
    await conn.execute(
        "UPDATE sessions SET seen_at = %s WHERE session_id = %s AND seen_at < %s",
        (now, session, now),
    )


async def second_factor_shown(conn: Connection, session: UUID, now: datetime) -> None:
    await conn.execute(
        "UPDATE sessions SET second_factor_at = %s WHERE session_id = %s", (now, session)
    )


async def end_session(conn: Connection, person: PersonID, session: UUID) -> bool:
    """End one of the person's sessions. False: there is none such."""
    cursor = await conn.execute(
        "DELETE FROM sessions WHERE session_id = %s AND person_id = %s", (session, person)
    )
    return cursor.rowcount == 1


async def end_sessions(
    conn: Connection,
    person: PersonID,
    *,
    but: UUID | None = None,
    without_second_factor: bool = False,
) -> int:
    """End all of the person's sessions and half-way logins, `but` one; how many sessions it were."""
    await conn.execute("DELETE FROM login_steps WHERE person_id = %s", (person,))
    cursor = await conn.execute(
        "DELETE FROM sessions WHERE person_id = %s AND session_id IS DISTINCT FROM %s"
        " AND (second_factor_at IS NULL OR NOT %s)",
        (person, but, without_second_factor),
    )
    return cursor.rowcount


async def sessions_of(
    conn: Connection, person: PersonID, limits: SessionLimits, now: datetime
) -> list[dict[str, Any]]:
    """The person's live sessions, newest first; nothing that opens one among it."""
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(
        "SELECT session_id, transport, created_at, seen_at, second_factor_at, client, user_agent"
        " FROM sessions WHERE person_id = %s AND created_at > %s AND seen_at > %s"
        " ORDER BY session_id DESC LIMIT 100",
        (person, now - limits.absolute, now - limits.idle),
    )
    return list(await cursor.fetchall())


async def begin_step(
    conn: Connection,
    scope: TenantScope,
    person: PersonID,
    *,
    subject: bytes,
    transport: Transport,
    now: datetime,
) -> str:
    """The token with which the login goes on, for five minutes."""
    token = new_token(HALF_SESSION)
    await conn.execute(
        "INSERT INTO login_steps (token_sha256, tenant_id, person_id, subject, transport, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (hashed(token), scope.tenant_id, person, subject, transport, now + HALF_SESSION_FOR),
    )
    return token


async def put_challenge(conn: Connection, token: str, challenge: bytes) -> None:
    """The WebAuthn challenge that this login is to answer; one before it is void."""
    await conn.execute(
        "UPDATE login_steps SET challenge = %s WHERE token_sha256 = %s", (challenge, hashed(token))
    )


async def take_challenge(conn: Connection, token: str) -> bytes | None:
    """The challenge, which no other answer can be checked against afterwards."""
    cursor = await conn.execute(
        "UPDATE login_steps l SET challenge = NULL FROM (SELECT token_sha256, challenge FROM login_steps"
        " WHERE token_sha256 = %s FOR UPDATE) AS o WHERE l.token_sha256 = o.token_sha256"
        " RETURNING o.challenge",
        (hashed(token),),
    )
    row = await cursor.fetchone()
    return bytes(row[0]) if row is not None and row[0] is not None else None


async def end_step(conn: Connection, token: str) -> bool:
    """Use the half-way login up: true for exactly one caller."""
    cursor = await conn.execute("DELETE FROM login_steps WHERE token_sha256 = %s", (hashed(token),))
    return cursor.rowcount == 1
