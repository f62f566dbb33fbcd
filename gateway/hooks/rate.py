"""How often a hook may be used: so many in a minute, so many in an hour.

Counted in Redis, for all ingress processes together, as a sliding window: this window's count
plus the last one's share that still overlaps. Checks that arrive while one is under way go
together in the next round trip. What is refused is not counted.

Redis away or slower than `redis_timeout_s`: this process counts alone, in token buckets of the
same rates, for `redis_pause_s`, then tries Redis again. Never unlimited; with N processes the
worst is N times the rate, and one fresh bucket at the moment of the change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, cast

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import metrics
from gateway.hooks.settings import RateSettings

log = structlog.get_logger()

_MINUTE_S = 60
_HOUR_S = 3600

# KEYS[1] a hash per hook; ARGV: asked, then (window in s, limit) twice. Answers {allowed, wait in ms}.
_SLIDING = """
local now = redis.call('TIME'); local t = tonumber(now[1]) + tonumber(now[2]) / 1e6
local asked = tonumber(ARGV[1]); local allowed = asked; local wait = 0; local new = {}
for i = 0, 1 do
  local window = tonumber(ARGV[2 + 2 * i]); local limit = tonumber(ARGV[3 + 2 * i])
  local at = math.floor(t / window); local f = redis.call('HMGET', KEYS[1], i .. 'at', i .. 'now', i .. 'last')
  local was = tonumber(f[1]) or at; local cur = tonumber(f[2]) or 0; local last = tonumber(f[3]) or 0
  if was == at - 1 then last = cur; cur = 0 elseif was ~= at then last = 0; cur = 0 end
  local into = t / window - at
  local room = math.floor(limit - cur - last * (1 - into) + 1e-9)
  local free = (1 - into) * window
  if last > 0 and cur < limit then free = math.min(free, window / last) end
  allowed = math.max(0, math.min(allowed, room)); new[i] = {at, cur, last, room, free}
end
for i = 0, 1 do
  redis.call('HSET', KEYS[1], i .. 'at', new[i][1], i .. 'now', new[i][2] + allowed, i .. 'last', new[i][3])
  if new[i][4] <= allowed then wait = math.max(wait, new[i][5]) end
end
redis.call('EXPIRE', KEYS[1], 2 * tonumber(ARGV[4]))
return {allowed, math.ceil(wait * 1000)}
"""


class Allowance(msgspec.Struct, frozen=True):
    """May this request pass? If not, `retry_after_s` is when it may."""

    allowed: bool
    retry_after_s: int = 0


class _Bucket:
    """Tokens that come back evenly. Times in monotonic seconds."""

    __slots__ = ("at", "limit", "tokens", "window_s")

    def __init__(self, limit: int, window_s: int, now: float) -> None:
        self.limit, self.window_s = limit, window_s
        self.tokens, self.at = float(limit), now

    def wait_s(self, now: float) -> float:
        """Seconds until a token is there; 0: now."""
        self.tokens = min(self.limit, self.tokens + (now - self.at) * self.limit / self.window_s)
        self.at = now
        return 0.0 if self.tokens >= 1 else (1 - self.tokens) * self.window_s / self.limit


class LocalRates:
    """What one process counts alone. Holds two numbers for each hook that was used."""

    def __init__(self, settings: RateSettings) -> None:
        self._settings = settings
        self._buckets: dict[str, tuple[_Bucket, _Bucket]] = {}

    def take(self, hook_id: str, now: float) -> Allowance:
        """Decide and count. `now`: monotonic seconds."""
        pair = self._buckets.get(hook_id)
        if pair is None:
            pair = self._buckets[hook_id] = (
                _Bucket(self._settings.per_minute, _MINUTE_S, now),
                _Bucket(self._settings.per_hour, _HOUR_S, now),
            )
        wait = max(bucket.wait_s(now) for bucket in pair)
        if wait > 0:
            return Allowance(False, int(wait) + 1)
        for bucket in pair:
            bucket.tokens -= 1
        return Allowance(True)


class Rates:
    """Grouped checks against Redis, and the local count where Redis is away."""

    def __init__(self, redis: Redis, settings: RateSettings) -> None:
        self._redis = redis
        self._settings = settings
        self._local = LocalRates(settings)
        self._local_until = 0.0
        self._asking: list[tuple[str, asyncio.Future[Allowance]]] = []
        self._task: asyncio.Task[None] | None = None

    async def take(self, hook_id: str) -> Allowance:
        """Decide and count one request of a known hook. Never raises for what Redis does."""
        if time.monotonic() < self._local_until:
            return self._take_locally(hook_id)
        future: asyncio.Future[Allowance] = asyncio.get_running_loop().create_future()
        self._asking.append((hook_id, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask(), name="rates")
        return await future

    def _take_locally(self, hook_id: str) -> Allowance:
        metrics.RATE_LOCAL.inc()
        return self._local.take(hook_id, time.monotonic())

    async def _ask(self) -> None:
        while self._asking:
            asking, self._asking = self._asking, []
            by_hook: dict[str, list[asyncio.Future[Allowance]]] = {}
            for hook_id, future in asking:
                by_hook.setdefault(hook_id, []).append(future)
            try:
                async with asyncio.timeout(self._settings.redis_timeout_s):
                    answers = await self._ask_redis({h: len(f) for h, f in by_hook.items()})
            except (RedisError, OSError, TimeoutError) as error:
                self._local_until = time.monotonic() + self._settings.redis_pause_s
                log.warning("rate_redis_away", error=repr(error))
                for hook_id, future in asking:
                    _settle(future, self._take_locally(hook_id))
                continue
            for (_, futures), (allowed, wait_ms) in zip(by_hook.items(), answers, strict=True):
                for place, future in enumerate(futures):
                    _settle(future, Allowance(place < allowed, -(-wait_ms // 1000)))

    async def _ask_redis(self, counts: dict[str, int]) -> list[tuple[int, int]]:
        limits = (_MINUTE_S, self._settings.per_minute, _HOUR_S, self._settings.per_hour)
        pipe = self._redis.pipeline(transaction=False)
        for hook_id, asked in counts.items():
            pipe.eval(_SLIDING, 1, f"portcullis:rate:{hook_id}", asked, *limits)
        answers: list[Any] = await cast("Awaitable[list[Any]]", pipe.execute())
        return [(int(allowed), int(wait_ms)) for allowed, wait_ms in answers]


def _settle(future: asyncio.Future[Allowance], allowance: Allowance) -> None:
    if not future.done():
        future.set_result(allowance)
