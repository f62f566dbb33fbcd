"""The audit log's head and proofs, for who checks them without us: the newest checkpoint, that it continues an
older one, and an order's whole story as one bundle.

`checked` is our own word: whoever can verify the signature should, and the console's page does.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from audit import merkle
from audit.checkpoint import open_checkpoint
from audit.integrator import CHECKPOINT
from audit.logs import Log
from audit.malformed import Malformed
from audit.proving import prove_order_in
from audit.tiles import Reader
from audit.worm.posix import PosixStore
from gateway.admin.audit_records import TAG, log_of
from gateway.admin.operation import Call, Operation, Result
from tenancy.errors import Conflict, NotFound, Unavailable

Size = Annotated[int, Meta(ge=1, le=10**15, description="The size of a checkpoint that you have.")]


class HeadQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`since`: prove that the newest checkpoint continues the one of that size."""

    since: Size | None = None


class HeadView(msgspec.Struct, frozen=True, kw_only=True):
    """The newest published checkpoint (C2SP tlog-checkpoint). `vkey`: the log's verifier keys, one per line.
    `checked`: this process verified its signature. `consistency`: hashes (RFC 9162, 2.1.4), base64; null
    where no older size was named."""

    log: str
    vkey: str
    size: int
    root: str
    checkpoint: str
    checked: bool
    consistency: list[str] | None


class OrderProofRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of the order. `erased`: the receipt of the erasure, where the content is no more."""

    i: int
    leaf: str
    payload: str | None
    proof: str
    erased: dict[str, str] | None = None


class OrderProof(msgspec.Struct, frozen=True, kw_only=True):
    """The same bundle that `portcullis audit prove --order` writes: `portcullis audit verify-bundle` checks it."""

    format: str
    origin: str
    vkey: str
    oid: str
    checkpoint: str
    records: list[OrderProofRecord]
    anchor_vkey: str | None


def _store(call: Call, log: Log) -> PosixStore:
    """Raises Unavailable where this process cannot read the logs' files."""
    if call.services.audit_store is None:
        raise Unavailable("the log's files cannot be read from this process")
    return PosixStore(call.services.audit_store / str(log.log_id))


async def _head(call: Call) -> Result:
    log = await log_of(call)
    store = _store(call, log)
    try:
        return Result(content=await asyncio.to_thread(head_of, store, log, call.query.since))
    except (Malformed, OSError) as error:
        raise Unavailable(f"the log's files do not fit its checkpoint: {error}") from error


def head_of(store: PosixStore, log: Log, since: int | None) -> HeadView:
    """The newest checkpoint, verified. Raises NotFound, Conflict, Malformed, OSError."""
    note = store.read(CHECKPOINT)
    if note is None:
        raise NotFound("the log has no published checkpoint yet: it will have one within seconds")
    head = open_checkpoint(note, *log.known)
    consistency = None
    if since is not None:
        if since > head.size:
            raise Conflict(
                f"since: you have a checkpoint of {since} records, and the newest here is of {head.size}: keep"
                " yours, and find out why"
            )
        reader = Reader(store.read, head.size)
        hashes = merkle.consistency_proof(since, head.size, reader.node)
        consistency = [b64encode(digest).decode() for digest in hashes]
    return HeadView(
        log=log.origin, vkey=log.vkey, size=head.size, root=b64encode(head.root).decode(),
        checkpoint=note.decode(), checked=True, consistency=consistency,
    )  # fmt: skip


async def _prove(call: Call) -> Result:
    oid = call.path["order_id"]
    await log_of(call)  # who has no log has no such order, whatever else is away
    if call.services.audit_store is None:
        raise Unavailable("the log's files cannot be read from this process")
    try:
        bundle: dict[str, Any] = await prove_order_in(
            call.conn, call.scope, call.services.audit_store, oid
        )
    except (Malformed, OSError) as error:
        raise Unavailable(f"the log's files do not prove order {oid}: {error}") from error
    name = f'attachment; filename="proof-{_file(oid)}.json"'
    return Result(
        content=msgspec.convert(bundle, OrderProof), headers=(("content-disposition", name),)
    )


def _file(oid: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in oid)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="get_audit_head", method="GET", path="/v1/audit/checkpoint", tag=TAG,
        action="events:read", handle=_head, query=HeadQuery, answer=HeadView,
        summary="Read the newest signed checkpoint of the audit log, and that it continues an older one.",
        problems=("not_found", "conflict", "unavailable"),
    ),
    Operation(
        name="prove_order", method="GET", path="/v1/orders/{order_id}/proof", tag=TAG,
        action="orders:read", handle=_prove, answer=OrderProof,
        summary="Fetch an order's records with their proofs: a file that is checked without us.",
        detail="As `portcullis audit prove --order` writes it. `unavailable` for the seconds in which the order's"
        " newest record is not under a published checkpoint yet.",
        problems=("not_found", "unavailable", "audit_proof_pending"),
    ),
)  # fmt: skip
