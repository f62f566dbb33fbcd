"""A worker: plans signals and carries orders, for the partitions it holds.

Told by wake-ups (Redis), made sure by a sweep (PostgreSQL): the sweep alone is enough. Start-up
and repair are one path: whatever the sweep finds that no lane has in hand is adopted. An intent
or a doubt is asked about at the broker first; an acknowledged order is followed; a second leg
waits for its first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from fanout import approvals, book, metrics, wake
from fanout.accounts import Accounts
from fanout.adopting import ADOPTER, Adopter
from fanout.breaker import Breakers
from fanout.calendars import Calendars
from fanout.carry import Carrier, Patience
from fanout.crowd import Crowd
from fanout.dead_man import DeadMen
from fanout.doubts import Doubts
from fanout.drift_decisions import DriftDecisions
from fanout.follow import Follower
from fanout.heard import Heard
from fanout.hints import Hints
from fanout.intake import Intake
from fanout.intend import Intender
from fanout.intend_approved import ApprovedIntender
from fanout.interventions import Interventions
from fanout.lanes import Lanes
from fanout.learner import Learner
from fanout.leases import LeaseLost, Leases
from fanout.order import Order
from fanout.outcomes import Outcomes
from fanout.parts import Parts
from fanout.pictures import PictureWriter
from fanout.plan import Rules
from fanout.planner import Planner
from fanout.ports import Broker, BrokerAccount
from fanout.proving import Prover
from fanout.reconcile import Reconciler
from fanout.reconcile_gate import ReconcileGate
from fanout.reconcile_judging import Judge
from fanout.refresh import Balances, Instrumented
from fanout.shares import Crew
from fanout.spill import Spiller, SpillPlace
from fanout.spill_drain import Drain
from fanout.statements import Statements
from fanout.stops import StopEngine, StopSettings
from fanout.stops_venues import Venues
from fanout.switch import Switch
from fanout.waker import Waker, WakeSettings
from fanout.worker_settings import WorkerSettings as WorkerSettings
from fanout.writing import Writer
from tenancy.clock import Clock
from tenancy.clock_quality import Quality, unmeasured
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.pause import pause
from tenancy.scope import TenantScope
from tenancy.values import SignalID, StrategyID, partition

log = structlog.get_logger()

OPEN_AGAIN_S = 1.0


class Worker:
    """Everything one worker process does, between start and stop."""

    def __init__(
        self,
        *,
        database: Database,
        redis: Redis,
        brokers: Mapping[str, Broker],
        clock: Clock,
        worker_id: str,
        settings: WorkerSettings,
        patience: Patience | None = None,
        quality: Callable[[], Quality] = unmeasured,
        spill: SpillPlace | None = None,
        crew: Crew | None = None,
    ) -> None:
        """Without `spill` nothing at all leaves while PostgreSQL is away. `crew` is told who is live."""
        settings.check(brokers)
        self._woken = asyncio.Event()
        self._wanted: set[wake.Kind] = set()
        """What we were woken for since the last look."""
        self._heard = Heard()
        self._database = database
        self._redis = redis
        self._brokers = brokers
        self._clock = clock
        self._settings = settings
        self.leases = Leases(database, clock, worker_id, ttl_s=settings.lease_ttl_s, crew=crew)
        self._accounts = Accounts(database, clock)
        known: set[str] = set()
        self.outcomes = Outcomes(database, self.leases, clock, lambda s: self.intake.quiet(s))
        self.instruments = Instrumented(
            brokers,
            clock,
            stale_s=settings.instruments_stale_s,
            pictures=PictureWriter(database, worker_id),
        )
        venues = Venues(brokers, self.instruments.by_broker)
        crowd = Crowd(settings.crowd)
        learner = Learner(
            database, self.leases, known, venues,
            lambda scope, names: self.stops.watch(scope, names), self.outcomes.may_have_ended,
            crowd,
        )  # fmt: skip
        self.switch = Switch(database, clock, quality)
        patience = msgspec.structs.replace(
            patience or Patience(), durable_within_s=settings.durable_within_s
        )
        self.doubts = Doubts(
            database, self.leases, clock, look_s=settings.doubts_s, stuck_s=settings.stuck_s,
            old_s=settings.doubt_old_s,
        )  # fmt: skip
        self.breakers = Breakers(settings.breaker)
        self.reconciler = Reconciler(
            database, brokers, self._accounts, self.leases, clock,
            DriftDecisions(
                database, self.leases, clock, self._wake_signal, lambda a: self.reconciler.look(a)
            ),
            every_s=settings.reconcile_s,
        )  # fmt: skip
        gate = ReconcileGate(
            clock, self.leases, self.switch, lambda name: brokers[name].caps.remembers,
            self.reconciler.wanted,
        )  # fmt: skip
        carrier = Carrier(
            brokers, self.leases, learner, clock, patience, self.switch, self._accounts.current,
            self.breakers, self._is_unwanted, gate, self.doubts, crowd,
        )  # fmt: skip
        self.reconciler.begin(gate, Judge(database, brokers, clock, carrier.look))
        self.lanes = Lanes(carrier, lambda job: self._follower.add(job), known)
        self._follower = Follower(carrier, self.leases, self.lanes.put, known)
        self._hints = Hints(
            brokers, self._open_accounts, self._follower, clock.monotonic, self.reconciler.look
        )
        self._dead_men = DeadMen(brokers, self._open_accounts, self.leases.holds, clock.monotonic)
        self._adopter = Adopter(
            database, self.leases, self._accounts, self.lanes, self._follower, clock
        )
        self._balances = Balances(database, brokers, self._accounts, self.leases)
        self._statements = Statements(database, brokers, self._accounts, self.leases, clock)
        told = settings.proving
        self._prover = Prover(database, self.leases, self._accounts, brokers, clock, told)
        writer = Writer(
            database, self._accounts, self.lanes, clock, venues,
            lambda scope, names: self.stops.watch(scope, names),
        )  # fmt: skip
        self._intender = Intender(database, self.leases, writer, clock, self._heard)
        self.stops = StopEngine(
            database, self.leases, self._accounts, writer, self.lanes, brokers, venues, clock,
            StopSettings(
                poll_s=settings.stops_s, sweep_s=settings.sweep_s,
                stale_s=settings.instruments_stale_s, open_window_s=settings.open_window_s,
            ),
            self._switched_off,
        )  # fmt: skip
        self._spiller: Spiller | None = None
        if spill is not None:
            self._spiller = Spiller(
                spill, Drain(database, clock, spill.directory, spill.key), self.leases, self.switch,
                self._follower, self.stops, self.lanes, self._accounts, brokers, clock,
                settings.instruments_stale_s,
            )  # fmt: skip
        calendars = Calendars()
        self._approved = ApprovedIntender(
            database, self.leases, writer, self.instruments, calendars, clock
        )
        self._parts = Parts(database, self.leases, self._intender, self._approved)
        planner = Planner(
            database, self.leases, self._accounts, self._intender, self.instruments, clock,
            Rules(signal_age_max_s=settings.signal_age_max_s, open_window_s=settings.open_window_s),
            calendars, self.switch.clock_untrusted, self._heard,
        )  # fmt: skip
        self.intake = Intake(
            database, self.leases, planner, self._intender, clock, calendars, self._wake_parts,
            lambda: self._look("signal"), self.outcomes.may_have_ended,
        )  # fmt: skip
        self._waker = Waker(redis, WakeSettings())
        self._interventions = Interventions(
            database, self.leases, self._accounts, self.lanes.put, self.switch, clock,
            self._wake_signal,
        )  # fmt: skip

    def _open_accounts(self) -> Iterator[tuple[str, BrokerAccount]]:
        for broker, account in self._follower.open_accounts():
            yield broker, self._accounts.current(account)

    async def execution(self) -> str:
        """For /readyz: which brokers do not answer, and which switches they did not confirm."""
        return f"{self.breakers.words()}; {self._dead_men.words()}"

    async def _is_unwanted(self, scope: TenantScope, order: Order) -> bool:
        """PostgreSQL away: nobody's wish is known, and the lease ends what goes on."""
        try:
            async with self._database.tenant(scope) as conn:
                return await book.is_unwanted(conn, order)
        except PortcullisError:
            return False

    def _switched_off(self, order: Order) -> str:
        refused = self.switch.refused_now(order)
        return "" if refused is None else refused.words

    def __repr__(self) -> str:
        return f"Worker({self.leases!r}, {self.lanes!r})"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Then: no new work, lanes finish what they have, partitions are given back."""
        for gauge, now in (
            (metrics.SWITCH_AGE, lambda: self.switch.age_s),
            (metrics.LANES_WAITING, self.lanes.waiting),
            (metrics.LANE_OLDEST, self.lanes.oldest_s),
            (metrics.SIGNALS_OLDEST, self.intake.oldest_s),
        ):  # asked at each look: what stands still must not stand still here, too
            gauge.set_function(now)
        closed = await self._open(self._brokers)
        await self.instruments.refresh()
        await self.switch.read()
        if self._spiller is not None:
            await self._spiller.take_over()
        await self._waker.start()
        s = self._settings
        tasks = [
            asyncio.create_task(coroutine, name=name)
            for name, coroutine in (
                ("leases", self.leases.keep(stop, every_s=s.lease_beat_s)),
                ("instruments", self.instruments.run(stop, every_s=s.instruments_s)),
                ("balances", self._balances.run(stop, every_s=s.balances_s)),
                ("follower", self._follower.run(stop, every_s=s.follow_s)),
                ("hints", self._hints.run(stop)),
                ("dead-men", self._dead_men.run(stop)),
                ("stops", self.stops.run(stop)),
                ("open", self._keep_opening(closed, stop)),
                ("switch", self.switch.run(stop)),
                ("doubts", self.doubts.run(stop)),
                ("interventions", self._interventions.run(stop)),
                ("sweep", self._sweep(stop)),
                ("outcomes", self.outcomes.run(stop)),
                ("proofs", self._prover.run(stop)),
                ("statements", self._statements.run(stop)),
                ("reconcile", self.reconciler.run(stop)),
                ("wake", self._listen(stop)),
                *([("spill", self._spiller.run(stop))] if self._spiller is not None else []),
            )
        ]
        try:
            await self._until(stop, tasks)
        finally:
            stop.set()
            for task in tasks:
                if task.get_name() == "wake":
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._leave()
            await self._waker.stop()

    async def _open(self, names: Iterable[str]) -> list[str]:
        """Open these brokers; the names of those that would not. One that is away stops no other."""
        closed = []
        for name in names:
            try:
                await self._brokers[name].open()
            except PortcullisError as error:
                log.warning("broker_not_open", broker=name, error=str(error))
                closed.append(name)
        return closed

    async def _keep_opening(self, closed: list[str], stop: asyncio.Event) -> None:
        """Until every broker is open; meanwhile its accounts' plans say `not_connected`."""
        while not stop.is_set():
            await pause(stop, OPEN_AGAIN_S if closed else None)
            closed = await self._open(closed)

    async def _until(self, stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Until told to stop, or until a task that must not end has ended: then raise its error."""
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in done:
            if task is not stopping:
                task.result()

    async def _leave(self) -> None:
        with contextlib.suppress(TimeoutError, PortcullisError):
            async with asyncio.timeout(self._settings.lease_ttl_s):
                await self.intake.idle()
                await self._parts.idle()
                await self.lanes.idle()
                await self.outcomes.look()
        # A lane that did not finish may have a request under way: its partition is not given
        # away, the lease runs out, and a lease outlives every request that it allowed.
        idle = set(self.leases.parts()) - self.lanes.busy_parts()
        with contextlib.suppress(PortcullisError):
            await self.leases.release(sorted(idle))
        for broker in self._brokers.values():
            await broker.close()

    async def _listen(self, stop: asyncio.Event) -> None:
        """Wake-ups from Redis. Away: the sweep goes on alone."""
        last: bytes | str = "$"
        while not stop.is_set():
            try:
                entries: Any = await self._redis.xread({wake.STREAM: last}, block=1000)
                if entries:
                    last = entries[0][1][-1][0]
                    self._hear([fields for _, fields in entries[0][1]])
            except (RedisError, OSError) as error:
                last = "$"
                log.warning("wake_ups_away", error=str(error))
                await asyncio.sleep(self._settings.sweep_s)

    def _hear(self, said: Sequence[Mapping[bytes, bytes]]) -> None:
        for told in filter(None, map(wake.read, said)):
            if told.kind == "halt":
                self.switch.look()
            elif self.leases.holds(told.part):  # else its owner hears the same
                self._heard.note(told)
                self._look(told.kind)

    def _look(self, kind: wake.Kind) -> None:
        self._wanted.add(kind)
        self._woken.set()

    def _wake_signal(self, signal: SignalID, strategy: StrategyID) -> None:
        self._look("signal")
        self._waker.wake([wake.Wake(kind="signal", id=signal, part=partition(strategy))])

    def _wake_parts(self, signal: SignalID, parts: Sequence[int], traceparent: str) -> None:
        self._waker.wake([wake.Wake("plan", signal, part, traceparent) for part in parts])

    async def _sweep(self, stop: asyncio.Event) -> None:
        """Look for what we were woken for, and every `sweep_s` seconds for everything."""
        next_sweep = 0.0
        while not stop.is_set():
            wanted, self._wanted = self._wanted, set()
            due = self._clock.monotonic() >= next_sweep
            try:
                if due or "signal" in wanted:
                    found = await self.intake.look()
                    if "signal" not in wanted:
                        metrics.SWEEPS.labels("signals").inc(found)
                if due or "plan" in wanted:
                    await self._parts.look()
                if due:
                    await self._adopter.adopt()
                    await self._expire()
                    await self._give_back()
                    next_sweep = self._clock.monotonic() + self._settings.sweep_s
            except LeaseLost as error:
                log.info("sweep_lost_a_lease", why=str(error))
            except PortcullisError as error:
                log.warning("sweep_failed", error=str(error))
            except Exception:  # one row that we cannot read must not stop everybody's orders
                log.exception("sweep_failed")
            await pause(self._woken, self._settings.sweep_s)
            self._woken.clear()

    async def _expire(self) -> None:
        """End the questions of our partitions that nobody answered in time."""
        now, parts = self._clock.now(), self.leases.parts()
        async with self._database.connection() as conn:
            query = "SELECT tenant_id FROM find_due_approvals(%s::smallint[], %s)"
            tenants = await (await conn.execute(query, (parts, now))).fetchall()
        for (tenant,) in tenants:
            scope = TenantScope(tenant_id=tenant, actor=ADOPTER)
            async with self._database.tenant(scope) as conn:
                await approvals.expire_due(conn, scope, now, parts)

    async def _give_back(self) -> None:
        """Release partitions beyond our share once their lanes are idle."""
        idle = self.leases.leaving() - self.lanes.busy_parts()
        if idle:
            await self.leases.release(sorted(idle))
