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
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import fanout.waker
import tenancy.ids
from audit import inbox, ring
from audit.ring import Ring, Row
from fanout import intervention_rows
from fanout.carry import Patience
from fanout.intervention_rows import STATE_OF, Intervention
from fanout.proving import ProvingSettings
from fanout.worker import Worker, WorkerSettings
from ops.sim.adapter import Line, SimulatedBroker
from ops.sim.chance import Mood, message, mood
from ops.sim.database import SimulatedDatabase, Store, clean
from ops.sim.facts import Facts, Left, Stop, There, read
from ops.sim.judge import judge
from ops.sim.loop import BEGIN, HOST, Host, SimulatedLoop
from ops.sim.redis import SimulatedRedis
from ops.sim.venue import Request, Venue
from tenancy.errors import PortcullisError
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.store.accounts import create_account
from tenancy.store.hooks import create_hook
from tenancy.store.strategies import create_strategy
from tenancy.store.subscriptions import create_subscription
from tenancy.store.tenants import create_tenant
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import partition

SETTINGS = WorkerSettings(
    lease_ttl_s=4.0,
    open_window_s=8.0,
    signal_age_max_s=30.0,
    lease_beat_s=1.0,
    sweep_s=1.0,
    follow_s=1.0,
    instruments_s=4.0,
    balances_s=30.0,
    stops_s=1.0,
    proving=ProvingSettings(poll_s=20.0),  # no account here has a key
)
PATIENCE = Patience(doubt_first_s=0.25, doubt_most_s=2.0)
SETTLES_S = 90.0
IDLE_S = 10.0
"""PostgreSQL ends a transaction in which nothing was said for so long (tenancy.database.IDLE_S)."""
POINTS = ("before commit", "after commit", "before send", "sent", "answered", "find")
SOMEBODY = Actor(kind="human", id="simulation")

_UNSETTLED = """
SELECT 'signal ' || signal_id || ' is not planned' FROM signals WHERE state = 'accepted'
UNION ALL SELECT 'part ' || part || ' of ' || signal_id || ' is not written' FROM plan_parts
UNION ALL SELECT 'order ' || cl_ord_id || ' is ' || state FROM orders
          WHERE state IN ('intent', 'in_doubt', 'waiting')
             OR state IN ('new', 'partially_filled') AND cancel_requested_at IS NOT NULL
UNION ALL SELECT 'intervention ' || intervention_id || ' goes on' FROM interventions WHERE state = 'working'
ORDER BY 1"""
_RESTING = "SELECT cl_ord_id, cum_qty FROM orders WHERE state IN ('new', 'partially_filled')"


class Clear(Ring):
    """Payloads stay as they are: keys are another part's matter, and the auditor reads."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]

    async def prepare(self, tenant: Any, subjects: Any) -> None: ...

    async def seal_all(self, rows: Any) -> list[bytes]:
        some: list[Row] = list(rows)
        return [payload for _, _, payload, _ in some]


@dataclass
class Running:
    """A worker on its host."""

    host: Host
    worker: Worker
    task: asyncio.Task[None]
    stop: asyncio.Event


@dataclass
class Halt:
    """An act of the kill switch, for the auditor: from when to when nothing of it may open."""

    level: str
    scope: str
    of: str
    since_s: float = float("inf")
    until_s: float = float("inf")


@dataclass
class Trap:
    """What happens when a host comes to a point for the `countdown`th time."""

    point: str
    countdown: int
    act: str


@dataclass
class World:
    """Everything of one seed."""

    store: Store
    seed: int
    say: Callable[[str], None] = lambda line: None
    loop: SimulatedLoop = field(default_factory=SimulatedLoop)
    running: list[Running] = field(default_factory=list)
    ended: list[Running] = field(default_factory=list)
    halts: list[Halt] = field(default_factory=list)
    traps: list[Trap] = field(default_factory=list)
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
        self._names = 0
        self._quiet = False

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
        self.store.point = self._point
        self.line.point = self._point
        self.line.leaves = self._leaves
        _make_our_own(self.loop, Random(f"{self.seed}:ids"))
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
            self._start()
        await asyncio.sleep(1.5)
        ends_s = self.loop.time() + self.mood.lasts_s
        for _ in range(self.mood.signals):
            delay = self.random.uniform(0, self.mood.lasts_s * 0.9)
            self.loop.outside(delay, self._signal)
        for _ in range(self.mood.moments):
            self._plan_a_moment()
        while self.loop.time() < ends_s:
            await asyncio.sleep(0.5)
            if self.random.random() < 0.3:
                self._trade_something()
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
        self.accounts: list[UUID] = []
        async with admin.tenant(self.scope) as conn:
            for index in range(self.mood.accounts):
                account = await create_account(
                    conn, self.scope, f"account {index}", broker="gateio", currency="USDT",
                    stated_equity=Decimal(10_000),
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

    def _start(self) -> None:
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
            settings=SETTINGS,
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
        self._kill(running)
        self.loop.outside(1.0, self._start)

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

    # -------------------------------------------------------------- what goes wrong

    def _plan_a_moment(self) -> None:
        act = self.random.choice(self.mood.moments_of)
        if act in ("crash", "freeze", "connection_lost") and self.random.random() < 0.7:
            self.traps.append(Trap(self.random.choice(POINTS), self.random.randint(1, 25), act))
            return
        at_s = self.random.uniform(0.2, self.mood.lasts_s)
        self.loop.outside(at_s, self._do, act)

    def _point(self, name: str, host: Host, conn: Any = None) -> bool:
        """Something of this host's comes by; True where something happened to it."""
        for trap in self.traps:
            if trap.point != name:
                continue
            trap.countdown -= 1
            if trap.countdown == 0:
                self.traps.remove(trap)
                return self._befall(trap.act, host, conn)
        return False

    def _do(self, act: str) -> None:
        if self._quiet:
            return
        alive = [each for each in self.running if not each.host.frozen]
        if act in ("crash", "freeze", "connection_lost", "clock_step"):
            if alive:
                self._befall(act, self.random.choice(alive).host, None)
            return
        self.line.faults[act] += 1
        lasts_s = self.random.uniform(0.3, 4.0)
        self.note(f"{act} for {lasts_s:.2f} s")
        if act == "postgres_away":
            self.store.go_away()
            self.loop.outside(lasts_s, self.store.come_back)
        elif act == "redis_away":
            self.redis.away = True
            self.loop.outside(lasts_s, lambda: setattr(self.redis, "away", False))
        elif act == "venue_away":
            self.venue.away = True
            self.loop.outside(lasts_s, lambda: setattr(self.venue, "away", False))
        elif act == "halt":
            self._in_a_task(self._throw(lasts_s))

    def _befall(self, act: str, host: Host, conn: Any) -> bool:
        if self._quiet or host.dead:
            return False
        self.line.faults[act] += 1
        self.note(f"{host.name}: {act}")
        running = next((each for each in self.running if each.host is host), None)
        if act == "crash":
            if running is not None:
                self.running.remove(running)
                self.ended.append(running)
                self._kill(running)
                self.loop.outside(self.random.choice((0.1, 2.0, 5.0)), self._start_unless_over)
        elif act == "freeze":
            host.frozen = True
            lasts_s = self.random.choice((0.3, 1.5, 3.0, 6.0, 12.0))
            if lasts_s > IDLE_S:
                self.loop.outside(IDLE_S, self._end_idle, host)
            self.loop.outside(lasts_s, self._thaw, host)
        elif act == "connection_lost":
            for lost in [conn] if conn is not None else self.store.sessions(host):
                self.store.lose(lost, "cut")
        elif act == "clock_step":
            step_s = self.random.choice((-6.0, -2.0, -0.5, 0.5, 2.0, 6.0))
            host.step_s += step_s
            self.stepped_s += abs(step_s)
        return True

    def _kill(self, running: Running) -> None:
        self.loop.kill(running.host)
        for conn in self.store.sessions(running.host):
            self.store.lose(conn, "its process died")

    def _thaw(self, host: Host) -> None:
        if host.frozen and not host.dead:
            self.note(f"{host.name} thaws")
            host.thaw()

    def _end_idle(self, host: Host) -> None:
        for conn in self.store.sessions(host):
            self.store.lose(conn, "idle in transaction")

    def _start_unless_over(self) -> None:
        if not self._quiet:
            self._start()

    def _in_a_task(self, coroutine: Any) -> None:
        Context().run(self.loop.create_task, coroutine)

    async def _throw(self, lasts_s: float) -> None:
        """The kill switch, as the admin API throws it, and its release."""
        level = self.random.choice(("no_open", "block_all", "cancel_open", "flatten"))
        scope = self.random.choice(("tenant", "strategy", "account"))
        of = {
            "tenant": self.scope.tenant_id,
            "strategy": self.random.choice(self.strategies)[0],
            "account": self.random.choice(self.accounts),
        }[scope]
        if any(halt.of == str(of) and halt.until_s == float("inf") for halt in self.halts):
            return
        carried = level in ("cancel_open", "flatten")
        identity = new_id()
        made = Intervention(
            intervention_id=identity, tenant_id=self.scope.tenant_id, by=SOMEBODY,
            part=partition(identity), level=level, scope=scope, object_id=of,  # type: ignore[arg-type]
            broker=None, symbol=None, reason="simulated", at=self.loop.utc(),
            state="working" if carried else "done",
        )  # fmt: skip
        halt = Halt(level, scope, str(of))
        self.halts.append(halt)
        try:
            async with self.admin.tenant(self.scope) as conn:
                await _set_state(conn, scope, of, STATE_OF[level])  # type: ignore[index]
                await intervention_rows.insert(conn, made)
        except PortcullisError as error:
            self.note(f"the switch was not thrown, or nobody knows: {error}")
            halt.until_s = 0.0
            await self._release(scope, of)
            return
        halt.since_s = self.loop.time()
        self.note(f"halt {level} {scope} {of}")
        await asyncio.sleep(lasts_s)
        halt.until_s = self.loop.time()
        await self._release(scope, of)

    async def _release(self, scope: str, of: UUID) -> None:
        while True:
            try:
                async with self.admin.tenant(self.scope) as conn:
                    await _set_state(conn, scope, of, "active")
                break
            except PortcullisError:
                await asyncio.sleep(0.5)
        self.note(f"released {scope} {of}")

    def _leaves(self, request: Request) -> None:
        """A request leaves its worker: what does the book say of it at this moment?"""
        row = self.store.monitor.execute(
            "SELECT state FROM orders WHERE cl_ord_id = %s", (request.text,)
        ).fetchone()
        self.left.append(Left(request.text, request.host, self.loop.time(), row and row[0]))

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
            stops=tuple(Stop(h.scope, h.of, h.since_s, h.until_s) for h in self.halts),
            slack_s=self.stepped_s,
            **read(self.store.monitor, BEGIN),
        )

    # -------------------------------------------------------------- the end

    async def _heal(self) -> None:
        """From now on nothing goes wrong."""
        self._quiet = self.line.quiet = True
        self.traps.clear()
        self.redis.away = self.venue.away = False
        self.store.come_back()
        for running in self.running:
            running.host.step_s = 0.0
            self._thaw(running.host)
        while len(self.running) < self.mood.workers:
            self._start()
        self.note("all is well")

    async def _settle(self) -> None:
        ends_s = self.loop.time() + SETTLES_S
        await asyncio.sleep(5.0)  # halts are released, what was late has come
        while left := self._unsettled():
            if self.loop.time() > ends_s:
                self.wrong += [f"lost: after {SETTLES_S:g} s without a fault {line}" for line in left]
                return
            await asyncio.sleep(1.0)
            if self.loop.time() > ends_s - SETTLES_S / 2:
                self.venue.still = True

    def _unsettled(self) -> list[str]:
        left = [row[0] for row in self.store.monitor.execute(_UNSETTLED).fetchall()]
        booked = dict(self.store.monitor.execute(_RESTING).fetchall())
        there = {placed.request.text: placed for placed in self.venue.resting()}
        for name in sorted(booked.keys() ^ there.keys()):
            left.append(f"order {name} rests for one side only")
        for name in sorted(booked.keys() & there.keys()):
            if booked[name] != there[name].filled:
                left.append(f"order {name} has {booked[name]} filled, {there[name].filled} there")
        return left

    async def _stop(self) -> None:
        self.note("stop")
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


async def _set_state(conn: Any, scope: str, of: UUID, state: str) -> None:
    table, key = {
        "tenant": ("tenants", "tenant_id"),
        "strategy": ("strategies", "strategy_id"),
        "account": ("accounts", "account_id"),
    }[scope]
    statement = f"UPDATE {table} SET state = %s WHERE {key} = %s"  # noqa: S608 - names of ours
    await conn.execute(statement.encode(), (state, of))


def _make_our_own(loop: SimulatedLoop, random: Random) -> None:
    """Ids, salts and the last clock come from the seed, too."""

    def uuid7() -> UUID:
        ms = round(loop.utc().timestamp() * 1000)
        low = random.getrandbits(74)
        return UUID(int=ms << 80 | 7 << 76 | (low >> 62) << 64 | 2 << 62 | low & (2**62 - 1))

    tenancy.ids._uuid7 = uuid7
    inbox.secrets = SimpleNamespace(token_bytes=random.randbytes)  # type: ignore[assignment]
    fanout.waker.time = SimpleNamespace(monotonic=loop.time)  # type: ignore[assignment]
    ring.use(Clear())
