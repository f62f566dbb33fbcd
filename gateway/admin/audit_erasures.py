"""Erasing what the audit log says of one subject: after its retention, under no hold, by two people.

The steps, and what a crash after each leaves behind, are in audit/shredding.py. Here: who asks, who says
yes, and what is told. A refusal names the hold, or until when the records must be kept. The receipt is made
on the host, where the log's files are: `portcullis audit receipt`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from audit import holds, ring, shredding
from audit.record import Kind
from audit.sealing import TENANT
from audit.shredding import Erasure
from gateway.admin import changes
from gateway.admin.changes import By, Change, ObjectKind, by
from gateway.admin.event_feed import end_of_log
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from tenancy.errors import Invalid, NotFound
from tenancy.ids import new_id
from tenancy.scope import Actor
from tenancy.store.documents import Table
from tenancy.store.proposals import Proposal
from tenancy.store.tenants import read_settings
from tenancy.values import whole

TAG = "Evidence"
Subject = Annotated[
    str,
    Meta(
        max_length=100, pattern=whole("(account|person):[0-9A-Za-z._-]{1,80}"),
        description="account:<id> or person:<id>.",
    ),
]  # fmt: skip


class Shred(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class ErasureView(msgspec.Struct, frozen=True, kw_only=True):
    """`records`: whose content is gone; their leaves and proofs stand. `commitment`: of the `shred` record
    in the log, whose index is `log_size` or above."""

    erasure_id: UUID
    subject: str
    through_version: int
    erased_at: datetime
    reason: str
    asked_by: Actor
    approved_by: Actor
    proposal_id: UUID
    records: int
    log_size: int
    commitment: str


class Erasures(msgspec.Struct, frozen=True, kw_only=True):
    """All of the tenant's, newest first."""

    items: list[ErasureView]


async def _shred(call: Call) -> Result:
    made = await ask(
        msgspec.structs.replace(by(call), why=call.body.reason), _subject(call.path["subject"])
    )
    return Result(content=Proposed(proposal_id=made), location=f"/v1/proposals/{made}")


async def ask(by: By, subject: str) -> UUID:
    """Step 1: the proposal. Raises UnderHold, WithinRetention, NotFound."""
    await prepare(by, subject)
    change: Change[Any] = Change(
        verb="erase", kind=_KIND, object_id=subject, base=0, before=None, after={"erased": True}
    )
    made = await changes.propose(by, change, frozenset({"evidence"}))
    assert made.proposal is not None
    return made.proposal


async def prepare(by: By, subject: str) -> None:
    """Nothing stands against it, and its keys are retired. Raises UnderHold, WithinRetention, NotFound."""
    await holds.alone(by.conn, by.scope)
    now = by.services.clock.now()
    shredding.refuse(subject, await _against(by, subject), now)
    await shredding.retire(by.conn, subject, now)


async def shredded(by: By, proposal: Proposal) -> None:
    """Step 2: what two people agreed on. Raises UnderHold, WithinRetention, Conflict; TooEarly, which
    leaves the proposal open."""
    await erase(by, proposal, proposal.object_id)


async def erase(by: By, proposal: Proposal, subject: str) -> Erasure:
    """The same for a handler whose proposal asks for more than this."""
    await holds.alone(by.conn, by.scope)
    now = by.services.clock.now()
    versions = await shredding.ripe(by.conn, subject, now)
    found = await _against(by, subject)
    shredding.refuse(subject, found, now)
    assert by.approved_by is not None
    assert by.proposal is not None
    erasure_id, size = new_id(), await end_of_log(by.conn)
    facts = {
        "erasure": str(erasure_id), "subject": subject, "through_version": max(versions),
        "versions": versions, "records": found.records, "why": by.why, "proposal": str(by.proposal),
        "proposed_by": msgspec.to_builtins(proposal.proposed_by),
        "approved_by": msgspec.to_builtins(by.approved_by),
    }  # fmt: skip
    pc = await changes.record_change(by, Kind.SHRED, facts, TENANT)
    erasure = Erasure(
        erasure_id=erasure_id, subject=subject, through_version=max(versions), erased_at=now,
        why=by.why, asked_by=proposal.proposed_by, approved_by=by.approved_by,
        proposal_id=by.proposal, records=found.records, log_size=size, pc=pc,
    )  # fmt: skip
    await shredding.destroy(by.conn, by.scope, erasure, versions)
    ring.current().forget(by.scope.tenant_id)
    return erasure


async def _against(by: By, subject: str) -> shredding.Against:
    settings = await read_settings(by.conn, by.scope.tenant_id)
    return await shredding.against(by.conn, subject, settings.retention_years)


def _subject(text: str) -> str:
    try:
        return msgspec.convert(text, Subject)
    except msgspec.ValidationError:
        raise Invalid(
            f"subject: account:<id> or person:<id> is needed, got {text[:100]!r}", field="subject"
        ) from None


async def _list(call: Call) -> Result:
    items = [_view(one) for one in await shredding.erasures(call.conn)]
    return Result(content=Erasures(items=items))


async def _get(call: Call) -> Result:
    erasure_id = call.uuid("erasure_id")
    found = await shredding.erasures(call.conn, erasure_id)
    if not found:
        raise NotFound(f"there is no erasure {erasure_id}")
    return Result(content=_view(found[0]))


def _view(erasure: Erasure) -> ErasureView:
    said = msgspec.structs.asdict(erasure)
    return ErasureView(reason=said.pop("why"), commitment=said.pop("pc").hex(), **said)


_KIND: ObjectKind[Shred] = ObjectKind(
    name=shredding.KIND,
    table=Table(
        noun="subject", table="audit_data_keys", key="subject", document=Shred, archived=""
    ),
)
"""Its name is all that a proposal takes of it."""

_ADDRESS = "/v1/audit/erasures"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="shred_subject", method="POST", path="/v1/audit/subjects/{subject}/shred", tag=TAG,
        action="evidence:write", handle=_shred, body=Shred, answer=Proposed, status=202,
        places={"subject": Subject},
        summary="Ask that the log's content about an account or a person be destroyed, for good.",
        problems=("not_found", "within_retention", "under_hold"),
        detail="A second person agrees a minute later at the earliest: until then a process may still"
        " be writing under the keys that go.",
    ),
    Operation(
        name="list_erasures", method="GET", path=_ADDRESS, tag=TAG, action="evidence:read",
        handle=_list, answer=Erasures, summary="What was destroyed, when, why and by whom.",
    ),
    Operation(
        name="get_erasure", method="GET", path=f"{_ADDRESS}/{{erasure_id}}", tag=TAG,
        action="evidence:read", handle=_get, answer=ErasureView, problems=("not_found",),
        summary="One erasure, and where the log speaks of it.",
    ),
)  # fmt: skip
