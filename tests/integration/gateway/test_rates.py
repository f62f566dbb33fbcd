"""Rates in Redis, for all processes together; never unlimited without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.quota import Claim, Partition, Quota
from gateway.rate import Rates
from tests.fixtures.redis import RedisServer

pytestmark = pytest.mark.stack


def hook(name: str, together: int | None = None) -> Claim:
    """Ten a minute, fifteen an hour; all hooks `together` so many a minute."""
    own = Partition("{t}:" + name, (Quota("hook-minute", 10, 60), Quota("hook-hour", 15, 3600)))
    if together is None:
        return Claim(own)
    return Claim(own, Partition("{t}:signals", (Quota("tenant-minute", together, 60),)))


@pytest.fixture
async def pair(redis_server: str) -> AsyncIterator[tuple[Rates, Rates]]:
    """Two processes' worth of counting."""
    clients = [Redis(unix_socket_path=redis_server) for _ in range(2)]
    yield Rates(clients[0], redis_timeout_s=1.0), Rates(clients[1], redis_timeout_s=1.0)
    for client in clients:
        await client.aclose()


async def test_two_processes_share_one_count(pair: tuple[Rates, Rates]) -> None:
    answers = await asyncio.gather(*(pair[n % 2].take(hook("hook")) for n in range(40)))
    assert sum(answer.allowed for answer in answers) == 10
    waits = [answer.retry_after_s for answer in answers if not answer.allowed]
    # The rest of this minute, and the part of the next in which the ten weigh less than ten: 6 s.
    assert all(1 <= wait <= 66 for wait in waits)


async def test_each_answer_of_a_group_says_what_is_left_after_it(
    pair: tuple[Rates, Rates],
) -> None:
    answers = await asyncio.gather(*(pair[0].take(hook("hook")) for n in range(12)))
    assert [answer.remaining for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    hours = [answer.standings[1].remaining for answer in answers]
    assert hours == [14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 5, 5]
    assert answers[-1].policy == "hook-minute"
    assert answers[-1].retry_after_s == answers[-1].reset_s > 0


async def test_hooks_do_not_share_a_count(pair: tuple[Rates, Rates]) -> None:
    for n in range(10):
        assert (await pair[0].take(hook(f"hook-{n}"))).allowed


async def test_the_hooks_of_a_tenant_share_its_count_and_a_refusal_is_counted_nowhere(
    pair: tuple[Rates, Rates],
) -> None:
    answers = [await pair[n % 2].take(hook(f"hook-{n % 3}", together=6)) for n in range(9)]
    assert [answer.allowed for answer in answers] == [True] * 6 + [False] * 3
    assert answers[-1].policy == "tenant-minute"
    assert answers[-1].standings[0].remaining == 8, "the hook itself was asked twice, not thrice"


async def test_the_hour_counts_beyond_the_minute(
    pair: tuple[Rates, Rates], redis_client: Redis
) -> None:
    """Move the minute's window into the past: the hour's fifteen are the limit then."""
    for _ in range(10):
        assert (await pair[0].take(hook("hook"))).allowed
    old = {"60at": 0, "60now": 0, "60last": 0}
    await redis_client.hset("portcullis:rate:{t}:hook", mapping=old)
    answers = [(await pair[0].take(hook("hook"))).allowed for _ in range(8)]
    assert answers == [True] * 5 + [False] * 3


@pytest.mark.parametrize("limit", [1, 3])
async def test_who_waits_as_long_as_told_is_let_in_and_not_earlier(
    pair: tuple[Rates, Rates], limit: int
) -> None:
    """In windows of one second, so that the test sees several of them."""
    claim = Claim(Partition("fast", (Quota("fast", limit, 1),)))
    waited = 0
    for _ in range(2 * limit):
        answer = await pair[0].take(claim)
        if not answer.allowed:
            waited += 1
            await asyncio.sleep(answer.retry_after_s)
            assert (await pair[0].take(claim)).allowed
    assert waited


async def test_without_redis_the_process_counts_alone(redis_process: RedisServer) -> None:
    client = Redis(unix_socket_path=redis_process.socket + ".away")
    rates = Rates(client)
    answers = await asyncio.gather(*(rates.take(hook("hook")) for _ in range(30)))
    assert sum(answer.allowed for answer in answers) == 10
    await client.aclose()


async def test_redis_killed_under_load_lets_nobody_beyond_one_fresh_bucket(
    redis_process: RedisServer, redis_server: str
) -> None:
    """The count in Redis is gone with it: ten before, ten alone, and after its return ten more."""
    client = Redis(unix_socket_path=redis_server)
    rates = Rates(client, redis_timeout_s=1.0, redis_pause_s=0.2)
    try:
        before = [await rates.take(hook("hook")) for _ in range(20)]
        redis_process.stop()
        alone = await asyncio.gather(*(rates.take(hook("hook")) for _ in range(50)))
    finally:
        redis_process.stop()
        redis_process.start()
    assert sum(answer.allowed for answer in before) == 10
    assert sum(answer.allowed for answer in alone) == 10
    assert all(answer.standings for answer in alone), "the headers go on"
    await asyncio.sleep(0.25)
    again = [await rates.take(hook("hook")) for _ in range(20)]
    assert sum(answer.allowed for answer in again) == 10
    await client.aclose()


async def test_an_answer_that_makes_no_sense_counts_as_redis_away(
    pair: tuple[Rates, Rates], redis_client: Redis
) -> None:
    await redis_client.set("portcullis:rate:{t}:hook", "not a hash")
    answers = [(await pair[0].take(hook("hook"))).allowed for _ in range(20)]
    assert sum(answers) == 10
