"""Several signals of one tenant to plans, in one transaction (step 4).

Each is of another strategy, and none of them shares an account with another, as far as we know: so none
needs to see what another of them does. (Who calls holds their turns, fanout/turn.py.)

1. One round trip: the turns, and of each signal its row, its rotation, what of its strategy is on the way to
   the book, and the version of its settings.
2. One more: what each plan reads of usage, positions, orders, balances and halts.
3. Decide each (fanout/plan.py, pure).
4. Write: the leases held, the plans and their records, the first intents of our own parts; one commit.

What cannot be planned now is left out and the others go on. An error ends the transaction: nothing of any
was done, and who called plans them one by one (fanout/together.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec
from opentelemetry.trace import Span, SpanKind

from fanout import metrics, plan_rows, telling
from fanout.accounts import Accounts
from fanout.as_named import as_named
from fanout.calendars import Calendars
from fanout.gather import ask_gather
from fanout.heard import Heard
from fanout.intend import Intender
from fanout.leases import Leases
from fanout.mandate import Mandate
from fanout.market import Market
from fanout.plan import Plan, Rules, make_plan
from fanout.planned import NotPlanned, Planned
from fanout.refresh import Instrumented
from fanout.sequence import seed_of
from fanout.shadows import everybody, with_shadows
from fanout.signal import InvalidSignal, Signal, decode
from fanout.trace import current, say, under
from fanout.turn import ask_former_neighbours, plans_under_way, turns
from fanout.usage import UNWATCHED, Watched, watch
from tenancy.clock import Clock
from tenancy.database import Connection, Database, Told
from tenancy.scope import TenantScope
from tenancy.snapshot import Snapshot
from tenancy.store.snapshots import Version, ask_version, read_snapshot, with_unfollowed
from tenancy.values import SignalID, StrategyID, TenantID, partition

POLL_S = 0.01
HOLD_S = 0.25
"""How long we keep our turn while neighbours' orders are on their way to the book: who gave it up at
once would never be first behind a neighbour that has always more to plan."""
HOLDERS = 2
"""How many do so at a time, each with a database connection."""

_SIGNAL = """
SELECT body, coalesce(not_before, received_at), traceparent, state, origin, accounts
FROM signals WHERE signal_id = %s FOR UPDATE"""
_ROTATION = "SELECT coalesce(max(rotation) + 1, 0) FROM plans WHERE strategy_id = %s"


class Wanted(NamedTuple):
    """A signal to plan."""

    signal: SignalID
    strategy: StrategyID


class _Look(NamedTuple):
    """What was asked of one signal, in the pipeline that takes the turns."""

    kept: Snapshot | None
    row: Any
    rotation: Any
    waiting: tuple[str, dict[str, object]]
    under_way: Any
    version: Told[Version]
    former: Told[bool]


class _Ready(NamedTuple):
    """One that can be planned now. `snapshot` and `watched`: as its mandate wants them."""

    wanted: Wanted
    asked: Signal
    snapshot: Snapshot
    watched: Watched | None
    mandate: Mandate
    rotation: int
    received_at: datetime
    traceparent: str
    span: Span


class Planner:
    """Plans, and keeps the settings that plans are made by."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        accounts: Accounts,
        intender: Intender,
        instruments: Instrumented,
        clock: Clock,
        rules: Rules,
        calendars: Calendars,
        clock_untrusted: Callable[[TenantID], bool],
        heard: Heard,
    ) -> None:
        """`clock_untrusted`: whether a tenant opens nothing by the clock as it is (fanout/switch.py)."""
        self._database = database
        self._leases = leases
        self._accounts = accounts
        self._intender = intender
        self._instruments = instruments
        self._clock = clock
        self._rules = rules
        self._calendars = calendars
        self._clock_untrusted = clock_untrusted
        self._heard = heard
        self._snapshots: dict[StrategyID, Snapshot] = {}
        self._watched: dict[StrategyID, Watched] = {}
        self._holding = 0

    def neighbours(self, strategy: StrategyID) -> frozenset[StrategyID]:
        """As far as we know without asking."""
        kept = self._snapshots.get(strategy)
        return kept.neighbours if kept is not None else frozenset()

    async def plan(
        self, scope: TenantScope, wanted: Sequence[Wanted], *, patient: bool = False
    ) -> list[Planned | NotPlanned]:
        """What became of each, in their order, when it is committed.

        `patient`: where neighbours' orders are on their way to the book, wait for them, a moment, with the
        turns in hand. Raises LeaseLost, NotLoaded, Unavailable, OutcomeUnknown: nothing of these plans was
        sent by us then.
        """
        async with AsyncExitStack() as after, self._database.tenant(scope) as conn:
            return await self._commit(conn, scope, wanted, after, patient=patient)

    async def _commit(
        self, conn: Connection, scope: TenantScope, wanted: Sequence[Wanted], after: AsyncExitStack,
        *, patient: bool,
    ) -> list[Planned | NotPlanned]:  # fmt: skip
        """With `after`, behind the commit, the plans' spans end and their first orders go to their lanes."""
        begun_ns = self._clock.now_ns()
        strategies = {one.strategy for one in wanted}
        beside = frozenset[StrategyID]().union(*map(self.neighbours, strategies)) - strategies
        async with conn.pipeline():  # one round trip
            await turns(conn, strategies, beside)
            looks = [await self._ask(conn, scope, one) for one in wanted]
        found = [
            await self._ready(conn, scope, one, look, after, begun_ns, patient=patient)
            for one, look in zip(wanted, looks, strict=True)
        ]
        ready = [one for one in found if isinstance(one, _Ready)]
        made = iter(await self._planned(conn, scope, ready, after) if ready else ())
        return [next(made) if isinstance(one, _Ready) else one for one in found]

    async def _ask(self, conn: Connection, scope: TenantScope, one: Wanted) -> _Look:
        shared = self._watched.get(one.strategy, UNWATCHED).shared_parts
        waiting = plans_under_way(one.strategy, self.neighbours(one.strategy), shared)
        return _Look(
            self._snapshots.get(one.strategy),
            await conn.execute(_SIGNAL, (one.signal,)),
            await conn.execute(_ROTATION, (one.strategy,)),
            waiting,
            await conn.execute(*waiting),
            *await self._ask_settings(conn, scope, one.strategy),
        )

    async def _ready(
        self, conn: Connection, scope: TenantScope, one: Wanted, look: _Look, after: AsyncExitStack,
        begun_ns: int, *, patient: bool,
    ) -> _Ready | NotPlanned:  # fmt: skip
        """Whether it can be planned now, by which settings."""
        signal, strategy = one
        row, last = await look.row.fetchone(), await look.rotation.fetchone()
        if row is None or row[3] != "accepted":
            return NotPlanned.NOTHING_TO_DO
        body, received_at, traceparent, _, origin, named = row
        version, former = look.version, look.former
        if before := await look.under_way.fetchall():
            if not patient or not await self._clear(conn, before, look.waiting):
                return NotPlanned.MUST_WAIT
            version, former = await self._ask_settings(conn, scope, strategy)  # time has passed
        snapshot = await self._snapshot(conn, strategy, await version())
        if snapshot is not look.kept:
            if snapshot.neighbours:
                return NotPlanned.LOOK_AGAIN
            _, former = await self._ask_settings(conn, scope, strategy)
        if await former():
            return NotPlanned.MUST_WAIT
        try:
            asked = decode(body)
        except InvalidSignal as error:  # kept by another version of us
            now = self._clock.now()
            await plan_rows.refuse(conn, scope, signal, strategy, error, traceparent, now)
            telling.not_understood(signal, strategy, traceparent, error)
            return NotPlanned.NOTHING_TO_DO
        heard = self._heard.parent("signal", signal, traceparent)
        ids = {"signal_id": signal, "strategy_id": strategy, "tenant_id": scope.tenant_id}
        span = after.enter_context(
            under(heard, "plan", ids, kind=SpanKind.CONSUMER, begun_ns=begun_ns)
        )
        say(span, {"found_by": "sweep" if heard == traceparent else "wake"})
        mandate = Mandate(origin=origin, accounts=None if named is None else frozenset(named))
        watched: Watched | None = self._watched[strategy]
        if mandate.forced and mandate.accounts is not None:
            snapshot, watched = await with_unfollowed(conn, snapshot, mandate.accounts), None
        if mandate.as_named and mandate.accounts is not None:
            snapshot, watched = as_named(snapshot, mandate.accounts), None
        return _Ready(
            one, asked, snapshot, watched, mandate, last[0], received_at, current(traceparent), span
        )

    async def _clear(
        self,
        conn: Connection,
        before: list[tuple[Any, ...]],
        waiting: tuple[str, dict[str, object]],
    ) -> bool:
        """Whether all earlier orders are in the book; neighbours' are waited for, a moment, in our turn.

        Not in our turn: our own, for whoever writes them may want our connection, and what people
        said yes to, which is carried out in a turn.
        """
        if not before or self._holding >= HOLDERS:
            return not before
        self._holding += 1
        until = self._clock.monotonic() + HOLD_S
        try:
            while before == [("plan of a neighbour",)] and self._clock.monotonic() < until:
                await asyncio.sleep(POLL_S)
                before = await (await conn.execute(*waiting)).fetchall()
        finally:
            self._holding -= 1
        return not before

    async def _ask_settings(
        self, conn: Connection, scope: TenantScope, strategy: StrategyID
    ) -> tuple[Told[Version], Told[bool]]:
        """The version that holds now; and whether a neighbour that has left may still have orders on
        their way to an account whose limits count."""
        parts = self._watched.get(strategy, UNWATCHED).parts
        return (
            await ask_version(conn, strategy),
            await ask_former_neighbours(conn, scope.tenant_id, parts),
        )

    async def _snapshot(self, conn: Connection, strategy: StrategyID, version: Version) -> Snapshot:
        """The snapshot at this version, or a newer one: the kept one, where it still holds."""
        kept = self._snapshots.get(strategy)
        if kept is None or Version(kept.strategy.version, kept.platform) != version:
            kept = await read_snapshot(conn, strategy)
            self._snapshots[strategy], self._watched[strategy] = kept, watch(everybody(kept))
        self._accounts.keep(row.account for row in kept.rows)
        self._accounts.keep(shadow.account for shadow in kept.shadows)
        return kept

    async def _decide(self, conn: Connection, ready: Sequence[_Ready]) -> list[Plan]:
        """All that they read, in one round trip; then each plan."""
        now = self._clock.now()
        async with conn.pipeline():
            markets = [
                await ask_gather(
                    conn, one.snapshot, one.asked, self._instruments,
                    self._calendars.known(one.snapshot.calendars, now),
                    at=now, mandate=one.mandate, watched=one.watched,
                )
                for one in ready
            ]  # fmt: skip
        return [
            self._plan(one, await market(), now) for one, market in zip(ready, markets, strict=True)
        ]

    def _plan(self, one: _Ready, market: Market, now: datetime) -> Plan:
        if self._clock_untrusted(one.snapshot.strategy.tenant_id):
            market = msgspec.structs.replace(market, clock_untrusted=True)
        make = partial(
            make_plan,
            one.asked,
            signal_id=one.wanted.signal,
            received_at=one.received_at,
            planned_at=now,
            seed=seed_of(one.wanted.signal),
            rotation=one.rotation,
            rules=self._rules,
            mandate=one.mandate,
        )
        plan = with_shadows(make, one.snapshot, market, one.mandate)
        one.span.add_event("decided")
        return plan

    async def _planned(
        self, conn: Connection, scope: TenantScope, ready: Sequence[_Ready], after: AsyncExitStack
    ) -> list[Planned]:
        """Decide, and write the plans and the first intents of our own parts."""
        plans = await self._decide(conn, ready)
        traces = [one.traceparent for one in ready]
        mine = [[part for part in plan.parts if self._leases.holds(part)] for plan in plans]
        held = {part for parts in mine for part in parts}
        held |= {partition(plan.strategy_id) for plan in plans}
        epochs = {part: self._leases.epoch(part) for part in sorted(held)}
        async with conn.pipeline():  # one round trip
            fenced = await self._leases.ask_fence(conn, epochs)
            await plan_rows.keep(conn, scope, list(zip(plans, traces, strict=True)))
        await fenced()
        ours = [{part: epochs[part] for part in parts} for parts in mine]
        begun = await self._intender.begin(
            conn, after, scope, list(zip(plans, traces, ours, strict=True))
        )
        made = []
        for one, plan, parts, start in zip(ready, plans, mine, begun, strict=True):
            await plan_rows.list_parts(conn, plan, start.done)
            say(one.span, {"version": plan.version, "accounts": plan.reasons.total()})
            took = self._clock.now() - one.received_at
            metrics.PLAN_SECONDS.observe(took.total_seconds())
            made.append(Planned(plan, one.traceparent, one.received_at, parts, start))
        return made
