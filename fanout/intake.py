"""From accepted signals to plans (steps 3 and 4): each signal of a strategy after the one before.

1. Find signals without a plan, in our partitions, oldest first: told by a wake-up or by the sweep.
2. One strategy's signals in order; the next waits until the orders of the last are in the book,
   for its position depends on them. Strategies that share an account take turns in the same way,
   for its limits count what all of them do (fanout/turn.py, fanout/usage.py).
3. Decode, read the snapshot and the market, decide (fanout/planner.py), several strategies' signals of a
   tenant at a time where they wait at the same time (fanout/together.py).
4. Commit the plan, the signal's new state, the parts to do, the questions to people and the audit
   records, and with them the first intents of our own parts (fanout/intend.py). *Crash before: nobody
   traded, another worker plans. After: what has no intent is listed, another worker does it; intents
   that no lane knows are adopted as doubt.*
5. The other intents of our own parts at once, a wake-up for the others'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from fanout import metrics, telling
from fanout.calendars import Calendars, NotLoaded
from fanout.intend import Intender
from fanout.leases import LeaseLost, Leases
from fanout.planned import NotPlanned, Planned
from fanout.planner import POLL_S, Planner, Wanted
from fanout.together import Together
from fanout.turn import Queues
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.pause import pause
from tenancy.scope import Actor, TenantScope
from tenancy.values import SignalID, StrategyID, TenantID

log = structlog.get_logger()

AT_ONCE = 64
WAITED_SHARE, POLL_MOST_S = 0.25, 0.25
BEGIN_AGAIN = 5
"""Strategies that come to share our accounts while we plan."""
PLANNER = Actor(kind="algo", id="planner")


def again_in_s(waited_s: float) -> float:
    """When to ask again for a signal that an earlier one holds up: it waits a quarter longer than it has to, or
    a quarter of a second, and who waits for long asks seldom. Pure."""
    return min(max(POLL_S, waited_s * WAITED_SHARE), POLL_MOST_S)


class Intake:
    """Plans this worker's signals."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        planner: Planner,
        intender: Intender,
        clock: Clock,
        calendars: Calendars,
        wake_parts: Callable[[SignalID, Sequence[int], str], None],
        look_again: Callable[[], None],
        may_have_ended: Callable[[SignalID], None],
    ) -> None:
        """`look_again` is called when a strategy's signals are planned and others have come meanwhile.

        `may_have_ended`: of a signal whose intents are written, for there may have been none.
        """
        self._database = database
        self._leases = leases
        self._planner = planner
        self._together = Together(planner.plan)
        self._intender = intender
        self._clock = clock
        self._calendars = calendars
        self._wake_parts = wake_parts
        self._look_again = look_again
        self._may_have_ended = may_have_ended
        self._queues = Queues()
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
                since = self._clock.monotonic()
                while not await self._tried(scope, signal, strategy):  # noqa: ASYNC110
                    await asyncio.sleep(again_in_s(self._clock.monotonic() - since))
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
        wanted = Wanted(signal, strategy)
        for _ in range(BEGIN_AGAIN):
            async with self._queues.turn(strategy, self._planner.neighbours(strategy)):
                made = await self._together.plan(scope, wanted)
                if made is NotPlanned.MUST_WAIT:
                    (made,) = await self._planner.plan(scope, [wanted], patient=True)
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
