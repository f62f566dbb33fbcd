"""The keys of a tenant's payloads as PostgreSQL keeps them: read, and made by whoever comes first.

Format and levels: audit/sealing.py. In a short transaction of its own, **never the caller's**: a key
that is there before the record that needs it is lost by no rollback, and no two writers of records wait
for each other's commits. So this needs a pool of its own: a caller holds a connection already, and who
waits for a second one of the same pool waits for himself.

1. The tenant's audit key: its sealed row, opened by the signer once per process. Where there is none and
   this process has the enroller (the management listener, `init`), it is made: the first one stays.
2. The newest version of each subject's key that is not retired.
3. For those that are still without one: 32 random bytes, wrapped, `INSERT … ON CONFLICT DO NOTHING`, and
   read again. Losing that race is normal. *Crash: nothing, or a key that nothing is sealed under yet.*

Database or signer away: AuditUnavailable. Nothing is ever kept in clear instead.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit import sealing
from audit.malformed import Malformed
from audit.ports import AuditUnavailable, SecretOpener
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError
from tenancy.scope import Actor, TenantScope
from tenancy.secrecy import Plain
from tenancy.values import TenantID

SUBJECT = PURPOSE = "audit"
"""Of the sealed row that holds a tenant's audit key (hsm/envelope.py)."""
CLERK = Actor("sys", "audit-keys")

SealKey = Callable[[TenantID, bytes], Awaitable[bytes]]
"""Seals 32 bytes under the tenant's keys in the HSM, for purpose and subject `audit`."""

_AUDIT_KEY = """
SELECT sealed, generation, keeper FROM audit_keys WHERE tenant_id = portcullis_tenant()"""
_MAKE_AUDIT_KEY = """
INSERT INTO audit_keys (tenant_id, sealed) VALUES (%b, %b) ON CONFLICT DO NOTHING"""
_NEWEST = """
SELECT DISTINCT ON (subject) subject, version, wrapped FROM audit_data_keys
WHERE subject = ANY(%b) AND retired_at IS NULL ORDER BY subject, version DESC"""
_MAKE = """
INSERT INTO audit_data_keys (tenant_id, subject, version, wrapped)
SELECT * FROM unnest(%b::uuid[], %b::text[], %b::int[], %b::bytea[]) ON CONFLICT DO NOTHING"""
_LAST = """
SELECT s.subject, greatest(
    (SELECT coalesce(max(version), 0) FROM audit_data_keys k WHERE k.subject = s.subject),
    (SELECT coalesce(max(through_version), 0) FROM audit_erasures e WHERE e.subject = s.subject))
FROM unnest(%b::text[]) AS s (subject)
WHERE NOT EXISTS (SELECT FROM audit_data_keys k WHERE k.subject = s.subject AND k.retired_at IS NULL)"""
_THESE = """
SELECT k.subject, k.version, k.wrapped FROM audit_data_keys k
JOIN unnest(%b::text[], %b::int[]) AS w (subject, version) USING (subject, version)"""
_ERASED = """
SELECT subject, through_version, erasure_id FROM audit_erasures
WHERE subject = ANY(%b) ORDER BY through_version"""

Name = tuple[str, int]
"""A subject, and the version of its key."""


def kept_as(tenant: UUID) -> str:
    """The subject of the sealed row of a tenant that has left, whose audit key the platform keeps."""
    return f"{SUBJECT}:{tenant}"


class DataKey(NamedTuple):
    """A subject's key, ready for use."""

    version: int
    aes: AESGCM


class Destroyed(NamedTuple):
    """A key that is not there any more. `erasure_id`: whose receipt says why; None where nobody knows."""

    erasure_id: UUID | None


class Keys(NamedTuple):
    """What one look found. `generation`: of the tenant, as it was then."""

    generation: int
    keys: dict[str, DataKey]


class Keystore:
    """One process' way to the tables. `seal_key` only where there is an enroller."""

    def __init__(
        self, database: Database, opener: SecretOpener, seal_key: SealKey | None = None
    ) -> None:
        """`database`: a pool that nobody else takes connections from."""
        self._database = database
        self._opener = opener
        self._seal_key = seal_key
        self._audit_keys: dict[UUID, AESGCM] = {}

    async def generation(self, tenant: TenantID) -> int:
        """Another number than before: some of the tenant's keys are retired or destroyed."""
        try:
            async with self._database.tenant(_scope(tenant)) as conn:
                row = await (await conn.execute(_AUDIT_KEY)).fetchone()
        except PortcullisError as error:
            raise AuditUnavailable(f"the keys of audit payloads: {error}") from error
        return 0 if row is None else int(row[1])

    async def newest(self, tenant: TenantID, subjects: Collection[str]) -> Keys:
        """The key to seal with, for each subject; made where there is none. Raises AuditUnavailable."""
        try:
            async with self._database.tenant(_scope(tenant)) as conn:
                audit_key, generation = await self._audit_key(conn, tenant)
                found = await self._newest(conn, audit_key, tenant, subjects)
                missing = sorted(set(subjects) - found.keys())
                if missing:
                    await _make(conn, audit_key, tenant, missing)
                    found |= await self._newest(conn, audit_key, tenant, missing)
        except (PortcullisError, Malformed) as error:
            raise _away(error) from error
        if len(found) < len(set(subjects)):
            raise AuditUnavailable("a key was retired while it was made: try again")
        return Keys(generation, found)

    async def these(
        self, tenant: TenantID, names: Collection[Name]
    ) -> dict[Name, DataKey | Destroyed]:
        """The keys to open with; what is not there any more is Destroyed. Raises AuditUnavailable."""
        try:
            async with self._database.tenant(_scope(tenant)) as conn:
                audit_key, _ = await self._audit_key(conn, tenant)
                columns = [[name[0] for name in names], [name[1] for name in names]]
                cursor = await conn.execute(_THESE, columns, binary=True)
                found: dict[Name, DataKey | Destroyed] = {
                    (row[0], row[1]): _unwrapped(audit_key, tenant, *row)
                    for row in await cursor.fetchall()
                }
                gone = [name for name in names if name not in found]
                if gone:
                    found.update(await _destroyed(conn, gone))
        except (PortcullisError, Malformed) as error:
            raise _away(error) from error
        return found

    async def _audit_key(self, conn: Connection, tenant: TenantID) -> tuple[AESGCM, int]:
        row = await (await conn.execute(_AUDIT_KEY, binary=True)).fetchone()
        if row is None and self._seal_key is not None:
            sealed = await self._seal_key(tenant, Plain(secrets.token_bytes(sealing.KEY_BYTES)))
            await conn.execute(_MAKE_AUDIT_KEY, (tenant, sealed))
            row = await (await conn.execute(_AUDIT_KEY, binary=True)).fetchone()
        if row is None:
            raise AuditUnavailable(
                f"tenant {tenant} has no audit key yet: the management listener makes it"
            )
        known = self._audit_keys.get(tenant)
        if known is None:
            keeper, subject = (tenant, SUBJECT) if row[2] is None else (row[2], kept_as(tenant))
            known = AESGCM(
                await self._opener.open_secret(row[0], tenant_id=keeper, subject=subject)
            )
            self._audit_keys[tenant] = known
        return known, row[1]

    async def _newest(
        self, conn: Connection, audit_key: AESGCM, tenant: TenantID, subjects: Collection[str]
    ) -> dict[str, DataKey]:
        cursor = await conn.execute(_NEWEST, (list(subjects),), binary=True)
        return {row[0]: _unwrapped(audit_key, tenant, *row) for row in await cursor.fetchall()}


async def _make(
    conn: Connection, audit_key: AESGCM, tenant: TenantID, subjects: Collection[str]
) -> None:
    cursor = await conn.execute(_LAST, (list(subjects),), binary=True)
    rows = [
        (tenant, subject, last + 1, sealing.wrap(audit_key, tenant, subject, last + 1, os.urandom(32)))
        for subject, last in await cursor.fetchall()
    ]  # fmt: skip
    if rows:  # else others have made all of them since the look
        await conn.execute(_MAKE, [list(column) for column in zip(*rows, strict=True)])


async def _destroyed(conn: Connection, gone: Collection[Name]) -> dict[Name, Destroyed]:
    """Which erasure took each: the first that reached its version."""
    cursor = await conn.execute(_ERASED, ([name[0] for name in gone],), binary=True)
    erasures = await cursor.fetchall()
    return {
        (subject, version): Destroyed(
            next((e[2] for e in erasures if e[0] == subject and e[1] >= version), None)
        )
        for subject, version in gone
    }


def _unwrapped(
    audit_key: AESGCM, tenant: UUID, subject: str, version: int, wrapped: bytes
) -> DataKey:
    return DataKey(version, AESGCM(sealing.unwrap(audit_key, tenant, subject, version, wrapped)))


def _scope(tenant: TenantID) -> TenantScope:
    return TenantScope(tenant, CLERK)


def _away(error: Exception) -> AuditUnavailable:
    if isinstance(error, AuditUnavailable):
        return error
    return AuditUnavailable(f"the keys of audit payloads: {error}")
