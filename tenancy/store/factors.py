"""SQL of second factors: begun, confirmed, used once, removed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row

from tenancy.database import Connection
from tenancy.errors import Conflict
from tenancy.ids import new_id
from tenancy.people import PersonID
from tenancy.scope import TenantScope

FactorKind = Literal["totp", "webauthn", "recovery"]

BEGUN_FOR = timedelta(minutes=10)
"""An enrolment that was begun is confirmed within this, or begun anew."""
MOST = 10
"""Confirmed factors of one person, recovery codes not counted."""


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A factor as the code that checks it needs it."""

    factor_id: UUID
    kind: FactorKind
    label: str
    sealed: bytes | None
    challenge: bytes | None
    credential_id: bytes | None
    public_key: bytes | None
    sign_count: int
    last_step: int | None
    created_at: datetime
    confirmed_at: datetime | None

    def __repr__(self) -> str:
        return f"Factor({self.factor_id}, {self.kind})"


_COLUMNS = ", ".join(Factor.__struct_fields__)


async def factors_of(conn: Connection, person: PersonID) -> list[Factor]:
    """What the person can show: confirmed ones, without recovery codes."""
    return await _factors(
        conn, "person_id = %s AND confirmed_at IS NOT NULL AND kind <> 'recovery'", (person,)
    )


async def factor(conn: Connection, person: PersonID, factor_id: UUID) -> Factor | None:
    """One, confirmed or begun, locked until the transaction ends."""
    found = await _factors(
        conn, "person_id = %s AND factor_id = %s AND kind <> 'recovery'", (person, factor_id),
        " FOR UPDATE",
    )  # fmt: skip
    return found[0] if found else None


async def listed(conn: Connection, person: PersonID) -> list[dict[str, Any]]:
    """As shown to people: never what is secret."""
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(
        "SELECT factor_id, kind, label, created_at, used_at FROM factors WHERE person_id = %s"
        " AND confirmed_at IS NOT NULL AND kind <> 'recovery' ORDER BY factor_id",
        (person,),
    )
    return list(await cursor.fetchall())


async def codes_left(conn: Connection, person: PersonID) -> int:
    """How many recovery codes the person has left."""
    cursor = await conn.execute(
        "SELECT count(*) FROM factors WHERE person_id = %s AND kind = 'recovery'", (person,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0


async def begin(
    conn: Connection,
    scope: TenantScope,
    person: PersonID,
    factor_id: UUID,
    *,
    kind: FactorKind,
    label: str,
    now: datetime,
    sealed: bytes | None = None,
    challenge: bytes | None = None,
) -> None:
    """A factor that is not one before it is confirmed. Raises Conflict where there are enough."""
    await conn.execute(
        "DELETE FROM factors WHERE person_id = %s AND confirmed_at IS NULL AND created_at < %s",
        (person, now - BEGUN_FOR),
    )
    cursor = await conn.execute(
        "SELECT count(*) FROM factors WHERE person_id = %s AND kind <> 'recovery'", (person,)
    )
    row = await cursor.fetchone()
    if row is not None and row[0] >= MOST:
        raise Conflict(f"a person has at most {MOST} second factors: remove one first")
    await conn.execute(
        "INSERT INTO factors (factor_id, person_id, tenant_id, kind, label, sealed, challenge, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (factor_id, person, scope.tenant_id, kind, label, sealed, challenge, now),
    )


async def confirm_totp(conn: Connection, factor_id: UUID, step: int, now: datetime) -> None:
    await conn.execute(
        "UPDATE factors SET confirmed_at = %s, used_at = %s, last_step = %s WHERE factor_id = %s",
        (now, now, step, factor_id),
    )


async def confirm_webauthn(
    conn: Connection,
    factor_id: UUID,
    *,
    credential_id: bytes,
    public_key: bytes,
    sign_count: int,
    now: datetime,
) -> None:
    """Raises Conflict for an authenticator that is registered already."""
    try:
        await conn.execute(
            "UPDATE factors SET confirmed_at = %s, used_at = %s, challenge = NULL, credential_id = %s,"
            " public_key = %s, sign_count = %s WHERE factor_id = %s",
            (now, now, credential_id, public_key, sign_count, factor_id),
        )
    except psycopg.errors.UniqueViolation:
        raise Conflict("this authenticator is registered already") from None


async def use_step(conn: Connection, factor_id: UUID, step: int, now: datetime) -> bool:
    """Use a TOTP step up: true for exactly one caller, and never for one at or before the last."""
    cursor = await conn.execute(
        "UPDATE factors SET last_step = %s, used_at = %s WHERE factor_id = %s"
        " AND (last_step IS NULL OR last_step < %s)",
        (step, now, factor_id, step),
    )
    return cursor.rowcount == 1


async def use_webauthn(
    conn: Connection, factor_id: UUID, was: int, sign_count: int, now: datetime
) -> bool:
    """Note the new count; false where another use came between."""
    cursor = await conn.execute(
        "UPDATE factors SET sign_count = %s, used_at = %s WHERE factor_id = %s AND sign_count = %s",
        (sign_count, now, factor_id, was),
    )
    return cursor.rowcount == 1


async def use_recovery(conn: Connection, person: PersonID, code_sha256: bytes) -> bool:
    """Use a recovery code up: true for exactly one caller."""
    cursor = await conn.execute(
        "DELETE FROM factors WHERE person_id = %s AND kind = 'recovery' AND code_sha256 = %s",
        (person, code_sha256),
    )
    return cursor.rowcount == 1


async def put_recovery(
    conn: Connection, scope: TenantScope, person: PersonID, hashes: Sequence[bytes], now: datetime
) -> None:
    """These recovery codes in place of all older ones."""
    await conn.execute("DELETE FROM factors WHERE person_id = %s AND kind = 'recovery'", (person,))
    for code_sha256 in hashes:
        await conn.execute(
            "INSERT INTO factors (factor_id, person_id, tenant_id, kind, code_sha256, created_at,"
            " confirmed_at) VALUES (%s, %s, %s, 'recovery', %s, %s, %s)",
            (new_id(), person, scope.tenant_id, code_sha256, now, now),
        )


async def remove(conn: Connection, person: PersonID, factor_id: UUID) -> bool:
    """Remove a factor; with the last one the recovery codes go too."""
    cursor = await conn.execute(
        "DELETE FROM factors WHERE person_id = %s AND factor_id = %s AND kind <> 'recovery'",
        (person, factor_id),
    )
    if not await factors_of(conn, person):
        await remove_all(conn, person)
    return cursor.rowcount == 1


async def remove_all(conn: Connection, person: PersonID) -> int:
    """Remove every factor and recovery code (an administrator, for somebody who lost theirs)."""
    cursor = await conn.execute("DELETE FROM factors WHERE person_id = %s", (person,))
    return cursor.rowcount


async def _factors(
    conn: Connection, where: str, values: tuple[object, ...], lock: str = ""
) -> list[Factor]:
    cursor = conn.cursor(row_factory=dict_row)
    query = f"SELECT {_COLUMNS} FROM factors WHERE {where} ORDER BY factor_id{lock}"  # noqa: S608
    await cursor.execute(query.encode(), values)
    return [Factor(**row) for row in await cursor.fetchall()]
