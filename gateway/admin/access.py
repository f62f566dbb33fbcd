"""Operators let in: a customer's tenant is open to a platform operator with a reason, for a time.

The operator asks, in words; a person of the tenant who may decide says yes or no, and anybody there
who may decide ends it again at any time. While it lasts the operator looks and does not touch
(tenancy.roles.LET_IN), and every request leaves a record in the customer's own audit log. It ends
exactly at its time: each request compares the clock anew.

What is asked and answered is told in both logs, the customer's and the platform's, in one
transaction: neither record exists without the other, nor without the row.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from audit.record import Kind
from gateway.admin import changes
from gateway.admin.changes import by
from gateway.admin.deciding import deciding_person
from gateway.admin.errors import Forbidden, PersonNeeded
from gateway.admin.operation import Call, Operation, Principal, Result, Services
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor
from tenancy.database import across
from tenancy.errors import Conflict, Invalid
from tenancy.ids import new_id
from tenancy.roles import LET_IN
from tenancy.scope import TenantScope
from tenancy.store import access_grants
from tenancy.store.access_grants import Grant, State
from tenancy.values import TenantID

TAG = "Access"


async def let_in(principal: Principal, tenant: TenantID, services: Services) -> Principal:
    """The operator inside the customer's tenant. Raises Forbidden without a live grant.

    Whoever may not ask at home any more (a role that was taken away, no second factor yet) looks at
    nothing there either.
    """
    if principal.kind != "platform":
        raise Forbidden("Portcullis-Tenant names another tenant than your own")
    scope = TenantScope(tenant, principal.scope.actor)
    async with services.database.tenant(scope) as conn:
        grant = await access_grants.live(conn, principal.scope.actor.id, services.clock.now())
    if grant is None or principal.person_id is None:
        raise Forbidden(
            "you were not let into this tenant, or the time is over: ask with POST /v1/access"
        )
    return Principal(
        scope=scope,
        kind="customer",
        actions=LET_IN if "access:ask" in principal.actions else frozenset(),
        credential=principal.credential,
        person_id=principal.person_id,
        session_id=principal.session_id,
        second_factor=principal.second_factor,
        home=principal.scope.tenant_id,
        until=grant.expires_at,
    )


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tenant, why, and for how long from its yes on."""

    tenant_id: UUID
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    minutes: Annotated[int, Meta(ge=1, le=1440)]


class AccessView(msgspec.Struct, frozen=True, kw_only=True):
    """An ask and its answer. `live`: the operator may look at this moment."""

    grant_id: UUID
    tenant_id: UUID
    operator_id: str
    reason: str
    minutes: int
    state: State
    asked_at: datetime
    decided_at: datetime | None
    expires_at: datetime | None
    live: bool


def view(grant: Grant, now: datetime) -> AccessView:
    end = grant.expires_at
    live = grant.state == "granted" and end is not None and end > now
    return AccessView(**msgspec.structs.asdict(grant), live=live)


async def _ask(call: Call) -> Result:
    ask: Ask = call.body
    if call.principal.person_id is None:
        raise PersonNeeded("a person is let in, not a service key: sign in")
    if ask.tenant_id == call.scope.tenant_id:
        raise Invalid("tenant_id: this is your own tenant", field="tenant_id")
    there = TenantScope(TenantID(ask.tenant_id), call.scope.actor)
    grant_id, now = new_id(), call.services.clock.now()
    facts = {"access": str(grant_id), "tenant": str(ask.tenant_id), "reason": ask.reason,
             "minutes": ask.minutes, "client": call.client}  # fmt: skip
    async with across(call.conn, there):
        await access_grants.ask(call.conn, there, grant_id, ask.reason, ask.minutes, now)
        await _record(call, Kind.APPROVAL_ASKED, facts, there)
        grant = await access_grants.read(call.conn, grant_id)
    await _record(call, Kind.APPROVAL_ASKED, facts)
    return Result(content=view(grant, now))


async def _list(call: Call) -> Result:
    limit, before = call.query.limit, read_id(call.query.cursor)
    if call.principal.kind == "platform":
        operator = call.scope.actor.id
        rows = await access_grants.page_of_operator(call.conn, operator, limit=limit, before=before)
    else:
        rows = await access_grants.page(call.conn, limit=limit, before=before)
    more = write_cursor(str(rows[-1].grant_id)) if len(rows) == limit else None
    now = call.services.clock.now()
    return Result(content=Page(items=[view(row, now) for row in rows], next=more))


async def _grant(call: Call) -> Result:
    deciding_person(call.principal)
    grant = await _in_state(call, "asked")
    end = call.services.clock.now() + timedelta(minutes=grant.minutes)
    return await _decide(call, grant, "granted", Kind.APPROVAL_GIVEN, end)


async def _refuse(call: Call) -> Result:
    deciding_person(call.principal)
    return await _decide(call, await _in_state(call, "asked"), "refused", Kind.APPROVAL_REFUSED)


async def _revoke(call: Call) -> Result:
    grant = await _in_state(call, "granted")
    return await _decide(call, grant, "revoked", Kind.APPROVAL_REFUSED)


async def _in_state(call: Call, state: State) -> Grant:
    grant = await access_grants.read(call.conn, call.uuid("grant_id"))
    if grant.state != state:
        raise Conflict(f"this is {grant.state} already")
    return grant


async def _decide(
    call: Call, grant: Grant, state: State, kind: Kind, end: datetime | None = None
) -> Result:
    now = call.services.clock.now()
    await access_grants.decide(call.conn, grant.grant_id, state, call.scope.actor, now, end)
    facts = {"access": str(grant.grant_id), "tenant": str(grant.tenant_id), "decision": state,
             "operator": grant.operator_id, "until": end.isoformat() if end else None,
             "why": call.why, "client": call.client}  # fmt: skip
    await _record(call, kind, facts)
    platform = await access_grants.platform(call.conn)
    if platform is not None:
        there = TenantScope(platform, call.scope.actor)
        async with across(call.conn, there):
            await _record(call, kind, facts, there)
    decided = await access_grants.read(call.conn, grant.grant_id)
    return Result(content=view(decided, now))


async def _record(
    call: Call, kind: Kind, facts: dict[str, Any], there: TenantScope | None = None
) -> None:
    who = by(call) if there is None else msgspec.structs.replace(by(call), scope=there)
    await changes.record_change(who, kind, facts)


def _answering(verb: str, summary: str, handle: Any) -> Operation:
    return Operation(
        name=f"{verb}_access", method="POST", path=f"/v1/access/{{grant_id}}/{verb}", tag=TAG,
        action="access:decide", summary=summary, handle=handle, answer=AccessView,
        problems=("not_found", "conflict", "person_needed"),
    )  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="ask_access", method="POST", path="/v1/access", tag=TAG, action="access:ask",
        summary="Ask a customer to be let in, with a reason, for a time.", handle=_ask, body=Ask,
        answer=AccessView, status=201, platform=True,
        problems=("not_found", "conflict", "person_needed"),
        detail="Once it is granted, name the tenant in the header Portcullis-Tenant: reading only.",
    ),
    Operation(
        name="list_access", method="GET", path="/v1/access", tag=TAG, action="access:read",
        summary="Who was or wants to be let in; for an operator, what it asked for itself.",
        handle=_list, query=PageQuery, answer=Page[AccessView],
    ),
    _answering("grant", "Let the operator in; the minutes begin now.", _grant),
    _answering("refuse", "Do not let the operator in.", _refuse),
    _answering("revoke", "End it now.", _revoke),
)  # fmt: skip
