"""Carry a plan of faults out, and count of each kind how often it was asked for and *seen to happen*.

Faults overlap as they do in life. One that was not seen (there was nobody to kill just then, no
order came to be dropped) is tried again until it is, or `SEEN_S` is over.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ops.chaos.cable import Cable
from ops.chaos.clock import SteppedClock
from ops.chaos.disk import Disk
from ops.chaos.kinds import Due
from ops.chaos.processes import FAST, IMMEDIATE, Processes, ended, frozen
from ops.stack.postgres import Postgres
from ops.trial.exchange import Exchange
from ops.trial.installation import Installation

SEEN_S = 90.0
AGAIN_S = 0.2
WHILE_S = (1.0, 7.0)
"""From a hiccup to longer than a lease."""
STEP_S, STEPPED_S = (1.0, 30.0), (2.0, 6.0)
_ENDS = {
    "postgres-fast": ("postgres", FAST),
    "postgres-immediate": ("postgres", IMMEDIATE),
    "redis": ("redis", signal.SIGTERM),
}


class Ground(msgspec.Struct, frozen=True):
    """What faults happen to."""

    here: Installation
    market: Exchange
    cables: dict[str, Cable]
    disks: dict[str, Disk]
    clock: SteppedClock | None


class Storm:
    """`asked` and `seen` count by the kind's name."""

    def __init__(self, ground: Ground, say: Callable[[str], None]) -> None:
        self._ground = ground
        self._say = say
        self._processes = Processes(ground.here)
        self.asked: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self._ruled: set[int] = set()
        self._acts: dict[str, Callable[[Due, Random], Awaitable[bool]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "restart": self._restart,
            "terminate": self._terminate,
            "flush": self._flush,
            "exchange": self._rule,
            "stream": self._rule,
            "cut": self._cut,
            "half_open": self._half_open,
            "stall": self._stall,
            "full": self._full,
            "clock": self._step,
        }

    async def run(self, plan: Sequence[Due]) -> None:
        """Returns when each was seen or given up, and everything frozen, full or stepped is not any more."""
        async with asyncio.TaskGroup() as group:
            begun = asyncio.get_running_loop().time()
            for due in plan:
                group.create_task(self._one(due, begun))

    async def _one(self, due: Due, begun: float) -> None:
        loop, name = asyncio.get_running_loop(), due.kind.name
        await asyncio.sleep(max(0.0, begun + due.moment - loop.time()))
        self.asked[name] += 1
        random, until = due.random, loop.time() + SEEN_S
        while not await self._acts[due.kind.what](due, random):
            if loop.time() > until:
                self._say(f"not seen: {name}")
                return
            await asyncio.sleep(AGAIN_S)
        self.seen[name] += 1
        self._say(f"fault {sum(self.seen.values())}: {name}")

    # ------------------------------------------------------------------ processes and stores

    async def _kill(self, due: Due, random: Random) -> bool:
        if due.kind.whom == "backend":
            return await ended(await self._processes.session(random), signal.SIGKILL)
        return await ended(self._processes.alive(due.kind.whom, random), signal.SIGKILL)

    async def _freeze(self, due: Due, random: Random) -> bool:
        whom, seconds = due.kind.whom, random.uniform(*WHILE_S)
        if whom == "backend":
            return await frozen(await self._processes.session(random), seconds)
        return await frozen(self._processes.alive(whom, random), seconds)

    async def _restart(self, due: Due, random: Random) -> bool:
        whom, sig = _ENDS[due.kind.whom]
        return await ended(self._processes.alive(whom, random), sig)

    async def _terminate(self, due: Due, random: Random) -> bool:
        return await self._processes.terminate_sessions() > 0

    async def _flush(self, due: Due, random: Random) -> bool:
        url = self._ground.here.settings.redis.url
        try:
            async with Redis.from_url(url, socket_timeout=2.0) as redis:
                return bool(await redis.flushall())
        except (RedisError, OSError, TimeoutError):
            return False

    # ------------------------------------------------------------------ exchange and lines

    async def _rule(self, due: Due, random: Random) -> bool:
        """Its own number is the rule's seed: so its line of the exchange's report is found again."""
        if due.number not in self._ruled:
            self._ruled.add(due.number)
            rule = {**(due.kind.rule or {}), "seed": due.number}
            await self._ground.market.faults([rule])
        return await self._ground.market.hits(due.number) > 0

    async def _cut(self, due: Due, random: Random) -> bool:
        return self._ground.cables[due.kind.whom].cut() > 0

    async def _half_open(self, due: Due, random: Random) -> bool:
        return await self._ground.cables[due.kind.whom].half_open(random.uniform(*WHILE_S)) > 0

    async def _stall(self, due: Due, random: Random) -> bool:
        return await self._ground.cables[due.kind.whom].stall(random.uniform(*WHILE_S)) > 0

    # ------------------------------------------------------------------ disk and clock

    async def _full(self, due: Due, random: Random) -> bool:
        return await self._ground.disks[due.kind.whom].full(random.uniform(*WHILE_S))

    async def _step(self, due: Due, random: Random) -> bool:
        assert self._ground.clock is not None
        offset = random.choice((-1, 1)) * random.uniform(*STEP_S)
        superuser = Postgres(self._ground.here.places).superuser("postgres")
        return await self._ground.clock.off_by(offset, random.uniform(*STEPPED_S), superuser)
