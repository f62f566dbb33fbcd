"""Halted audit logs: which there are, and two people of the platform who let one go on.

A halt comes from the recorder (audit/halts.py): a witness has seen another history of a log. Nothing is
opened for its tenant (of the anchor log: for nobody) until the halt is lifted, and that always takes a
second person, whatever the platform says of four eyes. What they agree on is one row in `audit_lifts`;
recorder and workers see it within a quarter of a second. The halt itself stays, as it was, for good.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import changes
from gateway.admin.changes import By, Change, ObjectKind, by, plain
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery
from tenancy.errors import Conflict, NotFound
from tenancy.ids import new_id
from tenancy.store import documents
from tenancy.store.documents import Table

TAG = "Halts"
MOST = 500


class LiftDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which halt is lifted, and why."""

    halt_id: UUID
    reason: str


class NewLift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found out, and why the log may go on."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class AuditHaltView(msgspec.Struct, frozen=True, kw_only=True):
    """`log`: `records` of that tenant, or the `anchor` of all. `evidence`: what the witness showed."""

    halt_id: UUID
    tenant_id: UUID
    log: Literal["records", "anchor"]
    source: Literal["witness", "checker", "person"]
    why: str
    evidence: str | None
    halted_at: datetime
    lifted_at: datetime | None


async def _check(by: By, before: Any, after: LiftDocument | None) -> None:
    if after is None:
        return
    found = [one for one in await _read(by.conn) if one.halt_id == after.halt_id]
    if not found:
        raise NotFound(f"there is no halt {after.halt_id} of an audit log")
    if found[0].lifted_at is not None:
        raise Conflict("this halt is lifted already")


AUDIT_LIFT: ObjectKind[LiftDocument] = ObjectKind(
    name="audit_lift",
    table=Table(
        noun="lifting of an audit log's halt",
        table="audit_lifts",
        key="lift_id",
        document=LiftDocument,
        facts=("created_at",),
        fixed=frozenset({"halt_id", "reason"}),
        archived="",
        names={"audit_lifts_halt_id_key": "this halt is lifted already"},
    ),
    check=_check,
)


async def _list(call: Call) -> Result:
    found = await _read(call.conn)
    return Result(content=Page(items=found[: call.query.limit], next=None))


async def _lift(call: Call) -> Result:
    """Checked as if it were done, and then proposed."""
    wanted: NewLift = call.body
    document = LiftDocument(halt_id=call.uuid("halt_id"), reason=wanted.reason)
    author = msgspec.structs.replace(by(call), why=call.why or wanted.reason)
    await _check(author, None, document)
    change: Change[LiftDocument] = Change(
        verb="create", kind=AUDIT_LIFT, object_id=str(new_id()), base=0, before=None,
        after=plain(document),
    )  # fmt: skip
    async with call.conn.transaction(force_rollback=True):
        await documents.insert(
            call.conn, call.scope, AUDIT_LIFT.table, UUID(change.object_id), document
        )
    made = await changes.propose(author, change, frozenset({"audit_lift"}))
    assert made.proposal is not None
    address = f"/v1/proposals/{made.proposal}"
    return Result(content=Proposed(proposal_id=made.proposal), location=address)


async def _read(conn: Any) -> list[AuditHaltView]:
    cursor = await conn.execute(
        "SELECT halt_id, tenant_id, log, source, why, evidence, halted_at, lifted_at"
        " FROM find_audit_halts(%s)",
        (MOST,),
    )
    names = AuditHaltView.__struct_fields__
    return [AuditHaltView(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_audit_halts", method="GET", path="/v1/audit-halts", tag=TAG,
        action="halts:read", summary="Audit logs that were halted, newest first: one's own and the anchor's.",
        handle=_list, query=PageQuery, answer=Page[AuditHaltView],
    ),
    Operation(
        name="lift_audit_halt", method="POST", path="/v1/audit-halts/{halt_id}/lift", tag=TAG,
        action="halts:write", platform=True,
        summary="Ask that a halted audit log goes on: a second operator has to agree.",
        handle=_lift, body=NewLift, answer=Proposed, status=202, problems=("not_found", "conflict"),
    ),
)  # fmt: skip
