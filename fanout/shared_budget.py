"""The budgets of one broker's accounts, shared by all workers through Redis (fanout/shares.py says why it holds).

All that wait at one moment ask together: one script call for up to `KEYS_MAX` accounts, by Redis' own
clock. What closes goes first, out of this worker's reserve, and before all that opens in the queue.

Redis away: a wait is answered out of this worker's own share of the pool, once that is its own again;
Redis is looked at every second. A key in Redis names a broker's limit by a digest, never by an API key
or an account. Nothing in there is missed if it is lost.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from itertools import islice
from time import monotonic
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from fanout import metrics
from fanout.budget import BrokersCount, Key
from fanout.shares import ASK_LIVES_S, SILENT_S, Crew, Rate, Share, divided
from tenancy.pause import pause

log = structlog.get_logger()

HEARTBEAT_S = SILENT_S / 4
ANSWER_WITHIN_S = 1.0
KEYS_MAX = 256
US = 1_000_000

# KEYS: members, then what is due per key. ARGV: worker, live, expires, window, limit, burst, silent, then
# how many places each key wants. Times in µs. Returns now, then (granted, ask again in) per key.
NOW = "local t = redis.call('TIME'); local now = t[1] * 1000000 + t[2]"
SCRIPT = """
local worker, live, expires = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local window, limit, burst, silent =
    tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local answer = {now}
if now > expires then return answer end

local counted, first, mine = 0, now, nil
local function here(joined)
    if joined <= now - window then counted = counted + 1 end
    if joined < first then first = joined end
end
local members = redis.call('HGETALL', KEYS[1])
for i = 1, #members, 2 do
    local joined, seen = string.match(members[i + 1], '^(%d+):(%d+)$')
    joined, seen = tonumber(joined), tonumber(seen)
    if now - silent < seen and seen <= now then
        here(joined)
        if members[i] == worker then mine = joined end
    else
        redis.call('HDEL', KEYS[1], members[i])
    end
end
if not mine then
    mine = now
    here(mine)
end
redis.call('HSET', KEYS[1], worker, string.format('%.0f:%.0f', mine, now))
redis.call('PEXPIRE', KEYS[1], 60000)

local part = math.min(counted, live)
local share = math.floor(limit * part / live)
local many = math.max(1, math.min(math.floor(burst * part / live), share - 1))
local interval = window / math.max(1, share - many)
local slack = interval * (many - 1)
local ahead = 2 * math.max(window, window * burst / math.max(1, limit - burst))
for i = 2, #KEYS do
    local wanted, granted = tonumber(ARGV[6 + i]), 0
    if share < 1 then
        answer[#answer + 1] = 0
        answer[#answer + 1] = math.max(first + window - now, 50000)
    else
        local due = math.min(tonumber(redis.call('GET', KEYS[i])) or now, now + ahead)
        while granted < wanted and due - slack <= now do
            due = math.max(due, now) + interval
            granted = granted + 1
        end
        due = math.ceil(due)
        if due > now then
            redis.call('SET', KEYS[i], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
        end
        answer[#answer + 1] = granted
        answer[#answer + 1] = math.max(0, math.ceil(due - slack - now))
    end
end
return answer
"""


class Waiting:
    """Who waits for places of one key; what closes first, else in order."""

    def __init__(self) -> None:
        self._closes: deque[asyncio.Future[None]] = deque()
        self._opens: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return sum(not f.done() for queue in (self._closes, self._opens) for f in queue)

    def add(self, *, closes: bool) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._closes if closes else self._opens).append(future)
        return future

    def grant(self, places: int) -> None:
        for queue in (self._closes, self._opens):
            while queue and places:
                future = queue.popleft()
                if not future.done():
                    future.set_result(None)
                    places -= 1


class SharedBudgets:
    """As fanout/budget.py's Budgets, for all workers together. `close()` when done."""

    def __init__(
        self,
        name: str,
        *,
        limit: int,
        window_s: float,
        burst: int,
        redis: Redis,
        crew: Crew,
        worker_id: str,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """`name`: of the broker's limit, for Redis' keys. Raises ValueError as `divided`."""
        self._pool, reserve = divided(limit, window_s, burst)
        self._share = Share(self._pool, reserve, crew)
        self.name, self._crew, self._worker_id, self._now = name, crew, worker_id, now
        self._redis, self._prefix = redis, f"{{portcullis:budget:{name}}}"
        self._script = redis.register_script(NOW + SCRIPT)
        self._counts: dict[str, BrokersCount] = {}
        self._held: Counter[str] = Counter()  # by the broker's own count; none is 0
        self._waiting: dict[str, Waiting] = {}
        self._ready: dict[str, None] = {}  # to be asked for now, in their order
        self._later: list[tuple[float, str]] = []  # and when; a heap
        self._woken = asyncio.Event()
        self._clock: tuple[float, float] | None = None  # Redis' time, µs, and ours when we heard it
        self._keeper: asyncio.Task[None] | None = None
        self._beat_at = float("-inf")
        metrics.BUDGET_LIMIT.labels(name).set(limit)
        metrics.BUDGET_WINDOW.labels(name).set(window_s)

    def __repr__(self) -> str:
        by = "Redis" if self._share.by_redis else "alone"
        return f"SharedBudgets({self.name}, {by}, waiting={self.waiting()})"

    def waiting(self) -> int:
        """How many orders wait for a place."""
        return sum(map(len, self._waiting.values()))

    @property
    def by_redis(self) -> bool:
        """Whether Redis gives out the places, or this worker its own share alone."""
        return self._share.by_redis

    def open(self) -> None:
        """Begin to be a member; without it the first wait does, and waits for a window."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"budget-{self.name}")

    async def close(self) -> None:
        if self._keeper is not None:
            while not self._keeper.done():
                self._keeper.cancel()
                await asyncio.wait([self._keeper], timeout=HEARTBEAT_S)
            self._keeper = None

    async def wait(self, key: Key, *, closes: bool = False) -> None:
        """Return when one order may be sent on `key` (an account, or whose limit it is)."""
        self.open()
        name = _digest(key)
        count = self._counts.setdefault(name, BrokersCount(self._pool.window_s))
        with (
            metrics.BUDGET_WAITING.labels(self.name).track_inprogress(),
            metrics.BUDGET_WAIT_SECONDS.labels(self.name).time(),
        ):
            while not count.take(self._now()):
                await self._hold(name, count.pause(self._now()))
            if not (closes and self._share.close(name, self._now())):
                await self._queue(name, closes=closes)
        metrics.BUDGET_USED.labels(self.name).inc()

    async def _hold(self, name: str, pause_s: float) -> None:
        """The broker counts no place left of its window; what closes waits, too: it would be refused."""
        self._held[name] += 1
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]

    async def _queue(self, name: str, *, closes: bool) -> None:
        """For a place of the pool."""
        if name not in self._waiting:
            self._waiting[name] = Waiting()
            self._ready[name] = None
        place = self._waiting[name].add(closes=closes)
        self._woken.set()
        await place

    def hint(self, key: Key, *, remaining: int, reset_in_s: float) -> None:
        """Pass on what an answer said: `remaining` more within the next `reset_in_s` seconds."""
        count = self._counts.setdefault(_digest(key), BrokersCount(self._pool.window_s))
        count.hint(remaining, self._now() + reset_in_s)

    async def _keep(self) -> None:
        while True:
            try:
                await self._round()
            except Exception:  # whoever waits must not wait for ever
                log.exception("budget_round_failed", broker=self.name)
                await asyncio.sleep(HEARTBEAT_S)
            idle_s = self._idle_s()
            if idle_s <= 0:
                await asyncio.sleep(0)  # who was granted a place goes first
                continue
            await pause(self._woken, idle_s)
            self._woken.clear()

    def _idle_s(self) -> float:
        """Until somebody may be granted a place, or the next word to Redis is due."""
        if self._ready:
            return 0.0
        next_at = self._later[0][0] if self._later else float("inf")
        return max(0.0, min(next_at, self._beat_at + HEARTBEAT_S) - self._now())

    async def _round(self) -> None:
        now = self._now()
        if self._share.looks(now):
            await self._look(now)
        while self._later and self._later[0][0] <= now:
            self._ready[heappop(self._later)[1]] = None
        wants = {name: len(self._waiting[name]) for name in islice(self._ready, KEYS_MAX)}
        if not wants and now < self._beat_at + HEARTBEAT_S:
            return
        self._beat_at = now
        answers = await self._ask(wants) if self._share.by_redis else None
        if answers is None:
            now = self._now()
            answers = {
                name: self._share.alone(name, now, wanted) if not self._share.by_redis else (0, 0.0)
                for name, wanted in wants.items()
            }
        metrics.BUDGET_SHARED.labels(self.name).set(self._share.by_redis)
        for name, (granted, again_in_s) in answers.items():
            self._waiting[name].grant(granted)
            del self._ready[name]
            if len(self._waiting[name]):
                heappush(self._later, (self._now() + max(again_in_s, 0.001), name))
            else:
                del self._waiting[name]
        used_up = len(self._waiting.keys() | self._held.keys())
        metrics.BUDGET_EXHAUSTED.labels(self.name).set(used_up)

    async def _ask(self, wants: Mapping[str, int]) -> dict[str, tuple[int, float]] | None:
        """What Redis grants; None: it did not answer, or our word was too old for it."""
        started = self._now()
        expires = 0
        if self._clock is not None:
            # No later than it is there: a word that lies about is refused sooner, not later.
            expires = int(self._clock[0] + (started - self._clock[1] + ASK_LIVES_S) * US)
        self._share.asked(started)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer: Any = await self._script(
                    keys=[self._prefix + ":members", *map(self._key, wants)],
                    args=[self._worker_id, self._crew.live(), expires, *_times(self._pool),
                          int(SILENT_S * US), *wants.values()],
                )  # fmt: skip
        except (RedisError, OSError, TimeoutError) as error:
            was = self._share.by_redis
            self._share.failed(self._now())
            if was and not self._share.by_redis:
                log.warning("budget_alone", broker=self.name, error=str(error))
            return None
        self._clock = (float(answer[0]), self._now())
        if not self._share.by_redis:
            log.info("budget_shared_again", broker=self.name)
        self._share.heard()
        if self._clock[0] > expires:
            self._beat_at = float("-inf")  # the word was refused for its date, which is known now
            return None
        pairs = zip(answer[1::2], answer[2::2], strict=True)
        return {name: (granted, us / US) for name, (granted, us) in zip(wants, pairs, strict=True)}

    async def _look(self, now: float) -> None:
        """Is Redis there again? Its clock is asked, which makes nobody a member."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S / 4):
                seconds, micros = await self._redis.time()
        except (RedisError, OSError, TimeoutError):
            self._share.failed(now)
            return
        self._clock = (seconds * US + micros, self._now())
        self._share.heard()
        log.info("budget_asks_again", broker=self.name)

    def _key(self, name: str) -> str:
        return f"{self._prefix}:due:{name}"


class SharedPaces:
    """Makes the shared budgets of one worker's brokers, and ends them."""

    def __init__(
        self, redis: Redis, crew: Crew, worker_id: str, now: Callable[[], float] = monotonic
    ) -> None:
        self._redis, self.crew, self.worker_id, self._now = redis, crew, worker_id, now
        self._made: list[SharedBudgets] = []

    def __repr__(self) -> str:
        return f"SharedPaces({self._made})"

    def __call__(self, name: str, *, limit: int, window_s: float, burst: int) -> SharedBudgets:
        """For one limit of one broker. Raises ValueError as `divided`."""
        made = SharedBudgets(
            name, limit=limit, window_s=window_s, burst=burst, redis=self._redis, crew=self.crew,
            worker_id=self.worker_id, now=self._now,
        )  # fmt: skip
        self._made.append(made)
        return made

    async def said(self) -> str:
        """For /readyz: by whom the brokers' limits are kept."""
        alone = sorted(made.name for made in self._made if not made.by_redis)
        if not alone:
            return "shared through Redis"
        return f"Redis is away: this worker keeps to its own share at {', '.join(alone)}"

    def open(self) -> None:
        """Be a member from now on, so that the first order finds a place at once."""
        for made in self._made:
            made.open()

    async def close(self) -> None:
        await asyncio.gather(*(made.close() for made in self._made))


def _times(rate: Rate) -> tuple[int, int, int]:
    return int(rate.window_s * US), rate.limit, rate.burst


def _digest(key: Key) -> str:
    return hashlib.blake2b(str(key).encode(), digest_size=12).hexdigest()
