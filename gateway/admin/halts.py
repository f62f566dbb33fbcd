"""The kill switch: what may not trade, or only close, and since when, by whom, why.

Every layer has a state: `active`, `reducing` (only what makes a position smaller), `halted`. The
strictest of all layers holds for each order. Making one stricter is done at once and asks nobody;
making one less strict is a release, of the category `halt_release` of four eyes.

An emergency does not fail because somebody else changed a name: the row is locked and read again
inside, so no revision is needed. The same halt again changes nothing and answers the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
import psycopg
from msgspec import Meta

from gateway.admin import changes
from gateway.admin.accounts import ACCOUNT
from gateway.admin.changes import Made, ObjectKind, by
from gateway.admin.errors import Forbidden
from gateway.admin.groups import GROUP
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.strategies import STRATEGY
from gateway.admin.tenants import TENANT
from tenancy.errors import Conflict, Invalid
from tenancy.four_eyes import STRICTNESS, releases
from tenancy.parameters import TradingState
from tenancy.rules import Schema, given
from tenancy.store import documents

TRIES = 3
Scope = Literal["platform", "tenant", "strategy", "group", "account"]
Reason = Annotated[str, Meta(min_length=1, max_length=1000)]


_KINDS: Mapping[Scope, ObjectKind[Any]] = {
    "platform": TENANT,
    "tenant": TENANT,
    "strategy": STRATEGY,
    "group": GROUP,
    "account": ACCOUNT,
}


_WHOSE: Schema = {
    "anyOf": [
        {"properties": {"scope": {"enum": ["platform", "tenant"]}}},
        given("object_id", scope={"enum": ["strategy", "group", "account"]}),
    ]
}


class Halt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`object_id`: of the strategy, group or account; a tenant and the platform halt themselves."""

    scope: Scope
    state: Literal["reducing", "halted"]
    reason: Reason
    object_id: UUID | None = None

    rules: ClassVar[Schema] = _WHOSE


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Less strict than it is: `active`, or `reducing` where it is halted."""

    scope: Scope
    reason: Reason
    state: Literal["active", "reducing"] = "active"
    object_id: UUID | None = None

    rules: ClassVar[Schema] = _WHOSE


class HaltView(msgspec.Struct, frozen=True, kw_only=True):
    """One layer's state. `since`, `by` and `reason` are absent for a state as old as the object."""

    scope: Scope
    object_id: UUID
    name: str
    state: TradingState
    since: datetime | None = None
    by: dict[str, str] | None = None
    reason: str = ""


class Halts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is not active, the outermost first. For a customer also what the platform says."""

    items: list[HaltView]
    platform_state: TradingState


_LIST = """
SELECT f.scope, f.id, f.name, f.state, r.at, r.actor, r.why FROM (
    SELECT CASE kind WHEN 'platform' THEN 'platform' ELSE 'tenant' END AS scope, 'tenant' AS kind,
           tenant_id AS id, name, state, 0 AS place FROM tenants
    UNION ALL SELECT 'strategy', 'strategy', strategy_id, name, state, 1 FROM strategies
        WHERE archived_at IS NULL
    UNION ALL SELECT 'group', 'group', group_id, name, state, 2 FROM account_groups
        WHERE archived_at IS NULL
    UNION ALL SELECT 'account', 'account', account_id, name, state, 3 FROM accounts
        WHERE archived_at IS NULL
) f LEFT JOIN LATERAL (
    SELECT r.at, r.actor, r.why FROM revisions r
    WHERE r.kind = f.kind AND r.object_id = f.id::text AND r.after ->> 'state' = f.state
    ORDER BY r.revision DESC LIMIT 1
) r ON true
WHERE f.state <> 'active' AND (%(id)s::uuid IS NULL OR f.id = %(id)s) ORDER BY f.place, f.name"""


async def _list(call: Call) -> Result:
    return Result(
        content=Halts(items=await _halts(call, None), platform_state=await _platform(call))
    )


async def _halts(call: Call, only: UUID | None) -> list[HaltView]:
    cursor = await call.conn.execute(_LIST, {"id": only})
    return [
        HaltView(
            scope=row[0], object_id=row[1], name=row[2], state=row[3], since=row[4], by=row[5],
            reason=row[6] or "",
        )
        for row in await cursor.fetchall()
    ]  # fmt: skip


async def _platform(call: Call) -> TradingState:
    row = await (await call.conn.execute("SELECT state FROM platform_terms()")).fetchone()
    return "active" if row is None else row[0]


async def _halt(call: Call) -> Result:
    wanted: Halt = call.body
    return await _put(call, wanted.scope, wanted.object_id, wanted.state, wanted.reason, "halt")


async def _release(call: Call) -> Result:
    wanted: Release = call.body
    return await _put(call, wanted.scope, wanted.object_id, wanted.state, wanted.reason, "release")


async def _put(
    call: Call, scope: Scope, object_id: UUID | None, state: TradingState, reason: str,
    act: Literal["halt", "release"],
) -> Result:  # fmt: skip
    wanted_id = _which(call, scope, object_id)
    for attempt in range(TRIES):
        try:
            async with call.conn.transaction():
                name, made = await _switch(call, scope, wanted_id, state, reason, act)
            break
        except psycopg.errors.DeadlockDetected:
            # Two changes that move versions of the same strategies in another order. The other one
            # went through; an emergency is not the one to be told to try again.
            if attempt == TRIES - 1:
                raise
    if made.proposal is not None:
        return Result(
            status=202,
            content=Proposed(proposal_id=made.proposal),
            location=f"/v1/proposals/{made.proposal}",
        )
    found = await _halts(call, wanted_id)
    active = HaltView(scope=scope, object_id=wanted_id, name=name, state="active", reason=reason)
    return Result(content=found[0] if found else active)


async def _switch(
    call: Call, scope: Scope, object_id: UUID, state: TradingState, reason: str,
    act: Literal["halt", "release"],
) -> tuple[str, Made]:  # fmt: skip
    """The object's name, and what became of it. Its row is locked, so no revision can be stale."""
    kind = _KINDS[scope]
    stored = await documents.read(call.conn, kind.table, object_id, lock=True)
    now: TradingState = stored.facts["state"]
    if act == "halt" and releases(now, state):
        raise Conflict(f"the {scope} is {now}, which is stricter: release it to {state} instead")
    if act == "release" and STRICTNESS[state] > STRICTNESS[now]:
        raise Conflict(f"the {scope} is {now}, which is less strict already: halt it instead")
    categories = frozenset({"halt_release"}) if releases(now, state) else frozenset[str]()
    author = msgspec.structs.replace(by(call), why=reason)
    made = await changes.put_fact(author, kind, stored, "state", state, categories)
    return stored.document.name, made


def _which(call: Call, scope: Scope, object_id: UUID | None) -> UUID:
    """The id of what is meant. Raises Forbidden for the platform's, Invalid."""
    whole = scope in ("platform", "tenant")
    if whole and (scope == "platform") != (call.principal.kind == "platform"):
        raise Forbidden(
            "the platform's switch belongs to its operators, and a tenant's to the tenant"
        )
    if whole:
        if object_id not in (None, call.scope.tenant_id):
            raise Invalid(
                f"object_id: not needed for the scope {scope}, and not another's", field="object_id"
            )
        return call.scope.tenant_id
    if object_id is None:
        raise Invalid(f"object_id: the id of the {scope} is needed", field="object_id")
    return object_id


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_halts", method="GET", path="/v1/halts", tag="Kill switch", action="halts:read",
        summary="Everything that may not trade, or only close.", handle=_list, answer=Halts,
    ),
    Operation(
        name="halt", method="POST", path="/v1/halts", tag="Kill switch", action="halts:write",
        summary="Stop a layer's trading, or let it only close positions; at once, for everything under it.",
        handle=_halt, body=Halt, answer=HaltView, problems=("not_found", "conflict"),
    ),
    Operation(
        name="release", method="POST", path="/v1/halts/release", tag="Kill switch",
        action="halts:write", summary="Let a layer trade again.", handle=_release, body=Release,
        answer=HaltView, also={202: Proposed}, problems=("not_found", "conflict"),
    ),
)  # fmt: skip
