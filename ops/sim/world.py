"""One seed, from an empty database to a settled one: workers, signals, and what goes wrong.

1. A tenant with strategies and accounts, by the product's own functions.
2. Workers start; signals come; faults happen, at moments or at points of the work ("after commit").
3. After a while all goes well again: who is dead is started, who is frozen goes on.
4. The world settles: nothing is left that could be done. That it does, within a bound, is a claim, too.
5. Workers stop in order. The auditor looks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from uuid import UUID

import msgspec

from fanout.carry import Patience
from fanout.proving import ProvingSettings
from fanout.worker import Worker, WorkerSettings
from ops.sim.adapter import Line, SimulatedBroker
from ops.sim.chance import Mood, message, mood
from ops.sim.database import SimulatedDatabase, Store
from ops.sim.facts import Facts, Left, Stop, There, read
from ops.sim.judge import judge
from ops.sim.kill_switch import SOMEBODY, KillSwitch
from ops.sim.loop import BEGIN, HOST, Host, SimulatedLoop
from ops.sim.ours import make_our_own
from ops.sim.redis import SimulatedRedis
from ops.sim.trouble import Trouble
from ops.sim.venue import Request, Venue
from ops.sim.wire import clean
from tenancy.errors import PortcullisError
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.store.accounts import create_account, put_credential
from tenancy.store.hooks import create_hook
from tenancy.store.strategies import create_strategy
from tenancy.store.subscriptions import create_subscription
from tenancy.store.tenants import create_tenant
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, partition

SETTINGS = WorkerSettings(
    lease_ttl_s=4.0,
    open_window_s=14.0,
    signal_age_max_s=30.0,
    lease_beat_s=1.0,
    sweep_s=1.0,
    follow_s=1.0,
    instruments_s=4.0,
    balances_s=30.0,
    reconcile_s=5.0,
    stops_s=1.0,
    proving=ProvingSettings(poll_s=0.5),
)
PATIENCE = Patience(doubt_first_s=0.25, doubt_most_s=2.0)
SETTLES_S = 90.0

_UNSETTLED = """
SELECT 'signal ' || signal_id || ' is not planned' FROM signals WHERE state = 'accepted'
UNION ALL SELECT 'part ' || part || ' of ' || signal_id || ' is not written' FROM plan_parts
UNION ALL SELECT 'order ' || o.cl_ord_id || ' is ' || o.state FROM orders o
          WHERE o.state IN ('intent', 'in_doubt')
             OR o.state IN ('new', 'partially_filled') AND o.cancel_requested_at IS NOT NULL
             OR o.state = 'waiting' AND NOT EXISTS (
                SELECT FROM orders f WHERE f.signal_id = o.signal_id AND f.account_id = o.account_id
                AND f.leg = 0 AND f.state IN ('held', 'new', 'partially_filled'))
UNION ALL SELECT 'outcome of ' || signal_id || ' is not told' FROM signal_outcomes w WHERE done_at IS NULL
          AND NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = w.signal_id AND o.role = 'main' AND o.state
                          IN ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt'))
UNION ALL SELECT 'account ' || account_id || ' is ' || state FROM reconciliations WHERE state <> 'agreed'
UNION ALL SELECT 'intervention ' || intervention_id || ' goes on' FROM interventions WHERE state = 'working'
ORDER BY 1"""
# The lease under which it leaves; of a worker that has lost it, the one under which it was written.
_LEAVES = """
SELECT o.state, coalesce((SELECT l.epoch FROM leases l WHERE l.part = o.part AND l.holder = %s), o.epoch),
       (SELECT max(seq) FROM audit_inbox) FROM orders o WHERE o.cl_ord_id = %s"""
_RESTING = "SELECT cl_ord_id, cum_qty FROM orders WHERE state IN ('new', 'partially_filled')"


@dataclass
class Running:
    """A worker on its host."""

    host: Host
    worker: Worker
    task: asyncio.Task[None]
    stop: asyncio.Event


@dataclass
class World:
    """Everything of one seed."""

    store: Store
    seed: int
    say: Callable[[str], None] = lambda line: None
    loop: SimulatedLoop = field(default_factory=SimulatedLoop)
    running: list[Running] = field(default_factory=list)
    ended: list[Running] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stepped_s: float = 0.0

    def __post_init__(self) -> None:
        self.random = Random(f"{self.seed}:world")
        self.mood: Mood = mood(self.random)
        self.line = Line(self.loop, Random(f"{self.seed}:line"), self.mood)
        self.venue = Venue(self.loop, Random(f"{self.seed}:venue"))
        self.redis = SimulatedRedis(Random(f"{self.seed}:redis"))
        self.history = hashlib.sha256()
        self.trouble = Trouble(self)
        self.kill_switch = KillSwitch(self)
        self.quiet = False
        self._names = 0

    def counts(self) -> dict[str, int]:
        """Orders that the exchange took, faults that happened, findings by kind."""
        kinds = Counter(line.partition(":")[0] for line in self.wrong)
        return {
            "orders": len(self.venue.orders),
            "faults": self.line.faults.total(),
            "lost": kinds["lost"],
            "doubled": kinds["doubled"],
            "unexplained": kinds["unexplained"],
        }

    # -------------------------------------------------------------- the whole

    def run(self) -> None:
        """All five steps. What is then to be looked at is in the database and in `venue`."""
        clean(self.store.monitor)
        self.store.begin(self.loop, Random(f"{self.seed}:store"))
        self.store.point = self.trouble.point
        self.line.point = self.trouble.point
        self.line.leaves = self._leaves
        make_our_own(self.loop, Random(f"{self.seed}:ids"))
        try:
            self.loop.run_until_complete(self._story())
            self.wrong += judge(self._facts())
            self.wrong += [f"unexplained: {error}" for error in self.loop.errors]
            self.history.update(self.store.history.digest())
        finally:
            self._clear_away()

    async def _story(self) -> None:
        await self._set_up()
        for _ in range(self.mood.workers):
            self.start()
        await asyncio.sleep(1.5)
        ends_s = self.loop.time() + self.mood.lasts_s
        for _ in range(self.mood.signals):
            delay = self.random.uniform(0, self.mood.lasts_s * 0.9)
            self.loop.outside(delay, self._signal)
        for _ in range(self.mood.moments):
            self.trouble.plan()
        renewing = self.loop.create_task(self.trouble.renew())
        while self.loop.time() < ends_s:
            await asyncio.sleep(0.5)
            if self.random.random() < 0.3:
                self._trade_something()
        renewing.cancel()
        await self._heal()
        await self._settle()
        await self._stop()

    def note(self, line: str) -> None:
        """One line of the history: what makes two runs of a seed the same or not."""
        text = f"{self.loop.time():10.6f} {line}"
        self.history.update(text.encode())
        self.say(text)

    # -------------------------------------------------------------- set up

    async def _set_up(self) -> None:
        admin = SimulatedDatabase(self.store, "admin", None)
        self.admin = admin
        self.scope: TenantScope = await create_tenant(admin, "Acme", SOMEBODY)
        self.strategies: list[tuple[UUID, str]] = []
        self.accounts: list[AccountID] = []
        async with admin.tenant(self.scope) as conn:
            for index in range(self.mood.accounts):
                account = await create_account(
                    conn, self.scope, f"account {index}", broker="gateio", currency="USDT",
                    stated_equity=Decimal(10_000),
                )  # fmt: skip
                await put_credential(
                    conn, self.scope, account, broker="gateio", api_key=f"key {index}", sealed=b"sealed"
                )  # fmt: skip
                self.accounts.append(account)
            for index in range(self.mood.strategies):
                strategy = await create_strategy(
                    conn, self.scope, f"strategy {index}",
                    settings=StrategySettings(default_quantity=Decimal(3)),
                )  # fmt: skip
                hook = await create_hook(conn, self.scope, strategy)
                self.strategies.append((strategy, hook))
                for place, account in enumerate(self.accounts):
                    adds = self.random.random() < 0.5
                    settings = SubscriptionSettings(allow_add_to_position=adds)
                    await create_subscription(
                        conn, self.scope, strategy, account, settings=settings, priority=place
                    )
        self.store.monitor.execute("UPDATE credentials SET state = 'live'")

    def start(self) -> None:
        self._names += 1
        host = Host(f"w{self._names}", self.loop)
        context = Context()
        context.run(HOST.set, host)
        running = context.run(self._start_on, host)
        self.running.append(running)
        running.task.add_done_callback(lambda task: self._worker_ended(running), context=Context())
        self.note(f"{host.name} starts")

    def _start_on(self, host: Host) -> Running:
        worker = Worker(
            database=SimulatedDatabase(self.store, "worker", host),
            redis=self.redis,  # type: ignore[arg-type]
            brokers={"gateio": SimulatedBroker(self.venue, self.line, host, self.note)},
            clock=host,
            worker_id=host.name,
            settings=msgspec.structs.replace(
                SETTINGS, sweep_s=self.mood.sweep_s, crowd=self.mood.crowd
            ),
            patience=PATIENCE,
        )
        stop = asyncio.Event()
        return Running(host, worker, self.loop.create_task(worker.run(stop)), stop)

    def _worker_ended(self, running: Running) -> None:
        """By itself: its supervisor starts another. An error there is a finding, unless it was told so."""
        if running not in self.running or running.stop.is_set():
            return
        self.running.remove(running)
        self.ended.append(running)
        error = None if running.task.cancelled() else running.task.exception()
        self.note(f"{running.host.name} ended by itself: {error!r}")
        if not isinstance(error, PortcullisError):
            self.wrong.append(f"unexplained: worker {running.host.name} ended by itself: {error!r}")
        self.kill(running)
        self.loop.outside(1.0, self.start)

    # -------------------------------------------------------------- what comes in

    def _signal(self) -> None:
        """A sender's message, kept as ingress keeps it. While PostgreSQL is away it comes again."""
        if self.store.away:
            self.loop.outside(0.5, self._signal)
            return
        strategy, hook = self.random.choice(self.strategies)
        body = json.dumps(message(self.random, self.venue.prices)).encode()
        signal = new_id()
        self.store.monitor.execute(
            "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part,"
            " body, body_sha256, traceparent, received_at, state)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'accepted')",
            (
                signal, self.scope.tenant_id, strategy, hook, str(signal), partition(strategy), body,
                hashlib.sha256(body).digest(), f"00-{signal.hex}-{'1' * 16}-01", self.loop.utc(),
            ),
        )  # fmt: skip
        self.sent.append(str(signal))
        self.note(f"signal {signal} {body.decode()}")
        if not self.redis.away and self.random.random() < 0.8:
            part = partition(strategy)
            self.redis.add({"kind": "signal", "id": str(signal), "part": str(part)})

    def _trade_something(self) -> None:
        resting = list(self.venue.resting())
        if resting:
            placed = self.random.choice(resting)
            self.venue.trade(placed, Decimal(self.random.randint(1, int(placed.request.qty))))
            self.note(f"venue fills #{placed.number} to {placed.filled}")

    # -------------------------------------------------------------- hosts

    def kill(self, running: Running) -> None:
        self.loop.kill(running.host)
        for conn in self.store.sessions(running.host):
            self.store.lose(conn, "its process died")

    def thaw(self, host: Host) -> None:
        if host.frozen and not host.dead:
            self.note(f"{host.name} thaws")
            host.thaw()

    # -------------------------------------------------------------- for the auditor

    def _leaves(self, request: Request) -> None:
        """A request leaves its worker: what does the book say of it at this moment?"""
        row = self.store.monitor.execute(_LEAVES, (request.host, request.text)).fetchone()
        state, epoch, seq = row or (None, 0, 0)
        now = self.loop.time()
        expired = now > request.deadline_s
        self.left.append(
            Left(
                request.text, request.host, now, state, expired, epoch, seq,
                reduce_only=request.reduce_only, qty=request.qty,
            )
        )  # fmt: skip

    def _facts(self) -> Facts:
        names = {placed.number: placed.request.text for placed in self.venue.orders}
        there = [
            There(
                number=placed.number, account=placed.request.account, name=placed.request.text,
                symbol=placed.request.symbol, side=placed.request.side, qty=placed.request.qty,
                filled=placed.filled, open=placed.status in ("new", "partially_filled"),
                at_s=placed.at_s,
            )
            for placed in self.venue.orders
        ]  # fmt: skip
        return Facts(
            sent=tuple(self.sent),
            there=tuple(there),
            trades=tuple((t.at_s, names[t.number], t.lots) for t in self.venue.trades),
            left=tuple(self.left),
            stops=tuple(Stop(h.scope, h.of, h.since_s, h.until_s) for h in self.kill_switch.halts),
            slack_s=self.stepped_s,
            **read(self.store.monitor, BEGIN),
        )

    # -------------------------------------------------------------- the end

    async def _heal(self) -> None:
        """From now on nothing goes wrong."""
        self.quiet = self.line.quiet = True
        self.trouble.traps.clear()
        self.redis.away = self.venue.away = False
        self.store.come_back()
        for running in self.running:
            running.host.step_s = 0.0
            self.thaw(running.host)
        while len(self.running) < self.mood.workers:
            self.start()
        self.note("all is well")

    async def _settle(self) -> None:
        ends_s = self.loop.time() + SETTLES_S
        await asyncio.sleep(5.0)  # halts are released, what was late has come
        while left := self._unsettled():
            if self.loop.time() > ends_s:
                self.wrong += [
                    f"lost: after {SETTLES_S:g} s without a fault {line}" for line in left
                ]
                return
            await asyncio.sleep(1.0)
            if self.loop.time() > ends_s - SETTLES_S / 2:
                self.venue.still = True

    def _unsettled(self) -> list[str]:
        left = [row[0] for row in self.store.monitor.execute(_UNSETTLED).fetchall()]
        booked: dict[str, Decimal] = dict(self.store.monitor.execute(_RESTING).fetchall())
        there = {placed.request.text: placed for placed in self.venue.resting()}
        for name in sorted(booked.keys() ^ there.keys()):
            left.append(f"order {name} rests for one side only")
        for name in sorted(booked.keys() & there.keys()):
            if booked[name] != there[name].filled:
                left.append(f"order {name} has {booked[name]} filled, {there[name].filled} there")
        return left

    async def _stop(self) -> None:
        self.note("stop")
        self.venue.still = True  # nobody is there any more who could learn of a fill
        for running in self.running:
            running.stop.set()
        _, late = await asyncio.wait([r.task for r in self.running], timeout=20.0)
        if late:
            self.wrong.append(f"unexplained: {len(late)} workers did not stop within 20 s")
        for running in self.running:
            if running.task.done() and running.task.exception() is not None:
                self.wrong.append(f"unexplained: stopping: {running.task.exception()!r}")

    def _clear_away(self) -> None:
        """What dead hosts left hanging ends now, where it can do nothing any more."""
        self.store.begin(self.loop, Random(0))
        self.store.go_away()
        hosts = [each.host for each in (*self.running, *self.ended)]
        for _ in range(3):
            tasks = [task for host in hosts for task in host.tasks if not task.done()]
            tasks += [t for t in asyncio.all_tasks(self.loop) if not t.done() and t not in tasks]
            if not tasks:
                break
            for host in hosts:
                host.dead = host.frozen = False
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        self.loop.close()
