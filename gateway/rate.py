"""Count what is used against its quotas (gateway/quota.py), for all processes together.

Counted in Redis as a sliding window: this window's count plus the last one's share that still
overlaps. Checks that arrive while one is under way go together in the next round trip.

Redis away, slower than `redis_timeout_s`, or answering nonsense: this process counts alone, in
token buckets of the same quotas, for `redis_pause_s`, then tries Redis again. Never unlimited; with
N processes the worst is N times the quota, and one fresh bucket at the moment of the change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import structlog
from redis.asyncio import Redis

from gateway import metrics
from gateway.quota import Allowance, Claim, Partition, Quota, Standing

log = structlog.get_logger()

BUCKETS_MOST = 10_000
"""Partitions that a process remembers while it counts alone, before it forgets the full ones."""

# KEYS: a hash per partition. ARGV: asked; then for each key how many quotas, and window in s and
# limit of each. Answers {allowed, then for each quota: room before, ms until there is more}.
_SLIDING = """
local now = redis.call('TIME'); local t = tonumber(now[1]) + tonumber(now[2]) / 1e6
local asked = tonumber(ARGV[1]); local allowed = asked; local arg = 2; local seen = {}
for k = 1, #KEYS do
  local quotas = tonumber(ARGV[arg]); local longest = 0; arg = arg + 1
  for _ = 1, quotas do
    local name = ARGV[arg]; local window = tonumber(name); local limit = tonumber(ARGV[arg + 1]); arg = arg + 2
    local at = math.floor(t / window)
    local f = redis.call('HMGET', KEYS[k], name .. 'at', name .. 'now', name .. 'last')
    local was = tonumber(f[1]) or at; local cur = tonumber(f[2]) or 0; local last = tonumber(f[3]) or 0
    if was == at - 1 then last = cur; cur = 0 elseif was ~= at then last = 0; cur = 0 end
    local into = t / window - at
    local room = math.max(0, math.floor(limit - cur - last * (1 - into) + 1e-9))
    allowed = math.min(allowed, room); longest = math.max(longest, window)
    seen[#seen + 1] = {KEYS[k], name, window, limit, at, cur, last, into, room, longest}
  end
end
local answer = {allowed}
for _, s in ipairs(seen) do
  local key, name, window, limit, at, cur, last, into, room = unpack(s)
  cur = cur + allowed
  redis.call('HSET', key, name .. 'at', at, name .. 'now', cur, name .. 'last', last)
  redis.call('EXPIRE', key, 2 * s[10])
  local more = 1 - into
  if room > allowed then
    if last > 0 then more = math.min(more, 1 / last) end
  elseif cur < limit then
    if last > 0 then more = math.min(more, math.max(0, 1 - (limit - cur - 1) / last - into)) end
  else
    more = more + math.max(0, 1 - (limit - 1) / cur)
  end
  answer[#answer + 1] = room; answer[#answer + 1] = math.ceil(more * window * 1000)
end
return answer
"""


class _Bucket:
    """Tokens that come back evenly. Times in monotonic seconds."""

    __slots__ = ("at", "quota", "tokens")

    def __init__(self, quota: Quota, now: float) -> None:
        self.quota, self.tokens, self.at = quota, float(quota.limit), now

    def fill(self, now: float) -> None:
        back = (now - self.at) * self.quota.limit / self.quota.window_s
        self.tokens, self.at = min(self.quota.limit, self.tokens + back), now

    def wait_s(self) -> float:
        """Seconds until one more token is there."""
        return (1 - self.tokens % 1) * self.quota.window_s / self.quota.limit


class LocalRates:
    """What one process counts alone. Holds two numbers for each quota in use."""

    def __init__(self, most: int = BUCKETS_MOST) -> None:
        self._most = most
        self._buckets: dict[str, dict[Quota, _Bucket]] = {}

    def take(self, claim: Claim, now: float) -> Allowance:
        """Decide and count. `now`: monotonic seconds."""
        buckets = [b for partition in claim.partitions for b in self._of(partition, now)]
        for bucket in buckets:
            bucket.fill(now)
        allowed = all(bucket.tokens >= 1 for bucket in buckets)
        waits = [bucket.wait_s() for bucket in buckets if bucket.tokens < 1]
        if allowed:
            for bucket in buckets:
                bucket.tokens -= 1
        standings = tuple(Standing(b.quota, int(b.tokens), int(b.wait_s()) + 1) for b in buckets)
        return Allowance(allowed, standings, 0 if allowed else int(max(waits)) + 1)

    def _of(self, partition: Partition, now: float) -> list[_Bucket]:
        held = self._buckets.get(partition.key)
        if held is None or held.keys() != set(partition.quotas):  # new, or its limits were changed
            if len(self._buckets) >= self._most:
                self._forget_full(now)
            held = {quota: _Bucket(quota, now) for quota in partition.quotas}
            self._buckets[partition.key] = held
        return list(held.values())

    def _forget_full(self, now: float) -> None:
        """A full bucket says as much as none."""
        for key, held in list(self._buckets.items()):
            for bucket in held.values():
                bucket.fill(now)
            if all(bucket.tokens >= bucket.quota.limit for bucket in held.values()):
                del self._buckets[key]


class Rates:
    """Grouped checks against Redis, and the local count where Redis is away."""

    def __init__(
        self, redis: Redis, *, redis_timeout_s: float = 0.05, redis_pause_s: float = 1.0
    ) -> None:
        self._redis = redis
        self._redis_timeout_s, self._redis_pause_s = redis_timeout_s, redis_pause_s
        self._local = LocalRates()
        self._local_until = 0.0
        self._asking: list[tuple[Claim, asyncio.Future[Allowance]]] = []
        self._task: asyncio.Task[None] | None = None

    async def take(self, claim: Claim) -> Allowance:
        """Decide and count one request. Never raises for what Redis does."""
        if time.monotonic() < self._local_until:
            return self._take_locally(claim)
        future: asyncio.Future[Allowance] = asyncio.get_running_loop().create_future()
        self._asking.append((claim, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask(), name="rates")
        return await future

    def _take_locally(self, claim: Claim) -> Allowance:
        metrics.RATE_LOCAL.inc()
        return self._local.take(claim, time.monotonic())

    async def _ask(self) -> None:
        while self._asking:
            asking, self._asking = self._asking, []
            groups: dict[str, tuple[Claim, list[asyncio.Future[Allowance]]]] = {}
            for claim, future in asking:
                groups.setdefault(claim.key, (claim, []))[1].append(future)
            try:
                async with asyncio.timeout(self._redis_timeout_s):
                    answers = await self._ask_redis([(c, len(f)) for c, f in groups.values()])
            except Exception as error:  # whatever it is: somebody waits, and nobody is let through
                self._local_until = time.monotonic() + self._redis_pause_s
                log.warning("rate_redis_away", error=repr(error))
                for claim, future in asking:
                    _settle(future, self._take_locally(claim))
                continue
            for (claim, futures), answer in zip(groups.values(), answers, strict=True):
                for place, future in enumerate(futures):
                    _settle(future, _read(claim, answer, place))

    async def _ask_redis(self, counts: Sequence[tuple[Claim, int]]) -> list[list[int]]:
        pipe = self._redis.pipeline(transaction=False)
        for claim, asked in counts:
            pipe.eval(_SLIDING, len(claim.keys), *claim.keys, asked, *claim.arguments)
        answers: list[Any] = await cast("Awaitable[list[Any]]", pipe.execute())
        return answers


def _read(claim: Claim, answer: list[int], place: int) -> Allowance:
    """The allowance of the request that was so many places behind the first of its group."""
    allowed = answer[0]
    passes = place < allowed
    taken = place + 1 if passes else allowed
    standings = []
    wait_ms = 0
    for at, quota in enumerate(claim.quotas):
        room, more_ms = answer[1 + 2 * at], answer[2 + 2 * at]
        if not passes and room <= allowed:
            wait_ms = max(wait_ms, more_ms)
        standings.append(Standing(quota, max(0, room - taken), max(1, -(-more_ms // 1000))))
    return Allowance(passes, tuple(standings), 0 if passes else max(1, -(-wait_ms // 1000)))


def _settle(future: asyncio.Future[Allowance], allowance: Allowance) -> None:
    if not future.done():
        future.set_result(allowance)
