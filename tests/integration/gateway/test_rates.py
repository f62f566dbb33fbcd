"""Rates in Redis, for all processes together; never unlimited without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.hooks.rate import Rates
from gateway.hooks.settings import RateSettings
from tests.fixtures.redis import RedisServer

pytestmark = pytest.mark.stack
SMALL = RateSettings(per_minute=10, per_hour=15, redis_timeout_s=1.0)


@pytest.fixture
async def pair(redis_server: str) -> AsyncIterator[tuple[Rates, Rates]]:
    """Two processes' worth of counting."""
    clients = [Redis(unix_socket_path=redis_server) for _ in range(2)]
    yield Rates(clients[0], SMALL), Rates(clients[1], SMALL)
    for client in clients:
        await client.aclose()


async def test_two_processes_share_one_count(pair: tuple[Rates, Rates]) -> None:
    answers = await asyncio.gather(*(pair[n % 2].take("hook") for n in range(40)))
    assert sum(answer.allowed for answer in answers) == 10
    waits = [answer.retry_after_s for answer in answers if not answer.allowed]
    assert all(1 <= wait <= 60 for wait in waits)


async def test_hooks_do_not_share_a_count(pair: tuple[Rates, Rates]) -> None:
    for n in range(10):
        assert (await pair[0].take(f"hook-{n}")).allowed


async def test_the_hour_counts_beyond_the_minute(
    pair: tuple[Rates, Rates], redis_client: Redis
) -> None:
    """Move the minute's window into the past: the hour's fifteen are the limit then."""
    for _ in range(10):
        assert (await pair[0].take("hook")).allowed
    await redis_client.hset("portcullis:rate:hook", mapping={"0at": 0, "0now": 0, "0last": 0})
    answers = [(await pair[0].take("hook")).allowed for _ in range(8)]
    assert answers == [True] * 5 + [False] * 3


async def test_without_redis_the_process_counts_alone(redis_process: RedisServer) -> None:
    client = Redis(unix_socket_path=redis_process.socket + ".away")
    rates = Rates(client, SMALL)
    answers = await asyncio.gather(*(rates.take("hook") for _ in range(30)))
    assert sum(answer.allowed for answer in answers) == 10
    await client.aclose()
