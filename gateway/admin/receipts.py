"""Receipts: where in the log the record is that a request caused, with the proof that it is there.

Every answer of both listeners that caused records names them in `Portcullis-Receipt` (audit/receipts.py).
Here a client asks later what became of one:

- `waiting`: it is durable in the inbox and has no index yet, or there is no such record. Older than
  `audit.receipts.LONGEST_WAIT_S` and still unknown is 404, which nobody who holds the receipt should accept.
- `recorded`: it has its index.
- `published`: it is under a signed checkpoint, and the proof (C2SP tlog-proof) leads there; any reader of
  that format checks it.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from audit import merkle, receipts
from audit.checkpoint import open_checkpoint
from audit.integrator import CHECKPOINT
from audit.logs import Log, read_logs
from audit.malformed import Malformed
from audit.proof import Proof
from audit.tiles import Reader
from audit.worm.posix import PosixStore
from gateway.admin.operation import Call, Operation, Result
from tenancy.errors import Invalid, NotFound, Unavailable


class ReceiptView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a record. `leaf`: its bytes, as text; `proof`: of it, in tlog-proof@v1."""

    receipt: str
    log: str
    state: Literal["waiting", "recorded", "published"]
    index: int | None = None
    leaf: str | None = None
    proof: str | None = None


async def _get(call: Call) -> Result:
    text = call.path["receipt"]
    try:
        receipt = receipts.parse(text)
    except Malformed as error:
        raise Invalid(str(error), field="receipt") from None
    logs = await read_logs(call.conn)
    if not logs:
        raise NotFound("this tenant has no audit log")
    log = logs[0]
    found = await receipts.find(call.conn, log, receipt)
    if found is None:
        if call.services.clock.now_ns() > receipt.ts_ns + receipts.LONGEST_WAIT_S * 10**9:
            raise NotFound("the log holds no such record")
        return Result(content=ReceiptView(receipt=text, log=log.origin, state="waiting"))
    index, leaf = found
    proof = await _proof(call, log, index, leaf)
    view = ReceiptView(
        receipt=text, log=log.origin, state="recorded" if proof is None else "published",
        index=index, leaf=leaf.decode(), proof=proof,
    )  # fmt: skip
    return Result(content=view)


async def _proof(call: Call, log: Log, index: int, leaf: bytes) -> str | None:
    """None where the log's files are not here, or the record is above the published size."""
    root = call.services.audit_store
    if root is None:
        return None
    store = PosixStore(root / str(log.log_id))
    try:
        return await asyncio.to_thread(proof_of, store, log, index, leaf)
    except (Malformed, OSError) as error:
        raise Unavailable(f"the log's files do not prove record {index}: {error}") from error


def proof_of(store: PosixStore, log: Log, index: int, leaf: bytes) -> str | None:
    """The record's proof, checked before it is given out. Raises Malformed, OSError."""
    note = store.read(CHECKPOINT)
    if note is None:
        return None
    head = open_checkpoint(note, *log.known)
    if index >= head.size:
        return None
    reader = Reader(store.read, head.size)
    proof = Proof(index, merkle.inclusion_proof(index, head.size, reader.node), note)
    proof.check(leaf, *log.known)
    return proof.text()


OPERATIONS = (
    Operation(
        name="get_receipt", method="GET", path="/v1/audit/receipts/{receipt}", tag="Audit",
        action="events:read", handle=_get, answer=ReceiptView, places={"receipt": str},
        problems=("not_found", "invalid", "unavailable"),
        summary="Where in the audit log the record is that a request caused, with its proof.",
        detail="The receipt is in `Portcullis-Receipt` of the answer to that request.",
    ),
)  # fmt: skip
