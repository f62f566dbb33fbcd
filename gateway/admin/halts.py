"""The kill switch: what may not trade, or only close, and since when, by whom, why.

Every layer has a state: `active`, `reducing` (only what makes a position smaller), `halted`. The
strictest of all layers holds for each order. Making one stricter is done at once and asks nobody;
making one less strict is a release, of the category `halt_release` of four eyes.

A halt says a `level`. It makes the layer at least `reducing` (no_open, cancel_open, flatten) or
`halted` (block_all), and leaves an intervention under whose id the workers stop, cancel and close:

1. The layer's row, its revision and its record, as any change (gateway/admin/changes.py).
2. A row of `interventions` and its record. For cancel_open and flatten it is work to be carried out
   (fanout/interventions.py); workers look at both by themselves, within a second.
3. After the commit a wake-up, so that it takes milliseconds. *Lost: they look all the same.*

A crash before the commit leaves nothing, after it everything.

An emergency does not fail because somebody else changed a name: the row is locked and read again
inside, so no revision is needed. The same halt again changes nothing and answers the same, while
what it began is under way; after that, `cancel_open` and `flatten` begin anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
import psycopg
from msgspec import Meta

from fanout.intervention_rows import STATE_OF, Layer, Level
from gateway.admin import changes
from gateway.admin.accounts import ACCOUNT
from gateway.admin.changes import Made, ObjectKind, by
from gateway.admin.errors import Forbidden
from gateway.admin.groups import GROUP
from gateway.admin.instruments import INSTRUMENT, BrokerName, Symbol, instrument_id
from gateway.admin.interventions import begin, halt_wake
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
Reason = Annotated[str, Meta(min_length=1, max_length=1000)]


_KINDS: Mapping[Layer, ObjectKind[Any]] = {
    "platform": TENANT,
    "tenant": TENANT,
    "strategy": STRATEGY,
    "group": GROUP,
    "account": ACCOUNT,
    "instrument": INSTRUMENT,
}


_WHOSE: Schema = {
    "anyOf": [
        {"properties": {"scope": {"enum": ["platform", "tenant"]}}},
        given("object_id", scope={"enum": ["strategy", "group", "account"]}),
        given("broker", "symbol", scope={"const": "instrument"}),
    ]
}


class Switched(msgspec.Struct, frozen=True):
    """The layer's name, and what became of it."""

    name: str
    made: Made
    changed: bool


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which layer. `object_id`: of the strategy, group or account; a tenant and the platform mean
    themselves. `broker` and `symbol`: of an instrument, for the caller's tenant; the platform's holds
    for everybody."""

    scope: Layer
    reason: Reason
    object_id: UUID | None = None
    broker: BrokerName | None = None
    symbol: Symbol | None = None

    rules: ClassVar[Schema] = _WHOSE


class Halt(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`no_open`: only what makes positions smaller. `block_all`: nothing trades. `cancel_open`: as
    no_open, and open orders are cancelled. `flatten`: as cancel_open, and every position is closed."""

    level: Level


class Release(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Less strict than it is: `active`, or `reducing` where it is halted."""

    state: Literal["active", "reducing"] = "active"


class HaltView(msgspec.Struct, frozen=True, kw_only=True):
    """One layer's state. `since`, `by` and `reason` are absent for a state as old as the object.
    `intervention_id`: the newest act of the switch on it; it says what was stopped."""

    scope: Layer
    object_id: UUID
    name: str
    state: TradingState
    since: datetime | None = None
    by: dict[str, str] | None = None
    reason: str = ""
    intervention_id: UUID | None = None


class HaltedInstrument(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument that the platform stopped for everybody."""

    broker: str
    symbol: str
    state: TradingState


class Halts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is not active, the outermost first. For a customer also what the platform says."""

    items: list[HaltView]
    platform_state: TradingState
    platform_instruments: list[HaltedInstrument] = []


_LIST = """
SELECT f.scope, f.id, f.name, f.state, r.at, r.actor, r.why, i.intervention_id FROM (
    SELECT CASE kind WHEN 'platform' THEN 'platform' ELSE 'tenant' END AS scope, 'tenant' AS kind,
           tenant_id AS id, name, state, 0 AS place FROM tenants
    UNION ALL SELECT 'strategy', 'strategy', strategy_id, name, state, 1 FROM strategies
        WHERE archived_at IS NULL
    UNION ALL SELECT 'group', 'group', group_id, name, state, 2 FROM account_groups
        WHERE archived_at IS NULL
    UNION ALL SELECT 'account', 'account', account_id, name, state, 3 FROM accounts
        WHERE archived_at IS NULL
    UNION ALL SELECT 'instrument', 'instrument', instrument_id, broker || ' ' || symbol, state, 4
        FROM instrument_halts
) f LEFT JOIN LATERAL (
    SELECT r.at, r.actor, r.why FROM revisions r
    WHERE r.kind = f.kind AND r.object_id = f.id::text AND r.after ->> 'state' = f.state
    ORDER BY r.revision DESC LIMIT 1
) r ON true
LEFT JOIN LATERAL (
    SELECT i.intervention_id FROM interventions i
    WHERE i.object_id = f.id AND i.parent_id IS NULL ORDER BY i.intervention_id DESC LIMIT 1
) i ON true
WHERE f.state <> 'active' AND (%(id)s::uuid IS NULL OR f.id = %(id)s) ORDER BY f.place, f.name"""


async def _list(call: Call) -> Result:
    return Result(
        content=Halts(
            items=await _halts(call, None),
            platform_state=await _platform(call),
            platform_instruments=await _platform_instruments(call),
        )
    )


async def _halts(call: Call, only: UUID | None) -> list[HaltView]:
    cursor = await call.conn.execute(_LIST, {"id": only})
    return [
        HaltView(
            scope=row[0], object_id=row[1], name=row[2], state=row[3], since=row[4], by=row[5],
            reason=row[6] or "", intervention_id=row[7],
        )
        for row in await cursor.fetchall()
    ]  # fmt: skip


async def _platform(call: Call) -> TradingState:
    row = await (await call.conn.execute("SELECT state FROM platform_terms()")).fetchone()
    return "active" if row is None else row[0]


async def _platform_instruments(call: Call) -> list[HaltedInstrument]:
    if call.principal.kind == "platform":
        return []  # its own are among the items
    cursor = await call.conn.execute("SELECT broker, symbol, state FROM platform_instruments()")
    return [
        HaltedInstrument(broker=row[0], symbol=row[1], state=row[2])
        for row in await cursor.fetchall()
    ]


async def _halt(call: Call) -> Result:
    wanted: Halt = call.body

    async def act(object_id: UUID) -> Switched:
        state = STATE_OF[wanted.level]
        switched = await _switch(call, wanted, object_id, state, "halt", wanted.level)
        await begin(
            call, wanted.level, object_id, scope=wanted.scope, reason=wanted.reason,
            broker=wanted.broker, symbol=wanted.symbol, changed=switched.changed,
        )  # fmt: skip
        return switched

    return await _put(call, wanted, act)


async def _release(call: Call) -> Result:
    wanted: Release = call.body

    async def act(object_id: UUID) -> Switched:
        return await _switch(call, wanted, object_id, wanted.state, "release")

    return await _put(call, wanted, act)


async def _put(call: Call, wanted: Target, act: Callable[[UUID], Awaitable[Switched]]) -> Result:
    for attempt in range(TRIES):
        try:
            async with call.conn.transaction():
                object_id = await _which(call, wanted)
                switched = await act(object_id)
            break
        except psycopg.errors.DeadlockDetected:
            # Two changes that move versions of the same strategies in another order. The other one
            # went through; an emergency is not the one to be told to try again.
            if attempt == TRIES - 1:
                raise
    wakes = (halt_wake(call.scope.tenant_id),)
    if (proposal := switched.made.proposal) is not None:
        return Result(
            status=202,
            content=Proposed(proposal_id=proposal),
            location=f"/v1/proposals/{proposal}",
        )
    found = await _halts(call, object_id)
    if not found:
        active = HaltView(
            scope=wanted.scope, object_id=object_id, name=switched.name, state="active",
            reason=wanted.reason,
        )  # fmt: skip
        return Result(content=active, wakes=wakes)
    shown = found[0]
    link = None
    if shown.intervention_id is not None and isinstance(wanted, Halt):
        link = f"/v1/interventions/{shown.intervention_id}"
    return Result(content=shown, location=link, wakes=wakes)


async def _switch(
    call: Call, wanted: Target, object_id: UUID, state: TradingState,
    act: Literal["halt", "release"], level: Level | None = None,
) -> Switched:  # fmt: skip
    """The object's name, and what became of it. Its row is locked, so no revision can be stale."""
    kind, scope = _KINDS[wanted.scope], wanted.scope
    stored = await documents.read(call.conn, kind.table, object_id, lock=True)
    name = getattr(stored.document, "name", f"{wanted.broker} {wanted.symbol}")
    now: TradingState = stored.facts["state"]
    if act == "halt" and releases(now, state):
        if level == "no_open":
            raise Conflict(
                f"the {scope} is {now}, which is stricter: release it to {state} instead"
            )
        # Cancelled and closed under the stricter state.
        return Switched(name, Made(revision=stored.revision), changed=False)
    if act == "release" and STRICTNESS[state] > STRICTNESS[now]:
        raise Conflict(f"the {scope} is {now}, which is less strict already: halt it instead")
    categories = frozenset({"halt_release"}) if releases(now, state) else frozenset[str]()
    author = msgspec.structs.replace(by(call), why=wanted.reason)
    made = await changes.put_fact(author, kind, stored, "state", state, categories)
    return Switched(name, made, changed=made.revision != stored.revision)


async def _which(call: Call, wanted: Target) -> UUID:
    """The id of what is meant. Raises Forbidden for the platform's, Invalid, NotFound."""
    scope, object_id = wanted.scope, wanted.object_id
    if scope != "instrument" and (wanted.broker is not None or wanted.symbol is not None):
        raise Invalid(f"broker: goes with the scope instrument, not with {scope}", field="broker")
    if scope == "instrument":
        if object_id is not None:
            raise Invalid(
                "object_id: an instrument is named by broker and symbol", field="object_id"
            )
        if wanted.broker is None or wanted.symbol is None:
            missing = "symbol" if wanted.symbol is None else "broker"
            raise Invalid(f"{missing}: an instrument has a broker and a symbol", field=missing)
        return await instrument_id(call, wanted.broker, wanted.symbol)
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
        summary="Stop a layer: open nothing, trade nothing, cancel what is open, or close everything; at once.",
        handle=_halt, body=Halt, answer=HaltView, problems=("not_found", "conflict"),
    ),
    Operation(
        name="release", method="POST", path="/v1/halts/release", tag="Kill switch",
        action="halts:write", summary="Let a layer trade again.", handle=_release, body=Release,
        answer=HaltView, also={202: Proposed}, problems=("not_found", "conflict"),
    ),
)  # fmt: skip
