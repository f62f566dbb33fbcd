"""SQL of the logs themselves: which there are, how long each is, what was signed last."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from audit.note import ECDSA_P256, VerifierKey
from audit.ports import LogHalted
from audit.record import time_ns
from tenancy.database import Connection
from tenancy.values import TenantID

LogKind = Literal["records", "anchor"]


class LogKey(msgspec.Struct, frozen=True):
    """One of the keys that a log has had, counted from 1. `signs`: new checkpoints bear its signature."""

    version: int
    label: str
    public_key: bytes
    signs: bool
    p256_key: bytes | None = None
    """The second pair's public half (SubjectPublicKeyInfo, DER), where this version has one."""


class Log(msgspec.Struct, frozen=True):
    """One tenant's log, or (`kind` anchor, the platform's) the one that holds anchors of all the others.

    `keys`: oldest first; where none are named, `key_label` is its only one.
    """

    log_id: UUID
    tenant_id: TenantID
    origin: str
    key_label: str
    public_key: bytes
    keys: tuple[LogKey, ...] = ()
    kind: LogKind = "records"

    @property
    def is_anchor(self) -> bool:
        return self.kind == "anchor"

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
        return tuple(key for version in self.history for key in self.verifiers(version))

    @property
    def key(self) -> VerifierKey:
        """What a reader must know from now on: the newest, Ed25519."""
        return self.verifier(self.history[-1])

    @property
    def vkey(self) -> str:
        """All of `known`, one per line, without a newline at the end."""
        return "\n".join(map(str, self.known))

    def verifier(self, key: LogKey) -> VerifierKey:
        """The key as readers write it."""
        return VerifierKey(self.origin, key.public_key)

    def verifiers(self, key: LogKey) -> tuple[VerifierKey, ...]:
        """The same with the second key behind it, where there is one."""
        first = self.verifier(key)
        if key.p256_key is None:
            return (first,)
        return (first, VerifierKey(self.origin, key.p256_key, ECDSA_P256))


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
        "SELECT l.log_id, l.tenant_id, l.origin, l.key_label, l.public_key, l.kind,"
        " k.version, k.label, k.public_key, k.state IN ('current', 'old'), k.p256_key"
        " FROM audit_logs l LEFT JOIN hsm_keys k ON k.tenant_id = l.tenant_id"
        " AND k.kind = CASE l.kind WHEN 'anchor' THEN 'anchor' ELSE 'log' END"
        " ORDER BY l.log_id, k.version"
    )
    logs: list[Log] = []
    for row in await cursor.fetchall():
        if not logs or logs[-1].log_id != row[0]:
            log_id, tenant_id, origin, label, public_key, kind = row[:6]
            logs.append(Log(log_id, tenant_id, origin, label, public_key, kind=kind))
        if row[6] is not None:
            keys = (*logs[-1].keys, LogKey(*row[6:]))
            logs[-1] = msgspec.structs.replace(logs[-1], keys=keys)
    return logs


async def read_anchor(conn: Connection) -> Log | None:
    """The anchor log as everybody may know it; its keys' labels and whose it is are not told."""
    row = await (await conn.execute("SELECT * FROM anchor_log()")).fetchone()
    if row is None:
        return None
    log_id, origin, first, second = row
    keys = tuple(
        LogKey(version, "", key, True, p256)
        for version, (key, p256) in enumerate(zip(first, second, strict=True), 1)
    )
    return Log(log_id, TenantID(UUID(int=0)), origin, "", first[0], keys, "anchor")


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
