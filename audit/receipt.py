"""The receipt of an erasure: the log's own record of it, with its proof under a signed checkpoint.

    {"format": "portcullis-erasure-receipt@v1", "origin": …, "vkey": …, "checkpoint": the signed note,
     "erasure": {erasure_id, subject, through_version, erased_at, why, asked_by, approved_by, records, …},
     "record": {"i": …, "leaf": …, "payload": …, "proof": tlog-proof@v1}}

`audit.receipt_check.verify_receipt` checks it without us: the proof, that the payload opens the leaf's
commitment, and that the payload says of the erasure what the receipt says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from audit import merkle, ring, shredding
from audit.checkpoint import open_checkpoint
from audit.integrator import CHECKPOINT
from audit.logs import Log, read_logs
from audit.proof import Proof
from audit.proving import ProofPending, commitment
from audit.receipt_check import FORMAT
from audit.tiles import Reader
from audit.worm.posix import PosixStore
from tenancy.database import Connection, Database
from tenancy.errors import NotFound
from tenancy.scope import TenantScope

_RECORD = """
SELECT l.i, l.leaf, p.payload FROM audit_leaves l LEFT JOIN audit_payloads p USING (log_id, i)
WHERE l.log_id = %b AND l.i >= %b AND position(%b IN l.leaf) > 0 ORDER BY l.i LIMIT 1"""


async def erasure_receipt(
    database: Database, scope: TenantScope, store_dir: Path, erasure_id: UUID
) -> dict[str, Any]:
    """The receipt, JSON-able. `store_dir` as the recorder has it.

    Raises NotFound; ProofPending where its record is not published yet (try again); Malformed where the
    store's files do not fit its checkpoint; AuditUnavailable.
    """
    async with database.tenant(scope) as conn:
        erasures = await shredding.erasures(conn, erasure_id)
        logs = await read_logs(conn)
        if not erasures or not logs:
            raise NotFound(f"there is no erasure {erasure_id}")
        row = await _record(conn, logs[0], erasures[0])
    if row is None:
        raise ProofPending("the erasure's record has no place in the log yet")
    index, leaf, stored = row
    (payload,) = await ring.opened(scope.tenant_id, [(stored, commitment(leaf))])
    if not isinstance(payload, bytes):
        raise NotFound("the erasure's record has no payload any more")
    note, proof = prove(logs[0], PosixStore(store_dir / str(logs[0].log_id)), index)
    proof.check(leaf, *logs[0].known)
    return {
        "format": FORMAT,
        "origin": logs[0].origin,
        "vkey": logs[0].vkey,
        "checkpoint": note.decode(),
        "erasure": {**msgspec.to_builtins(erasures[0]), "pc": erasures[0].pc.hex()},
        "record": {
            "i": index, "leaf": leaf.decode(), "payload": payload.decode(), "proof": proof.text(),
        },
    }  # fmt: skip


def prove(log: Log, store: PosixStore, index: int) -> tuple[bytes, Proof]:
    """The published checkpoint, and one record's proof under it. Raises ProofPending, Malformed."""
    note = store.read(CHECKPOINT)
    if note is None:
        raise ProofPending("the log has no published checkpoint yet")
    head = open_checkpoint(note, *log.known)
    if index >= head.size:
        raise ProofPending(f"record {index} is above the published size {head.size}")
    reader = Reader(store.read, head.size)
    return note, Proof(index, merkle.inclusion_proof(index, head.size, reader.node), note)


async def _record(
    conn: Connection, log: Log, erasure: shredding.Erasure
) -> tuple[int, bytes, bytes | None] | None:
    values = (log.log_id, erasure.log_size, erasure.pc.hex().encode())
    row = await (await conn.execute(_RECORD, values, binary=True)).fetchone()
    return None if row is None else (row[0], row[1], row[2])
