"""From accepted signals to plans (steps 3 and 4): each signal of a strategy after the one before.

1. Find signals without a plan, in our partitions, oldest first: told by a wake-up or by the sweep.
2. One strategy's signals in order; the next waits until the orders of the last are in the book,
   for its position depends on them. Strategies that share an account take turns in the same way,
   for its limits count what all of them do (fanout/turn.py, fanout/usage.py).
3. Decode, read the snapshot and the market, decide (fanout/plan.py, pure).
4. Commit the plan, the signal's new state, the parts to do, the questions to people and the audit
   records, and with them the first intents of our own parts (fanout/intend.py). *Crash before: nobody
   traded, another worker plans. After: what has no intent is listed, another worker does it; intents
   that no lane knows are adopted as doubt.*
5. The other intents of our own parts at once, a wake-up for the others'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import structlog
from opentelemetry.trace import SpanKind

from fanout import metrics, plan_rows, telling
from fanout.accounts import Accounts
from fanout.as_named import as_named
from fanout.calendars import Calendars, NotLoaded
from fanout.gather import gather
from fanout.heard import Heard
from fanout.intend import Intender
from fanout.leases import LeaseLost, Leases
from fanout.mandate import Mandate
from fanout.plan import Plan, Rules, make_plan
from fanout.planned import NotPlanned, Planned
from fanout.refresh import Instrumented
from fanout.sequence import seed_of
from fanout.shadows import everybody, with_shadows
from fanout.signal import InvalidSignal, Signal, decode
from fanout.trace import current, say, under
from fanout.turn import Queues, ask_former_neighbours, plans_under_way, turn
from fanout.usage import UNWATCHED, Watched, watch
from tenancy.clock import Clock
from tenancy.database import Connection, Database, Told
from tenancy.errors import PortcullisError
from tenancy.pause import pause
from tenancy.scope import Actor, TenantScope
from tenancy.snapshot import Snapshot
from tenancy.store.snapshots import Version, ask_version, read_snapshot, with_unfollowed
from tenancy.values import SignalID, StrategyID, TenantID, partition

log = structlog.get_logger()

AT_ONCE = 64
POLL_S = 0.01
HOLD_S = 0.25
"""How long we keep our turn while neighbours' orders are on their way to the book: who gave it up at
once would never be first behind a neighbour that has always more to plan."""
HOLDERS = 2
"""How many do so at a time, each with a database connection."""
BEGIN_AGAIN = 5
"""Strategies that come to share our accounts while we plan."""
PLANNER = Actor(kind="algo", id="planner")

_SIGNAL = """
SELECT body, coalesce(not_before, received_at), traceparent, state, origin, accounts
FROM signals WHERE signal_id = %s FOR UPDATE"""
_ROTATION = "SELECT coalesce(max(rotation) + 1, 0) FROM plans WHERE strategy_id = %s"


class Intake:
    """Plans this worker's signals."""

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
        wake_parts: Callable[[SignalID, Sequence[int], str], None],
        look_again: Callable[[], None],
        may_have_ended: Callable[[SignalID], None],
        clock_untrusted: Callable[[TenantID], bool],
        heard: Heard,
    ) -> None:
        """`look_again` is called when a strategy's signals are planned and others have come meanwhile.

        `may_have_ended`: of a signal whose intents are written, for there may have been none.
        `clock_untrusted`: whether a tenant opens nothing by the clock as it is (fanout/switch.py).
        """
        self._database = database
        self._leases = leases
        self._accounts = accounts
        self._intender = intender
        self._instruments = instruments
        self._clock = clock
        self._rules = rules
        self._calendars = calendars
        self._wake_parts = wake_parts
        self._look_again = look_again
        self._may_have_ended = may_have_ended
        self._clock_untrusted = clock_untrusted
        self._heard = heard
        self._snapshots: dict[StrategyID, Snapshot] = {}
        self._watched: dict[StrategyID, Watched] = {}
        self._queues = Queues()
        self._holding = 0
        self._running: dict[StrategyID, asyncio.Task[None]] = {}
        self._at_hand: dict[StrategyID, set[tuple[SignalID, TenantID]]] = {}
        """What each of those tasks plans."""
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._more: set[StrategyID] = set()
        """Those of which others have come meanwhile."""
        self._seen: dict[SignalID, float] = {}
        """Signals that wait, and when we saw each first (monotonic)."""

    async def look(self) -> int:
        """Begin to plan what waits in our partitions; how many signals were found. Raises Unavailable."""
        parts = self._leases.parts()
        if not parts:
            return 0
        async with self._database.connection() as conn:
            rows = await (
                await conn.execute(
                    "SELECT signal_id, tenant_id, strategy_id"
                    " FROM find_accepted_signals(%s::smallint[], %s)",
                    (parts, AT_ONCE),
                )
            ).fetchall()
        by_strategy: dict[StrategyID, list[tuple[SignalID, TenantID]]] = {}
        now = self._clock.monotonic()
        self._seen = {signal: self._seen.get(signal, now) for signal, _, _ in rows}
        metrics.SIGNALS_WAITING.set(len(rows))
        for signal, tenant, strategy in rows:
            by_strategy.setdefault(strategy, []).append((signal, tenant))
        for strategy, signals in by_strategy.items():
            if strategy not in self._running:
                self._quiet.clear()
                self._running[strategy] = asyncio.create_task(self._strategy(strategy, signals))
                self._at_hand[strategy] = set(signals)
            elif not self._at_hand[strategy].issuperset(signals):
                self._more.add(strategy)
        if len(rows) == AT_ONCE:  # there may be more behind them
            self._more.update(self._running)
        return len(rows)

    def oldest_s(self) -> float:
        """For how long we have seen the signal that we saw first wait: no difference of two clocks."""
        now = self._clock.monotonic()
        return now - min(self._seen.values(), default=now)

    async def quiet(self, within_s: float) -> None:
        """Until no planning is under way, or until `within_s` has passed."""
        await pause(self._quiet, within_s)

    async def idle(self) -> None:
        """Until no planning is under way."""
        await self._quiet.wait()

    async def _strategy(
        self, strategy: StrategyID, signals: Sequence[tuple[SignalID, TenantID]]
    ) -> None:
        """Plan these, in order. An error ends it here: the sweep begins again."""
        try:
            for signal, tenant in signals:
                scope = TenantScope(tenant_id=tenant, actor=PLANNER)
                # Other workers' parts end in PostgreSQL: there is nothing here to wait for.
                while not await self._tried(scope, signal, strategy):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
            if strategy in self._more:  # not after an error, which then waits for the sweep
                self._look_again()
        except LeaseLost as error:
            log.info("planning_left_to_the_next_owner", strategy=str(strategy), why=str(error))
        except PortcullisError as error:
            log.warning("planning_waits", strategy=str(strategy), error=str(error))
        except Exception:
            log.exception("planning_failed", strategy=str(strategy))
        finally:
            self._more.discard(strategy)
            del self._running[strategy], self._at_hand[strategy]
            if not self._running:
                self._quiet.set()

    async def _tried(self, scope: TenantScope, signal: SignalID, strategy: StrategyID) -> bool:
        """plan_one; False also after a calendar was read for it, with no lock held meanwhile."""
        try:
            return await self.plan_one(scope, signal, strategy)
        except NotLoaded as missing:  # the transaction ended without a word written
            await self._calendars.load(missing.names, self._clock.now())
            return False

    async def plan_one(self, scope: TenantScope, signal: SignalID, strategy: StrategyID) -> bool:
        """Plan one signal and write our part of its intents; False while an earlier one holds it up.

        Raises LeaseLost, Unavailable, OutcomeUnknown: nothing of this plan was sent by us then.
        """
        for _ in range(BEGIN_AGAIN):
            async with self._queues.turn(strategy, self._neighbours(strategy)):
                async with AsyncExitStack() as after, self._database.tenant(scope) as conn:
                    made = await self._commit_plan(conn, scope, signal, strategy, after)
                if isinstance(made, Planned):
                    await self._intend(scope, signal, made)
                    return True
            if made is not NotPlanned.LOOK_AGAIN:
                return made is NotPlanned.NOTHING_TO_DO
        return False

    async def _intend(self, scope: TenantScope, signal: SignalID, made: Planned) -> None:
        plan, traceparent = made.plan, made.traceparent
        telling.planned(plan, traceparent, made.due_at)
        others = [part for part in plan.parts if part not in made.mine]
        if others:
            self._wake_parts(signal, others, traceparent)
        if set(made.mine) - made.begun.done:
            await self._intender.intend(scope, signal, made.mine, plan, traceparent, made.begun)
        if not others:  # nothing may have been wanted, or nothing that takes time
            self._may_have_ended(signal)

    def _neighbours(self, strategy: StrategyID) -> frozenset[StrategyID]:
        """As far as we know without asking."""
        kept = self._snapshots.get(strategy)
        return kept.neighbours if kept is not None else frozenset()

    async def _commit_plan(
        self, conn: Connection, scope: TenantScope, signal: SignalID, strategy: StrategyID,
        after: AsyncExitStack,
    ) -> Planned | NotPlanned:  # fmt: skip
        """Our turn on the strategy and its neighbours, then everything that is read, decided and
        kept in one transaction. With `after`, behind the commit, the plan's span ends and its first
        orders go to their lanes."""
        begun_ns = self._clock.now_ns()
        kept = self._snapshots.get(strategy)
        beside = self._neighbours(strategy)
        shared = self._watched.get(strategy, UNWATCHED).shared_parts
        waiting = plans_under_way(strategy, beside, shared)
        async with conn.pipeline():  # one round trip
            await turn(conn, strategy, *beside)
            asked_row = await conn.execute(_SIGNAL, (signal,))
            last_row = await conn.execute(_ROTATION, (strategy,))
            under_way = await conn.execute(*waiting)
            version, former = await self._ask_settings(conn, scope, strategy)
        row, last = await asked_row.fetchone(), await last_row.fetchone()
        if row is None or row[3] != "accepted":
            return NotPlanned.NOTHING_TO_DO
        body, received_at, traceparent, _, origin, named = row
        mandate = Mandate(origin=origin, accounts=None if named is None else frozenset(named))
        assert last is not None
        (rotation,) = last
        if before := await under_way.fetchall():
            if not await self._clear(conn, before, waiting):
                return NotPlanned.MUST_WAIT
            version, former = await self._ask_settings(conn, scope, strategy)  # time has passed
        snapshot = await self._snapshot(conn, strategy, await version())
        if snapshot is not kept:
            if snapshot.neighbours:
                return NotPlanned.LOOK_AGAIN
            _, former = await self._ask_settings(conn, scope, strategy)
        if await former():
            return NotPlanned.MUST_WAIT
        try:
            asked = decode(body)
        except InvalidSignal as error:  # kept by another version of us
            await plan_rows.refuse(
                conn, scope, signal, strategy, error, traceparent, self._clock.now()
            )
            telling.not_understood(signal, strategy, traceparent, error)
            return NotPlanned.NOTHING_TO_DO
        heard = self._heard.parent("signal", signal, traceparent)
        ids = {"signal_id": signal, "strategy_id": strategy, "tenant_id": scope.tenant_id}
        span = after.enter_context(
            under(heard, "plan", ids, kind=SpanKind.CONSUMER, begun_ns=begun_ns)
        )
        say(span, {"found_by": "sweep" if heard == traceparent else "wake"})
        traceparent = current(traceparent)
        plan = await self._decide(conn, snapshot, signal, asked, received_at, rotation, mandate)
        span.add_event("decided")
        mine = [part for part in plan.parts if self._leases.holds(part)]
        epochs = {part: self._leases.epoch(part) for part in mine}
        part = partition(strategy)
        async with conn.pipeline():  # one round trip
            held = {part: self._leases.epoch(part), **epochs}
            fenced = await self._leases.ask_fence(conn, held)
            await plan_rows.keep(conn, scope, plan, traceparent)
        await fenced()
        begun = await self._intender.begin(conn, after, scope, plan, traceparent, epochs)
        await plan_rows.list_parts(conn, plan, begun.done)
        say(span, {"version": plan.version, "accounts": plan.reasons.total()})
        metrics.PLAN_SECONDS.observe((self._clock.now() - received_at).total_seconds())
        return Planned(plan, traceparent, received_at, mine, begun)

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

    async def _decide(
        self,
        conn: Connection,
        snapshot: Snapshot,
        signal: SignalID,
        asked: Signal,
        received_at: datetime,
        rotation: int,
        mandate: Mandate,
    ) -> Plan:
        now = self._clock.now()
        watched: Watched | None = self._watched[snapshot.strategy.strategy_id]
        if mandate.forced and mandate.accounts is not None:
            snapshot, watched = await with_unfollowed(conn, snapshot, mandate.accounts), None
        if mandate.as_named and mandate.accounts is not None:
            snapshot, watched = as_named(snapshot, mandate.accounts), None
        calendars = self._calendars.known(snapshot.calendars, now)
        market = await gather(
            conn,
            snapshot,
            asked,
            self._instruments,
            calendars,
            at=now,
            mandate=mandate,
            watched=watched,
        )
        if self._clock_untrusted(snapshot.strategy.tenant_id):
            market = msgspec.structs.replace(market, clock_untrusted=True)
        make = partial(
            make_plan,
            asked,
            signal_id=signal,
            received_at=received_at,
            planned_at=now,
            seed=seed_of(signal),
            rotation=rotation,
            rules=self._rules,
            mandate=mandate,
        )
        return with_shadows(make, snapshot, market, mandate)

    async def _snapshot(self, conn: Connection, strategy: StrategyID, version: Version) -> Snapshot:
        """The snapshot at this version, or a newer one: the kept one, where it still holds."""
        kept = self._snapshots.get(strategy)
        if kept is None or Version(kept.strategy.version, kept.platform) != version:
            kept = await read_snapshot(conn, strategy)
            self._snapshots[strategy], self._watched[strategy] = kept, watch(everybody(kept))
        self._accounts.keep(row.account for row in kept.rows)
        self._accounts.keep(shadow.account for shadow in kept.shadows)
        return kept
