"""SQL of the logs themselves: which there are, how long each is, what was signed last."""

from __future__ import annotations

from uuid import UUID

import msgspec

from audit.note import VerifierKey
from audit.ports import LogHalted
from audit.record import time_ns
from tenancy.database import Connection
from tenancy.values import TenantID


class LogKey(msgspec.Struct, frozen=True):
    """One of the keys that a log has had, counted from 1. `signs`: new checkpoints bear its signature."""

    version: int
    label: str
    public_key: bytes
    signs: bool


class Log(msgspec.Struct, frozen=True):
    """One tenant's log. `keys`: oldest first; where none are named, `key_label` is its only one."""

    log_id: UUID
    tenant_id: TenantID
    origin: str
    key_label: str
    public_key: bytes
    keys: tuple[LogKey, ...] = ()

    @property
    def history(self) -> tuple[LogKey, ...]:
        """Every key that it ever signed with."""
        return self.keys or (LogKey(1, self.key_label, self.public_key, True),)

    @property
    def signing(self) -> tuple[LogKey, ...]:
        """Whose signatures the next checkpoint bears: two keys while one takes over from the other."""
        return tuple(key for key in self.history if key.signs)

    @property
    def known(self) -> tuple[VerifierKey, ...]:
        """What a reader may need for an old checkpoint or a new one; their name is the origin."""
        return tuple(self.verifier(key) for key in self.history)

    @property
    def key(self) -> VerifierKey:
        """What a reader must know from now on: the newest."""
        return self.known[-1]

    @property
    def vkey(self) -> str:
        """All of `known`, one per line, without a newline at the end."""
        return "\n".join(map(str, self.known))

    def verifier(self, key: LogKey) -> VerifierKey:
        """The key as readers write it."""
        return VerifierKey(self.origin, key.public_key)


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
        "SELECT l.log_id, l.tenant_id, l.origin, l.key_label, l.public_key,"
        " k.version, k.label, k.public_key, k.state IN ('current', 'old')"
        " FROM audit_logs l LEFT JOIN hsm_keys k ON k.tenant_id = l.tenant_id AND k.kind = 'log'"
        " ORDER BY l.log_id, k.version"
    )
    logs: list[Log] = []
    for row in await cursor.fetchall():
        if not logs or logs[-1].log_id != row[0]:
            logs.append(Log(*row[:5]))
        if row[5] is not None:
            keys = (*logs[-1].keys, LogKey(*row[5:]))
            logs[-1] = msgspec.structs.replace(logs[-1], keys=keys)
    return logs


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
