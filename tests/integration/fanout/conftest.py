"""A tenant with accounts, signals put where ingress puts them, and workers on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from redis.asyncio import Redis

from fanout.carry import Patience
from fanout.intend import NOTHING, Begun, Intender
from fanout.ports import Broker
from fanout.spill import SpillPlace
from fanout.worker import Worker, WorkerSettings
from tenancy.clock import SystemClock
from tenancy.clock_quality import Quality, unmeasured
from tenancy.database import Database
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.store.accounts import create_account
from tenancy.store.hooks import create_hook
from tenancy.store.strategies import create_strategy
from tenancy.store.subscriptions import create_subscription
from tenancy.store.tenants import create_tenant
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, SignalID, StrategyID, partition
from tests.fakes.broker import FakeBroker
from tests.fixtures import postgres as fixture

SETTINGS = WorkerSettings(
    lease_ttl_s=1.5,
    open_window_s=20.0,
    signal_age_max_s=60.0,
    lease_beat_s=0.2,
    sweep_s=0.05,
    follow_s=0.05,
    instruments_s=0.5,
    balances_s=0.5,
    stops_s=0.05,
    doubts_s=0.05,
    durable_within_s=60.0,  # a busy machine's commits are not what these tests are about
)
PATIENCE = Patience(unsent_first_s=0.02, doubt_first_s=0.02, doubt_most_s=0.1)


_WAITING = """
SELECT pid, application_name, state, wait_event, pg_blocking_pids(pid), age(now(), xact_start)::text,
       left(query, 120)
FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"""


class Bench:
    """What the tests of the fan-out stand on."""

    def __init__(self, made: fixture.Database) -> None:
        self.made = made
        self.broker = FakeBroker()
        self.settings = SETTINGS
        self.quality: Callable[[], Quality] = unmeasured
        self.spill: SpillPlace | None = None
        self.beside: dict[str, Broker] = {}  # by name, where a test has more than the one
        self.scope: TenantScope
        self.strategy: StrategyID
        self.hook: str
        self.accounts: list[AccountID] = []

    async def set_up(
        self, accounts: int, *, tenant: str = "Acme", broker: str = "gateio", **settings: Any
    ) -> None:
        admin = await self.open("admin")
        self.scope = await create_tenant(admin, tenant, Actor(kind="human", id="test"))
        async with admin.tenant(self.scope) as conn:
            self.strategy = await create_strategy(
                conn, self.scope, "trend", settings=StrategySettings(default_quantity=Decimal(1))
            )
            self.hook = await create_hook(conn, self.scope, self.strategy)
            for index in range(accounts):
                account = await create_account(
                    conn,
                    self.scope,
                    f"account {index}",
                    broker=broker,
                    currency="USDT",
                    stated_equity=Decimal(10_000),
                )
                await create_subscription(
                    conn,
                    self.scope,
                    self.strategy,
                    account,
                    settings=SubscriptionSettings(**settings),
                    priority=index,
                )
                self.accounts.append(account)
        await admin.close()

    async def open(self, role: str) -> Database:
        database = Database(self.made.conninfo(role), name=f"test-{role}", size=8)
        await database.open()
        return database

    async def signal(self, *, state: str = "accepted", **fields: Any) -> SignalID:
        """Keep a signal as ingress does; `state`: as somebody has left it."""
        body = json.dumps({"ticker": "BTC_USDT", "action": "buy", **fields}).encode()
        signal = SignalID(new_id())
        async with await psycopg.AsyncConnection.connect(self.made.conninfo("ingress")) as conn:
            await conn.execute(
                "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part,"
                " body, body_sha256, traceparent, received_at, state)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    signal, self.scope.tenant_id, self.strategy, self.hook, str(signal),
                    partition(self.strategy), body, hashlib.sha256(body).digest(),
                    "00-" + signal.hex + "-" + "1" * 16 + "-01", datetime.now(UTC),
                    state,
                ),
            )  # fmt: skip
        return signal

    @asynccontextmanager
    async def worker(self, broker: Any = None, name: str = "w1") -> AsyncIterator[Worker]:
        """A worker at work; stopped in order at the end."""
        async with self._running(broker, name) as (worker, task, stop):
            yield worker
            stop.set()
            await asyncio.wait_for(task, 10)

    @asynccontextmanager
    async def crashing_worker(
        self, broker: Any = None, name: str = "w1"
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """A worker that ends in the middle of everything when the yielded function is called.

        Every one of its tasks is cancelled where it stands and its leases are left to run out, as
        after SIGKILL; the chaos run kills real processes.
        """
        before = asyncio.all_tasks()
        async with self._running(broker, name) as (_, task, _):

            async def crash() -> None:
                # All but the connection pool's own tasks, which are not the worker's.
                started = asyncio.all_tasks() - before
                mine = [t for t in started if "/fanout/" in t.get_coro().cr_code.co_filename]  # type: ignore[union-attr]
                for each in mine:
                    each.cancel()
                await asyncio.gather(*mine, task, return_exceptions=True)

            yield crash

    @asynccontextmanager
    async def _running(
        self, broker: Any, name: str
    ) -> AsyncIterator[tuple[Worker, asyncio.Task[None], asyncio.Event]]:
        database = await self.open("worker")
        # Nothing listens there: every test without a Redis of its own proves the sweep.
        redis: Redis = Redis(unix_socket_path="/nonexistent/redis.sock")
        worker = Worker(
            database=database,
            redis=redis,
            brokers={"gateio": broker or self.broker, **self.beside},
            clock=SystemClock(),
            worker_id=f"{name}-{new_id()}",
            settings=self.settings,
            patience=PATIENCE,
            quality=self.quality,
            spill=self.spill,
        )
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker, task, stop
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await database.close()
            await redis.aclose()

    async def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """As the superuser: the test looks over the wall, the product cannot."""
        async with await psycopg.AsyncConnection.connect(self.made.superuser) as conn:
            return await (await conn.execute(query, values)).fetchall()

    async def until(self, query: str, want: Any, within_s: float = 10.0) -> None:
        """Until the query's one value is `want`."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            got = (await self.rows(query))[0][0]
            if got == want:
                return
            if asyncio.get_running_loop().time() > deadline:
                orders = await self.rows("SELECT cl_ord_id, state, text FROM orders LIMIT 20")
                waiting = await self.rows(_WAITING)
                raise AssertionError(
                    f"{query}: {got!r}, wanted {want!r}; orders: {orders}; sessions: {waiting}"
                )
            await asyncio.sleep(0.02)

    async def hung(self, submissions: int = 1) -> None:
        """Until so many submissions hang at the broker: a row `intent` alone is older than its sending."""
        async with asyncio.timeout(10):
            for _ in range(submissions):
                await self.broker.hung.acquire()


@pytest.fixture
def bench(database: fixture.Database) -> Bench:
    return Bench(database)


@pytest.fixture
def intents_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plan has its first intents with it, as where an account or a key is not at hand."""

    async def nothing(
        self: Intender, conn: Any, after: Any, scope: Any, plans: Sequence[Any]
    ) -> list[Begun]:
        return [NOTHING] * len(plans)

    monkeypatch.setattr(Intender, "begin", nothing)


@pytest.fixture
async def admin(bench: Bench) -> AsyncIterator[Database]:
    """A pool under the role of the admin process."""
    database = await bench.open("admin")
    yield database
    await database.close()
