"""Proposals: changes that wait for a second person; read with a difference in words, decided, withdrawn.

Who may decide is in deciding.py, what a yes brings about in applying.py. A no and a withdrawal are
possible until the change is applied, also while an approved one waits for its hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from audit.record import Kind
from gateway.admin import changes
from gateway.admin.applying import carry_out, facts, governed
from gateway.admin.changes import by
from gateway.admin.deciding import deciding_person, may_agree
from gateway.admin.errors import Forbidden, OwnProposal, ProposalClosed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor
from gateway.problems import problem
from tenancy.difference import Difference, difference
from tenancy.errors import Invalid
from tenancy.scope import Actor
from tenancy.store import proposals
from tenancy.store.proposals import Proposal, State

TAG = "Proposals"
LATEST = timedelta(days=366)
"""How far ahead the hour of an approved change may be."""

Comment = Annotated[str, Meta(max_length=1000, description="For the record, and for the other.")]


class ProposalFilters(PageQuery, frozen=True, kw_only=True):
    """Which proposals."""

    state: State | None = None
    kind: Annotated[str, Meta(max_length=40)] | None = None


class ProposalView(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal. `reasons`: the categories for which a second person is asked. `base`: the
    revision that it was made for. `failure`: why an approved one could not be applied."""

    proposal_id: UUID
    reasons: list[str]
    operation: str
    kind: str
    object_id: str
    base: int
    comment: str
    state: State
    proposed_by: Actor
    proposed_at: datetime
    expires_at: datetime
    effective_from: datetime | None
    decided_by: Actor | None
    decided_at: datetime | None
    decision_comment: str
    applied_at: datetime | None
    failure: str | None


class ProposalDetail(ProposalView, frozen=True, kw_only=True):
    """A proposal with what it would change."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None
    differences: list[Difference]


class Approval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A yes. `effective_from`: when the change is made; absent, null or past: at once."""

    comment: Comment = ""
    effective_from: Annotated[datetime, Meta(tz=True)] | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A no, or a withdrawal."""

    comment: Comment = ""


def shown(proposal: Proposal) -> ProposalDetail:
    """With its difference; what its kind hides is neither in it nor in the documents."""
    try:
        hidden = governed(proposal.kind).hidden
    except Invalid:
        hidden = frozenset()
    before, after = _without(proposal.before, hidden), _without(proposal.after, hidden)
    return ProposalDetail(
        **_view(proposal), before=before, after=after, differences=list(difference(before, after))
    )


def _view(proposal: Proposal) -> dict[str, Any]:
    return {name: getattr(proposal, name) for name in ProposalView.__struct_fields__}


def _without(document: dict[str, Any] | None, hidden: frozenset[str]) -> dict[str, Any] | None:
    if document is None:
        return None
    return {name: value for name, value in document.items() if name not in hidden}


async def _list(call: Call) -> Result:
    query: ProposalFilters = call.query
    rows = await proposals.page(
        call.conn, limit=query.limit, before=read_id(query.cursor), state=query.state,
        kind=query.kind,
    )  # fmt: skip
    more = write_cursor(str(rows[-1].proposal_id)) if len(rows) == query.limit else None
    return Result(content=Page(items=[ProposalView(**_view(row)) for row in rows], next=more))


async def _get(call: Call) -> Result:
    return Result(content=shown(await proposals.read(call.conn, call.uuid("proposal_id"))))


async def _approve(call: Call) -> Result:
    approval: Approval = call.body
    proposal = await _undecided(call, "open")
    await may_agree(call.conn, call.principal, proposal.proposed_by)
    hour = _hour(approval.effective_from, call.services.clock.now())
    await _decide(call, proposal, "approved", approval.comment, hour)
    given = {"decision": "approved", "effective_from": hour.isoformat() if hour else None}
    await _record(call, Kind.APPROVAL_GIVEN, proposal, approval.comment, **given)
    if hour is not None:
        return await _answer(call, proposal)
    failure = await carry_out(
        call.services, call.conn, proposal, call.scope.actor, trace_id=call.trace_id
    )
    if failure is not None:  # answered, not raised: that it failed is to be kept
        address = f"/v1/proposals/{proposal.proposal_id}"
        return Result(content=problem("proposal_failed", failure, instance=address))
    return await _answer(call, proposal)


def _hour(wanted: datetime | None, now: datetime) -> datetime | None:
    if wanted is None or wanted <= now:
        return None
    if wanted > now + LATEST:
        raise Invalid("effective_from: at most 366 days ahead", field="effective_from")
    return wanted


async def _reject(call: Call) -> Result:
    proposal = await _undecided(call, "open", "approved")
    person = deciding_person(call.principal)
    if person in await proposals.people_behind(call.conn, proposal.proposed_by):
        raise OwnProposal("this is your own proposal: withdraw it")
    await _decide(call, proposal, "rejected", call.body.comment)
    await _record(call, Kind.APPROVAL_REFUSED, proposal, call.body.comment, decision="rejected")
    return await _answer(call, proposal)


async def _withdraw(call: Call) -> Result:
    proposal = await _undecided(call, "open", "approved")
    own = call.scope.actor == proposal.proposed_by
    if not own and call.scope.actor.id not in await proposals.people_behind(
        call.conn, proposal.proposed_by
    ):
        raise Forbidden("only whoever proposed a change withdraws it; others reject it")
    await _decide(call, proposal, "withdrawn", call.body.comment)
    await _record(call, Kind.APPROVAL_REFUSED, proposal, call.body.comment, decision="withdrawn")
    return await _answer(call, proposal)


async def _undecided(call: Call, *states: State) -> Proposal:
    """The proposal, locked. Raises NotFound, ProposalClosed."""
    proposal = await proposals.read(call.conn, call.uuid("proposal_id"), lock=True)
    if proposal.state not in states:
        raise ProposalClosed(f"this proposal is {proposal.state}")
    if proposal.state == "open" and proposal.expires_at <= call.services.clock.now():
        raise ProposalClosed("this proposal has expired")
    return proposal


async def _decide(
    call: Call, proposal: Proposal, state: State, comment: str, hour: datetime | None = None
) -> None:
    now = call.services.clock.now()
    await proposals.decide(
        call.conn, proposal.proposal_id, state, call.scope.actor, now, comment, hour
    )


async def _record(call: Call, kind: Kind, proposal: Proposal, comment: str, **more: Any) -> None:
    payload = {**facts(proposal), "comment": comment, "client": call.client, **more}
    await changes.record_change(by(call), kind, payload)


async def _answer(call: Call, proposal: Proposal) -> Result:
    return Result(content=shown(await proposals.read(call.conn, proposal.proposal_id)))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_proposals", method="GET", path="/v1/proposals", tag=TAG, action="proposals:read",
        summary="List proposals, newest first.", handle=_list, query=ProposalFilters,
        answer=Page[ProposalView],
    ),
    Operation(
        name="get_proposal", method="GET", path="/v1/proposals/{proposal_id}", tag=TAG,
        action="proposals:read", summary="Read a proposal, with what it changes in plain words.",
        handle=_get, answer=ProposalDetail, problems=("not_found",),
    ),
    Operation(
        name="approve_proposal", method="POST", path="/v1/proposals/{proposal_id}/approve", tag=TAG,
        action="proposals:decide", handle=_approve, body=Approval, answer=ProposalDetail,
        summary="Agree: the change is made at once, or when its hour has come.",
        problems=("not_found", "proposal_closed", "proposal_failed", "own_proposal",
                  "person_needed", "within_retention", "under_hold", "shred_too_early"),
        detail="Needs a person who did not propose it, neither directly nor by a service key of"
        " theirs. They need no right to make the change themselves.",
    ),
    Operation(
        name="reject_proposal", method="POST", path="/v1/proposals/{proposal_id}/reject", tag=TAG,
        action="proposals:decide", handle=_reject, body=Decision, answer=ProposalDetail,
        summary="Refuse; also an approved change whose hour has not come.",
        problems=("not_found", "proposal_closed", "own_proposal", "person_needed"),
    ),
    Operation(
        name="withdraw_proposal", method="POST", path="/v1/proposals/{proposal_id}/withdraw",
        tag=TAG, action="proposals:read", handle=_withdraw, body=Decision, answer=ProposalDetail,
        summary="Take back one's own proposal before it is applied.",
        problems=("not_found", "proposal_closed"),
    ),
)  # fmt: skip
