"""SQL of the keys in the HSM: which versions a tenant has, and what state each is in. Names, never keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.scope import TenantScope
from tenancy.values import TenantID

Kind = Literal["kek", "enrol", "log", "anchor"]
State = Literal["current", "old", "ending", "destroyed"]
"""`current` seals, encrypts and signs; `old` opens what it sealed, and signs beside its successor; `ending`:
nothing may use it, and a ceremony is destroying it, or died while it did; `destroyed`: in no token."""

_READ = """
SELECT kind, version, label, state, made_at, due_at, replaced_at, destroyed_at, public_key,
       p256_key FROM hsm_keys
WHERE %s::text IS NULL OR kind = %s ORDER BY kind, version"""


class StoredKey(msgspec.Struct, frozen=True):
    """One version. `due_at`: when the next one should take over. `public_key`: a log's, 32 bytes;
    `p256_key`: its second pair's, SubjectPublicKeyInfo."""

    kind: Kind
    version: int
    label: str
    state: State
    made_at: datetime
    due_at: datetime
    replaced_at: datetime | None
    destroyed_at: datetime | None
    public_key: bytes | None = None
    p256_key: bytes | None = None


class PlatformKey(msgspec.Struct, frozen=True):
    """The same, as the platform's operators see it, with whose it is."""

    tenant_id: UUID
    tenant: str
    kind: Kind
    version: int
    label: str
    state: State
    made_at: datetime
    due_at: datetime
    replaced_at: datetime | None
    destroyed_at: datetime | None


async def read_keys(
    conn: Connection, kind: Kind | None = None, *, lock: bool = False
) -> list[StoredKey]:
    """The tenant's own, oldest version first. `lock`: against another ceremony, until the commit."""
    query = f"{_READ} FOR UPDATE" if lock else _READ
    cursor = await conn.execute(query.encode(), (kind, kind))
    return [StoredKey(*row) for row in await cursor.fetchall()]


async def version_of(conn: Connection, kind: Kind, version: int) -> StoredKey:
    """One version, locked. Raises NotFound."""
    for key in await read_keys(conn, kind, lock=True):
        if key.version == version:
            return key
    raise NotFound(f"there is no version {version} of this {kind} key")


async def add_version(
    conn: Connection,
    scope: TenantScope,
    kind: Kind,
    version: int,
    label: str,
    *,
    made_at: datetime,
    due_at: datetime,
    public_key: bytes | None = None,
    p256_key: bytes | None = None,
) -> None:
    """The next version becomes current, and the current one old."""
    await conn.execute(
        "UPDATE hsm_keys SET state = 'old', replaced_at = %s WHERE kind = %s AND state = 'current'",
        (made_at, kind),
    )
    await conn.execute(
        "INSERT INTO hsm_keys"
        " (tenant_id, kind, version, label, public_key, p256_key, made_at, due_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (scope.tenant_id, kind, version, label, public_key, p256_key, made_at, due_at),
    )


async def end(conn: Connection, kind: Kind, versions: Collection[int]) -> None:
    """From now on nothing uses them."""
    await conn.execute(
        "UPDATE hsm_keys SET state = 'ending' WHERE kind = %s AND version = ANY(%s)"
        " AND state IN ('current', 'old')",
        (kind, list(versions)),
    )


async def destroyed(conn: Connection, kind: Kind, versions: Collection[int], at: datetime) -> None:
    """They are in no token any more."""
    await conn.execute(
        "UPDATE hsm_keys SET state = 'destroyed', destroyed_at = %s WHERE kind = %s"
        " AND version = ANY(%s) AND state = 'ending'",
        (at, kind, list(versions)),
    )


async def page_of_platform(
    conn: Connection, *, limit: int, after: tuple[UUID, str, int] | None = None
) -> list[PlatformKey]:
    """Keys of all tenants, in the platform's own scope; in any other, nothing."""
    tenant, kind, version = after or (None, None, None)
    cursor = await conn.execute(
        "SELECT tenant_id, name, kind, version, label, state, made_at, due_at, replaced_at,"
        " destroyed_at FROM find_hsm_keys(%s, %s, %s, %s)",
        (tenant, kind, version, limit),
    )
    return [PlatformKey(*row) for row in await cursor.fetchall()]


async def all_of_platform(conn: Connection, page: int = 500) -> AsyncIterator[PlatformKey]:
    """Every one of them."""
    after = None
    while True:
        rows = await page_of_platform(conn, limit=page, after=after)
        for row in rows:
            yield row
        if len(rows) < page:
            return
        after = (rows[-1].tenant_id, rows[-1].kind, rows[-1].version)


async def next_due(conn: Connection) -> dict[str, datetime]:
    """When the first key of each kind is due, over all tenants; kinds and times alone."""
    cursor = await conn.execute("SELECT kind, due_at FROM hsm_keys_next_due()")
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def platform_of(conn: Connection) -> TenantID:
    """The platform's tenant. Raises NotFound where there is none."""
    row = await (await conn.execute("SELECT platform_tenant()")).fetchone()
    if row is None or row[0] is None:
        raise NotFound("there is no platform: `portcullis init` makes it")
    return TenantID(row[0])
