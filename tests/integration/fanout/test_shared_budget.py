"""A broker's limit through a real Redis: its script does what the model does, and what happens without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from time import monotonic
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from fanout import shared_budget
from fanout.budget import Budgets, Pace
from fanout.shared_budget import SCRIPT, SharedBudgets
from fanout.shares import Crew, Pool, divided

US = 1_000_000
SETTLED = -1000.0


def crew_of(live: int) -> Crew:
    crew = Crew(1.0)
    crew.counted(live, SETTLED)
    return crew


Make = Callable[..., SharedBudgets]


@pytest.fixture
async def make(redis_client: Redis) -> AsyncIterator[Make]:
    """One worker's budgets: 20 places in half a second, 10 of them at once."""
    made: list[SharedBudgets] = []

    def one(worker: str, live: int = 1, redis: Redis = redis_client) -> SharedBudgets:
        made.append(
            SharedBudgets("gateio", limit=20, window_s=0.5, burst=10, redis=redis,
                          crew=crew_of(live), worker_id=worker)
        )  # fmt: skip
        made[-1].open()
        return made[-1]

    yield one
    for budgets in made:
        await budgets.close()


async def places(budgets: Pace, wanted: int, at: list[float], *, closes: bool = False) -> None:
    for _ in range(wanted):
        await budgets.wait("whose", closes=closes)
        at.append(monotonic())


def most_in_a_window(at: list[float], window_s: float) -> int:
    at = sorted(at)
    return max(sum(first <= when < first + window_s for when in at) for first in at)


async def test_a_member_that_wants_nothing_says_so_once_a_heartbeat(
    redis_client: Redis, make: Make
) -> None:
    """An answer without places is no refusal: it was taken for one, and asked about without a pause."""
    make("w1")
    await asyncio.sleep(4 * shared_budget.HEARTBEAT_S)
    said = (await redis_client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert 1 <= said <= 10


@pytest.mark.parametrize("seed", range(6))
async def test_the_script_grants_what_the_model_grants(redis_client: Redis, seed: int) -> None:
    """The same words at the same times; the script is given its time here, and has it from Redis else."""
    rng = Random(seed)
    rate = divided(20, 1_000_000, 7)[0]
    pool = Pool(rate, silent_s=2 * US)
    script = redis_client.register_script("local now = tonumber(ARGV[#ARGV])" + SCRIPT)
    now, granted = 10**15, 0
    for _ in range(400):
        now += rng.choice([0, 1000, 33_000, 250_000, 2_100_000 if rng.random() < 0.05 else 50_000])
        if rng.random() < 0.01:
            now -= 3 * US
        worker, live = rng.choice("abc"), rng.choice([1, 2, 3])
        expires = now + rng.choice([-1, 0, 500_000, 500_000])
        wants = {key: rng.randint(0, 6) for key in rng.sample(["x", "y", "z"], 2)}
        said: Any = await script(
            keys=["{b}:members", *(f"{{b}}:due:{key}" for key in wants)],
            args=[worker, live, expires, US, rate.limit, rate.burst, 2 * US, *wants.values(), now],
        )
        model = pool.ask(now, worker, live, expires, wants)
        assert said[0] == now
        if model is None:
            assert len(said) == 1
            continue
        assert said[1::2] == [one[0] for one in model.values()]
        granted += sum(said[1::2])
    assert granted > 200


async def test_workers_that_share_a_limit_stay_within_it_together(make: Make) -> None:
    at: list[float] = []
    workers = [make("a", 2), make("b", 2)]
    await asyncio.gather(*(places(worker, 13, at) for worker in workers))
    # 5 ms for what lies between Redis' clock and the task that was woken.
    assert most_in_a_window(at, 0.5 - 0.005) <= 20
    assert max(at) - min(at) >= 0.5


async def test_redis_killed_midway_stops_nobody_and_the_sum_stays_below_the_limit(
    redis_process: Any, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, so that all it held is gone; and back again, without a second burst."""
    for name, seconds in (("shares.LOOK_S", 0.1), ("shares.SILENT_S", 0.4), ("shared_budget.SILENT_S", 0.4),
                          ("shared_budget.HEARTBEAT_S", 0.1),
        ("shared_budget.ANSWER_WITHIN_S", 0.3)):  # fmt: skip
        monkeypatch.setattr(f"fanout.{name}", seconds)
    at: list[float] = []
    redis = [Redis(unix_socket_path=redis_process.socket) for _ in range(2)]
    workers = [make(name, 2, one) for name, one in zip("ab", redis, strict=True)]
    trading = [asyncio.create_task(places(worker, 10_000, at)) for worker in workers]
    try:
        await until(lambda: len(at) > 20)
        redis_process.stop()
        killed = monotonic()
        await until(lambda: not any(worker.by_redis for worker in workers))
        await until(lambda: sum(when > killed + 1.0 for when in at) > 15)
        redis_process.start()
        await until(lambda: all(worker.by_redis for worker in workers))
        back = monotonic()
        await until(lambda: sum(when > back + 0.5 for when in at) > 15)
    finally:
        for task in trading:
            task.cancel()
        await asyncio.gather(*trading, return_exceptions=True)
        if redis_process._server is None:
            redis_process.start()
        for one in redis:
            await one.aclose()
    assert most_in_a_window(at, 0.5 - 0.005) <= 20


async def test_a_flushed_redis_is_no_new_burst(make: Make, redis_client: Redis) -> None:
    at: list[float] = []
    worker = make("a")
    await places(worker, 12, at)
    await redis_client.flushall()
    flushed = monotonic()
    await places(worker, 12, at)
    assert most_in_a_window(at, 0.5 - 0.005) <= 20
    assert min(when for when in at if when > flushed) >= flushed + 0.45, "a window passes first"


async def test_what_closes_overtakes_what_opens_and_needs_no_redis(make: Make) -> None:
    worker = make("a")
    opens: list[float] = []
    closes: list[float] = []
    opening = [asyncio.create_task(places(worker, 1, opens)) for _ in range(20)]
    await until(lambda: len(opens) > 0)
    await places(worker, 8, closes, closes=True)
    assert len(opens) < 20, "they wait still"
    await asyncio.gather(*opening)
    assert max(closes) < max(opens)
    assert most_in_a_window([*opens, *closes], 0.5 - 0.005) <= 20
    away = make("c", 1, Redis(unix_socket_path="/nonexistent/redis.sock"))
    async with asyncio.timeout(0.2):
        await away.wait("whose", closes=True)


async def test_an_account_that_waits_keeps_no_other_waiting(make: Make) -> None:
    worker = make("a")
    at: list[float] = []
    await places(worker, 1, at)
    busy = asyncio.create_task(places(worker, 100, at))
    await until(lambda: len(at) > 12)
    for number in range(300):
        await worker.wait(f"account {number}")
    assert not busy.done()
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)


async def test_the_brokers_own_count_is_obeyed(make: Make) -> None:
    worker = make("a")
    at: list[float] = []
    await places(worker, 1, at)
    worker.hint("whose", remaining=2, reset_in_s=0.3)
    told = monotonic()
    await places(worker, 4, at)
    assert sum(when < told + 0.3 for when in at[1:]) == 2


async def test_no_key_in_redis_names_an_account(make: Make, redis_client: Redis) -> None:
    worker = make("a")
    await worker.wait("an-api-key-of-somebody")
    keys = [key.decode() for key in await redis_client.keys("*")]
    assert any(key.startswith("{portcullis:budget:gateio}:due:") for key in keys)
    assert not any("somebody" in key for key in keys)


def value(name: str) -> float:
    found = REGISTRY.get_sample_value(f"portcullis_budget_{name}", {"broker": "gateio"})
    return 0.0 if found is None else found


async def test_whom_the_brokers_own_count_holds_back_has_used_up_the_limit(make: Make) -> None:
    worker = make("a")
    await worker.wait("whose")
    worker.hint("whose", remaining=0, reset_in_s=2 * shared_budget.HEARTBEAT_S)
    waiting = asyncio.create_task(worker.wait("whose"))
    await until(lambda: value("exhausted_accounts") == 1)
    assert value("waiting") == 1
    assert not waiting.done()
    await waiting
    await until(lambda: value("exhausted_accounts") == 0)
    assert value("waiting") == 0


async def test_what_is_used_of_a_limit_and_who_has_used_it_up_is_counted(make: Make) -> None:
    budgets = make("a")
    assert (value("limit_places"), value("window_seconds")) == (20, 0.5)
    used, waited = value("places_total"), value("wait_seconds_count")
    at: list[float] = []
    waiting = asyncio.create_task(places(budgets, 24, at))
    while not value("exhausted_accounts"):  # the pool has fewer places at once than are wanted
        assert not waiting.done()
        await asyncio.sleep(0.001)
    await waiting
    assert value("exhausted_accounts") == 0
    assert value("places_total") - used == len(at) == 24
    assert value("wait_seconds_count") - waited == 24


def test_both_kinds_of_budgets_are_a_pace() -> None:
    paces: list[type[Pace]] = [Budgets, SharedBudgets]
    assert shared_budget.HEARTBEAT_S < 2.0
    assert len(paces) == 2


async def until(true: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = monotonic() + within_s
    while not true():
        assert monotonic() < deadline
        await asyncio.sleep(0.005)
