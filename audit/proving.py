"""One order's story with its proofs: everything a stranger needs to check it without us.

A bundle holds the order's records in full, each with its tlog-proof@v1, and the payloads that open
their commitments. `audit.bundle.verify_bundle` checks it; so does any reader of the C2SP formats.

The proofs are under the checkpoint that was anchored last, if all of the order's records are below it: each
then carries that anchor with it (`extra`), and `audit.witnessed.check_record` leads from it to the
witnesses. Records that are younger than the last anchor are proven under the newest checkpoint, without one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from audit import merkle, ring
from audit.anchor import read_anchored
from audit.anchoring import FILE as ANCHOR
from audit.checkpoint import open_checkpoint
from audit.integrator import CHECKPOINT
from audit.logs import Log, read_anchor, read_logs
from audit.malformed import Malformed
from audit.proof import Proof
from audit.tiles import Reader
from audit.worm.port import Store
from audit.worm.posix import PosixStore
from tenancy.database import Connection, Database
from tenancy.errors import NotFound, Unavailable
from tenancy.scope import TenantScope


class ProofPending(Unavailable):
    """The order's newest records are not under a published checkpoint yet; they will be."""

    code = "audit_proof_pending"


class Under(msgspec.Struct, frozen=True):
    """A checkpoint's note, and the proof of its anchor (audit.anchor.Anchored, as bytes)."""

    note: bytes
    anchor: bytes


async def prove_order(
    database: Database, scope: TenantScope, store_dir: Path, oid: str
) -> dict[str, Any]:
    """The same as prove_order_in(), in a transaction of its own."""
    async with database.tenant(scope) as conn:
        return await prove_order_in(conn, scope, store_dir, oid)


async def prove_order_in(
    conn: Connection, scope: TenantScope, store_dir: Path, oid: str
) -> dict[str, Any]:
    """The proof bundle of one order, JSON-able. `store_dir` as the recorder has it.

    Raises NotFound where the tenant has no such order, ProofPending where its newest record is
    not published yet (try again), Malformed where the store's files do not fit its checkpoint.
    """
    logs = await read_logs(conn)
    if not logs:
        raise NotFound("this tenant has no audit log")
    rows = await _records(conn, logs[0], oid)
    if not rows:
        raise NotFound(f"the audit log knows no order {oid!r}")
    store = PosixStore(store_dir / str(logs[0].log_id))
    under = await anchored(conn, logs[0], store, rows[-1][0])
    anchor_log = await read_anchor(conn)
    stored = [(row[2], commitment(row[1])) for row in rows]
    opened = await ring.opened(scope.tenant_id, stored)
    rows = [
        (index, leaf, None if isinstance(payload, ring.Erased) else payload)
        for (index, leaf, _), payload in zip(rows, opened, strict=True)
    ]
    bundle = await asyncio.to_thread(assemble, logs[0], store, oid, rows, under)
    for item, payload in zip(bundle["records"], opened, strict=True):
        if isinstance(payload, ring.Erased):
            item["erased"] = {"receipt": str(payload.receipt)}
    return bundle | {"anchor_vkey": None if anchor_log is None else anchor_log.vkey}


async def anchored(conn: Connection, log: Log, store: Store, index: int) -> Under | None:
    """The last anchored checkpoint, if record `index` is below it. Raises Malformed for a file that lies."""
    data = store.read(ANCHOR)
    if data is None:
        return None
    head = read_anchored(data).slot.checkpoint
    if index >= head.size:
        return None
    cursor = await conn.execute(
        "SELECT note FROM audit_checkpoints WHERE log_id = %s AND size = %s",
        (log.log_id, head.size),
    )
    row = await cursor.fetchone()
    return None if row is None else Under(row[0].encode(), data)


def assemble(
    log: Log,
    store: Store,
    oid: str,
    rows: list[tuple[int, bytes, bytes | None]],
    under: Under | None = None,
) -> dict[str, Any]:
    """The bundle of these (index, leaf, payload); every proof is checked before it is given out.

    `under`: the checkpoint to prove them under; the newest, where none is given.
    """
    note = store.read(CHECKPOINT) if under is None else under.note
    if note is None:
        raise ProofPending("the log has no published checkpoint yet")
    head = open_checkpoint(note, *log.known)
    if rows[-1][0] >= head.size:
        raise ProofPending(f"record {rows[-1][0]} is above the published size {head.size}")
    reader = Reader(store.read, head.size)
    records = []
    for index, leaf, payload in rows:
        hashes = merkle.inclusion_proof(index, head.size, reader.node)
        proof = Proof(index, hashes, note, b"" if under is None else under.anchor)
        try:
            proof.check(leaf, *log.known)
        except Malformed as error:
            raise Malformed(f"record {index} of order {oid}: {error}") from error
        given = None if payload is None else payload.decode()
        records.append({"i": index, "leaf": leaf.decode(), "payload": given, "proof": proof.text()})
    return {
        "format": "portcullis-order-proof@v1",
        "origin": log.origin,
        "vkey": log.vkey,
        "oid": oid,
        "checkpoint": note.decode(),
        "records": records,
    }


class _Committed(msgspec.Struct):
    pc: str


_leaf = msgspec.json.Decoder(_Committed)


def commitment(leaf: bytes) -> bytes:
    """What the payload of a leaf is bound to. Raises Malformed for what is no leaf."""
    try:
        return bytes.fromhex(_leaf.decode(leaf).pc)
    except ValueError:
        raise Malformed("not a leaf: it commits to nothing") from None


async def _records(conn: Connection, log: Log, oid: str) -> list[tuple[int, bytes, bytes | None]]:
    cursor = await conn.execute(
        "SELECT v.i, v.leaf, p.payload FROM audit_leaves v LEFT JOIN audit_payloads p"
        " USING (log_id, i) WHERE v.log_id = %s AND v.oid = %s ORDER BY v.i",
        (log.log_id, oid),
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]
