"""Wake-ups: a stream that can be away, late or deaf. Only what fanout/worker.py and wake.py ask of Redis."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from redis.exceptions import ConnectionError as RedisAway

KEPT = 1000


class SimulatedRedis:
    """One server for all hosts of a seed."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._entries: list[tuple[bytes, dict[bytes, bytes]]] = []
        self._news = asyncio.Event()
        self.away = False

    async def xread(self, streams: dict[str, Any], block: int) -> list[Any]:
        """New entries, or none after `block` ms. Raises RedisAway."""
        await self._asked()
        ((stream, last),) = streams.items()
        start = len(self._entries) if last == "$" else int(last.split(b"-")[0])
        if start >= len(self._entries):
            news = self._news
            try:
                async with asyncio.timeout(block / 1000):
                    await news.wait()
            except TimeoutError:
                return []
            await self._asked()
        found = self._entries[start:]
        return [(stream.encode(), found)] if found else []

    def pipeline(self, transaction: bool) -> Pipeline:
        return Pipeline(self)

    def add(self, fields: dict[str, str]) -> None:
        name = f"{len(self._entries) + 1}-0".encode()
        self._entries.append((name, {k.encode(): v.encode() for k, v in fields.items()}))
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def aclose(self) -> None: ...

    async def _asked(self) -> None:
        await asyncio.sleep(self._random.random() * 0.004)
        if self.away:
            raise RedisAway("Redis is away")


class Pipeline:
    """XADDs of one round trip."""

    def __init__(self, redis: SimulatedRedis) -> None:
        self._redis = redis
        self._waiting: list[dict[str, str]] = []

    def xadd(self, stream: str, fields: dict[str, str], **more: Any) -> None:
        self._waiting.append(fields)

    async def execute(self) -> None:
        await self._redis._asked()
        for fields in self._waiting:
            self._redis.add(fields)
