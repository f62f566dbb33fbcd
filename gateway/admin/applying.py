"""Carry out what two people agreed on: at once or at its hour, once, and never on what has moved since.

The order of the writes. An approval that holds at once, in the approver's one transaction:

1. The proposal's row is locked, so that of two approvers the second finds it closed.
2. The decision, and its audit record (act: the approver).
3. The change itself by gateway/admin/changes.py: row, revision, audit record.
4. The proposal is `applied`.

A crash before the commit leaves an open proposal and nothing else. Approved for later, only 1 and 2
happen; when the hour has come the scheduler does 1, 3 and 4 in a transaction of its own. *A crash in
it leaves an approved proposal, which the next round takes up; after its commit the state says
`applied`, so no round takes it twice*, however many processes run rounds.

Whose change is it? The proposer's: `act` of the change's audit record and the actor of the revision
are who proposed, because that person wanted it and said why; `approved_by` in the record, and the
approval's own record, name who agreed. Both are in the record of every guarded change.

If the object has another revision than the proposal was made for, or the change is refused (a name
in use by now), step 3 is rolled back to its savepoint and the proposal is `failed` with the reason:
it is never applied to something that the two people did not see. A part that is away (PostgreSQL,
the signer) decides nothing: the transaction rolls back, and the request or the next round tries again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import structlog

from audit.record import Kind
from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind
from gateway.admin.errors import Forbidden
from gateway.admin.kinds import KINDS, Governed
from gateway.admin.operation import Services
from tenancy.database import Connection
from tenancy.errors import Conflict, Invalid, NotFound, OutcomeUnknown, Stale, Unavailable
from tenancy.scope import Actor, TenantScope
from tenancy.store import documents, proposals
from tenancy.store.documents import Stored
from tenancy.store.proposals import Proposal
from tenancy.values import TenantID

log = structlog.get_logger()

SCHEDULER = Actor("sys", "proposals")
_REFUSED = (NotFound, Invalid, Conflict, Stale, Forbidden, msgspec.ValidationError)
"""What a change that was agreed on can run into for good."""


def governed(kind: str) -> Governed:
    """What is known of that kind. Raises Invalid for one that this version does not have."""
    if kind not in KINDS:
        raise Invalid(f"this version knows no objects of the kind {kind!r}")
    return KINDS[kind]


async def carry_out(
    services: Services, conn: Connection, proposal: Proposal, approved_by: Actor, trace_id: str = ""
) -> str | None:
    """Steps 3 and 4 for a locked, approved proposal; None, or why it failed (which is written then)."""
    by = By(
        scope=TenantScope(TenantID(proposal.tenant_id), proposal.proposed_by),
        conn=conn,
        services=services,
        why=proposal.comment,
        trace_id=trace_id,
        proposal=proposal.proposal_id,
        approved_by=approved_by,
    )
    try:
        async with conn.transaction():
            await _apply(by, proposal)
            await proposals.applied(conn, proposal.proposal_id, services.clock.now())
    except _REFUSED as error:
        await _fail(by, proposal, str(error))
        return str(error)
    return None


async def _apply(by: By, proposal: Proposal) -> None:
    entry = governed(proposal.kind)
    handler = entry.handlers.get(proposal.operation)
    if handler is not None:
        await handler(by, proposal)
        return
    if entry.kind is None:
        raise Invalid(f"nothing applies {proposal.operation!r} to the kind {proposal.kind!r}")
    kind = entry.kind
    if proposal.operation == "create":
        await changes.create(by, kind, _document(kind, proposal), _id(kind, proposal.object_id))
        return
    stored = await _unmoved(by, kind, proposal)
    if proposal.operation == "change":
        await changes.change(by, kind, stored, _document(kind, proposal))
    elif proposal.operation == "remove":
        await changes.remove(by, kind, stored)
    elif proposal.operation == "state":
        ((column, value),) = (proposal.after or {}).items()
        await changes.put_fact(by, kind, stored, column, value, frozenset())
    else:
        raise Invalid(f"this version knows no operation {proposal.operation!r}")


async def _unmoved(by: By, kind: ObjectKind[Any], proposal: Proposal) -> Stored[Any]:
    stored = await documents.read(by.conn, kind.table, proposal.object_id, lock=True)
    if stored.revision != proposal.base:
        raise Stale(
            f"the {kind.table.noun} is at revision {stored.revision} now; the proposal was made for"
            f" {proposal.base}"
        )
    return stored


def _document(kind: ObjectKind[Any], proposal: Proposal) -> Any:
    return msgspec.convert(proposal.after, kind.table.document)


def _id(kind: ObjectKind[Any], text: str) -> UUID | str:
    return UUID(text) if isinstance(kind.make_id(), UUID) else text


async def _fail(by: By, proposal: Proposal, why: str) -> None:
    await proposals.failed(by.conn, proposal.proposal_id, why)
    nobody = msgspec.structs.replace(by, scope=TenantScope(by.scope.tenant_id, SCHEDULER))
    await changes.record_change(
        nobody, Kind.APPROVAL_REFUSED, {**facts(proposal), "decision": "failed", "failure": why}
    )


def facts(proposal: Proposal) -> dict[str, Any]:
    """What every audit record about a proposal says of it."""
    return {
        "proposal": str(proposal.proposal_id),
        "reasons": proposal.reasons,
        "operation": proposal.operation,
        "object": proposal.kind,
        "id": proposal.object_id,
        "proposed_by": msgspec.to_builtins(proposal.proposed_by),
    }


async def settle_due(services: Services) -> int:
    """One round: apply what is due, expire what nobody decided in time, in every tenant; how many.

    One that breaks does not stop the others: what nobody expected is `failed`, with the log telling
    why. Raises Unavailable where the database is away.
    """
    async with services.database.shared() as conn:
        due = await proposals.due(conn, services.clock.now())
    settled = 0
    for proposal_id, tenant_id in due:
        scope = TenantScope(TenantID(tenant_id), SCHEDULER)
        try:
            settled += await _settle(services, scope, proposal_id)
        except (Unavailable, OutcomeUnknown, psycopg.OperationalError):
            raise
        except Exception:
            log.exception("proposal_broke", proposal=str(proposal_id), tenant=str(tenant_id))
            await _broke(services, scope, proposal_id)
    return settled


async def _settle(services: Services, scope: TenantScope, proposal_id: UUID) -> int:
    async with services.database.tenant(scope) as conn:
        proposal = await proposals.read(conn, proposal_id, lock=True)
        now = services.clock.now()
        if is_due(proposal, now):
            assert proposal.decided_by is not None
            failure = await carry_out(services, conn, proposal, proposal.decided_by)
            log.info("proposal_settled", proposal=str(proposal_id), failure=failure)
        elif proposal.state == "open" and proposal.expires_at <= now:
            await proposals.expired(conn, proposal_id)
            by = By(scope=scope, conn=conn, services=services)
            await changes.record_change(by, Kind.APPROVAL_EXPIRED, facts(proposal))
        else:
            return 0  # somebody was here first
    return 1


def is_due(proposal: Proposal, now: datetime) -> bool:
    """Whether an approved proposal's hour has come."""
    hour = proposal.effective_from
    return proposal.state == "approved" and hour is not None and hour <= now


async def _broke(services: Services, scope: TenantScope, proposal_id: UUID) -> None:
    async with services.database.tenant(scope) as conn:
        proposal = await proposals.read(conn, proposal_id, lock=True)
        if proposal.state == "approved":
            by = By(scope=scope, conn=conn, services=services)
            await _fail(by, proposal, "an error that nobody expected; its cause is in the log")
