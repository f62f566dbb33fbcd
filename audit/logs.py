"""SQL of the logs themselves: which there are, how long each is, what was signed last."""

from __future__ import annotations

from uuid import UUID

import msgspec

from audit.note import VerifierKey
from audit.ports import LogHalted
from audit.record import time_ns
from tenancy.database import Connection
from tenancy.values import TenantID


class Log(msgspec.Struct, frozen=True):
    """One tenant's log."""

    log_id: UUID
    tenant_id: TenantID
    origin: str
    key_label: str
    public_key: bytes

    @property
    def key(self) -> VerifierKey:
        """What a reader must know; its name is the origin."""
        return VerifierKey(self.origin, self.public_key)


class Tail(msgspec.Struct, frozen=True):
    """Where a log ends: leaves so far, and the last recording time in Unix ns."""

    size: int
    rt_ns: int


class Signed(msgspec.Struct, frozen=True):
    """The last checkpoint that was signed and kept."""

    size: int
    root: bytes
    note: bytes


async def read_logs(conn: Connection) -> list[Log]:
    """The logs that this role may see."""
    cursor = await conn.execute(
        "SELECT log_id, tenant_id, origin, key_label, public_key FROM audit_logs ORDER BY log_id"
    )
    return [Log(*row) for row in await cursor.fetchall()]


async def read_tail(conn: Connection, log: Log) -> Tail:
    cursor = await conn.execute(
        "SELECT i, convert_from(leaf, 'UTF8')::json ->> 'rt' FROM audit_leaves"
        " WHERE log_id = %s ORDER BY i DESC LIMIT 1",
        (log.log_id,),
    )
    row = await cursor.fetchone()
    return Tail(0, 0) if row is None else Tail(row[0] + 1, time_ns(row[1]))


async def read_signed(conn: Connection, log: Log) -> Signed | None:
    cursor = await conn.execute(
        "SELECT size, root, note FROM audit_checkpoints WHERE log_id = %s"
        " ORDER BY size DESC LIMIT 1",
        (log.log_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else Signed(row[0], row[1], row[2].encode())


async def read_leaves(
    conn: Connection, log: Log, start: int, most: int
) -> list[tuple[bytes, bytes]]:
    """Leaves and their hashes from index `start`. Raises LogHalted where an index is missing."""
    cursor = await conn.execute(
        "SELECT i, leaf, leaf_hash FROM audit_leaves WHERE log_id = %s AND i >= %s AND i < %s"
        " ORDER BY i",
        (log.log_id, start, start + most),
        binary=True,
    )
    rows = await cursor.fetchall()
    for expected, row in enumerate(rows, start):
        if row[0] != expected:
            raise LogHalted(f"log {log.log_id}: the database has no leaf {expected}")
    return [(row[1], row[2]) for row in rows]


async def keep_checkpoint(conn: Connection, log: Log, signed: Signed) -> None:
    await conn.execute(
        "INSERT INTO audit_checkpoints (log_id, size, tenant_id, root, note)"
        " VALUES (%s, %s, %s, %s, %s)",
        (log.log_id, signed.size, log.tenant_id, signed.root, signed.note.decode()),
    )
