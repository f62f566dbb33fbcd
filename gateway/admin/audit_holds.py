"""Retention and legal holds: how long evidence is kept, and what nobody may erase meanwhile.

A class of records only grows, so one person suffices for that. A hold is placed and released by two
people, whatever the tenant says of four eyes; it holds from the moment in which it is asked for
(audit/holds.py). The records of it lie under the tenant's key: no erasure takes them away.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from audit import holds
from audit.holds import Hold
from audit.record import Kind
from audit.retention import Class, Regime, Scope, Term, grown
from audit.sealing import TENANT
from gateway.admin import changes
from gateway.admin.changes import By, Change, ObjectKind, by
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from tenancy.errors import Conflict, NotFound
from tenancy.ids import new_id
from tenancy.rules import EACH_ONCE
from tenancy.scope import Actor
from tenancy.store.documents import Table
from tenancy.store.proposals import Proposal
from tenancy.store.tenants import read_settings

TAG = "Evidence"
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Moment = Annotated[datetime, Meta(tz=True)]
Why = Annotated[str, Meta(min_length=1, max_length=1000)]


class NewHold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is held: each member narrows it, without any it is everything. `subject`: `account:<id>`,
    `person:<id>` or `tenant`. `oid`: an order. `from_at`, `to_at`: when it happened."""

    reason: Why
    subject: Text | None = None
    oid: Text | None = None
    acct: Text | None = None
    from_at: Moment | None = None
    to_at: Moment | None = None

    def __post_init__(self) -> None:
        self.scope()

    def scope(self) -> Scope:
        return Scope(
            subject=self.subject, oid=self.oid, acct=self.acct, from_at=self.from_at, to_at=self.to_at
        )  # fmt: skip


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it need not be held any more."""

    reason: Why


class HoldView(msgspec.Struct, frozen=True, kw_only=True):
    """`approved_by` null: it waits for its second person, and holds meanwhile."""

    hold_id: UUID
    subject: str | None
    oid: str | None
    acct: str | None
    from_at: datetime | None
    to_at: datetime | None
    reason: str
    placed_by: Actor
    placed_at: datetime
    approved_by: Actor | None
    released_by: Actor | None
    released_at: datetime | None


class Holds(msgspec.Struct, frozen=True, kw_only=True):
    """All of the tenant's, oldest first."""

    items: list[HoldView]


class TermView(msgspec.Struct, frozen=True, kw_only=True):
    """`years`: from the recording of each record on."""

    cls: str
    years: int
    regimes: list[str]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """`tenant_years`: what the tenant's settings say everything is kept for; the longer one holds."""

    items: list[TermView]
    tenant_years: int


class Growth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Regimes that apply to a class besides those that do, or more years. Nothing makes it shorter."""

    cls: Class
    regimes: Annotated[tuple[Regime, ...], Meta(max_length=5, extra_json_schema=EACH_ONCE)] = ()
    years: Annotated[int, Meta(ge=1, le=100)] = 1


async def _retention(call: Call) -> Result:
    terms = await holds.terms(call.conn)
    settings = await read_settings(call.conn, call.scope.tenant_id)
    items = [_term(term) for _, term in sorted(terms.items())]
    return Result(content=Retention(items=items, tenant_years=settings.retention_years))


async def _grow(call: Call) -> Result:
    wanted: Growth = call.body
    await holds.alone(call.conn, call.scope)
    before = (await holds.terms(call.conn))[wanted.cls]
    after = grown(before, wanted.regimes, wanted.years)
    if after != before:
        await holds.grow(call.conn, call.scope, after, call.services.clock.now())
        facts = {
            "object": "retention", "id": wanted.cls, "why": call.why,
            "before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after),
        }  # fmt: skip
        await changes.record_change(by(call), Kind.ADMIN_CHANGE, facts, TENANT)
    return Result(content=_term(after))


def _term(term: Term) -> TermView:
    return TermView(cls=term.cls, years=term.years, regimes=list(term.regimes))


async def _list(call: Call) -> Result:
    return Result(content=Holds(items=[_view(hold) for hold in await holds.listed(call.conn)]))


def _view(hold: Hold) -> HoldView:
    said = msgspec.structs.asdict(hold)
    scope = said.pop("scope")
    return HoldView(reason=said.pop("why"), **said, **msgspec.structs.asdict(scope))


async def _place(call: Call) -> Result:
    wanted: NewHold = call.body
    await holds.alone(call.conn, call.scope)
    return await _propose(call, "create", new_id(), None, msgspec.to_builtins(wanted.scope()))


async def _release(call: Call) -> Result:
    hold_id = call.uuid("hold_id")
    found = [hold for hold in await holds.listed(call.conn) if hold.hold_id == hold_id]
    if not found:
        raise NotFound(f"there is no hold {hold_id}")
    if found[0].released_at is not None:
        raise Conflict(f"the hold was released on {found[0].released_at:%Y-%m-%d}")
    if found[0].approved_by is None:
        raise Conflict("the hold waits for its second person: reject its proposal, or withdraw it")
    return await _propose(call, "remove", hold_id, msgspec.to_builtins(found[0].scope), None)


async def _propose(call: Call, verb: Any, hold_id: UUID, before: Any, after: Any) -> Result:
    author = msgspec.structs.replace(by(call), why=call.body.reason)
    change: Change[Any] = Change(
        verb=verb, kind=_KIND, object_id=str(hold_id), base=0, before=before, after=after
    )
    made = await changes.propose(author, change, frozenset({"evidence"}))
    assert made.proposal is not None
    address = f"/v1/proposals/{made.proposal}"
    return Result(content=Proposed(proposal_id=made.proposal), location=address)


async def placed(by: By, proposal: Proposal) -> None:
    """What two people agreed on."""
    await holds.alone(by.conn, by.scope)
    hold = Hold(
        hold_id=UUID(proposal.object_id), scope=msgspec.convert(proposal.after or {}, Scope),
        why=proposal.comment, placed_by=proposal.proposed_by, placed_at=proposal.proposed_at,
        approved_by=by.approved_by,
    )  # fmt: skip
    await holds.place(by.conn, by.scope, hold)
    await changes.record_change(by, Kind.HOLD, _facts(by, proposal, proposal.after), TENANT)


async def released(by: By, proposal: Proposal) -> None:
    """What two people agreed on. Raises NotFound where it does not stand any more."""
    await holds.alone(by.conn, by.scope)
    hold_id, now = UUID(proposal.object_id), by.services.clock.now()
    await holds.release(by.conn, hold_id, proposal.proposed_by, by.approved_by, now)
    await changes.record_change(by, Kind.RELEASE, _facts(by, proposal, proposal.before), TENANT)


def _facts(by: By, proposal: Proposal, scope: Any) -> dict[str, Any]:
    return {
        "hold": proposal.object_id, "scope": scope or {}, "why": by.why, "proposal": str(by.proposal),
        "proposed_by": msgspec.to_builtins(proposal.proposed_by),
        "approved_by": msgspec.to_builtins(by.approved_by),
    }  # fmt: skip


_KIND: ObjectKind[Scope] = ObjectKind(
    name=holds.KIND,
    table=Table(noun="hold", table="audit_holds", key="hold_id", document=Scope, archived=""),
)
"""Its name is all that a proposal takes of it: placed() and released() do the rest."""

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="get_retention", method="GET", path="/v1/audit/retention", tag=TAG,
        action="evidence:read", handle=_retention, answer=Retention,
        summary="How long records of each class are kept, and which rules ask for it.",
    ),
    Operation(
        name="grow_retention", method="POST", path="/v1/audit/retention", tag=TAG,
        action="evidence:write", handle=_grow, body=Growth, answer=TermView,
        summary="Keep a class of records for longer; never for less.",
    ),
    Operation(
        name="list_holds", method="GET", path="/v1/audit/holds", tag=TAG, action="evidence:read",
        handle=_list, answer=Holds, summary="Legal holds: standing, waiting for a yes, and released.",
    ),
    Operation(
        name="place_hold", method="POST", path="/v1/audit/holds", tag=TAG, action="evidence:write",
        handle=_place, body=NewHold, answer=Proposed, status=202,
        summary="Hold records: nothing of them is erased, from now on; a second person confirms it.",
    ),
    Operation(
        name="release_hold", method="POST", path="/v1/audit/holds/{hold_id}/release", tag=TAG,
        action="evidence:write", handle=_release, body=Release, answer=Proposed, status=202,
        summary="Ask that a hold be released; it holds until a second person agrees.",
        problems=("not_found", "conflict"),
    ),
)  # fmt: skip
