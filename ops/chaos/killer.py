"""SIGKILL for processes of ours, one at a time, at seeded random moments; and SIGSTOP for a while.

Only processes that the installation's state.json names are touched, each by a handle that cannot
belong to anybody else (ops/state.py). A frozen worker is the worst kind: it sleeps through its
lease, wakes, and goes on as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from random import Random

from ops.state import Process, end, is_alive
from ops.trial.installation import Installation

WEIGHTS = {
    "worker": 30,
    "ingress": 16,
    "postgres": 12,
    "signer": 12,
    "recorder": 10,
    "redis": 8,
    "admin": 4,
    "enroller": 2,
    "clock": 2,
}
KINDS = tuple(WEIGHTS)
KILL_WAIT_S = 5.0
FREEZE_SHARE = 0.08
FREEZE_S = (1.0, 7.0)
"""From a hiccup to longer than a lease."""


def plan_kills(random: Random, kills: int, over_s: float) -> list[tuple[float, str]]:
    """(seconds from the start, kind): each kind at least once, moments spread at random."""
    kinds = [*KINDS[: min(kills, len(KINDS))]]
    kinds += random.choices(KINDS, weights=list(WEIGHTS.values()), k=max(0, kills - len(kinds)))
    random.shuffle(kinds)
    moments = sorted(random.uniform(0.0, over_s) for _ in kinds)
    return list(zip(moments, kinds, strict=True))


class Killer:
    """Carries such a list out. `killed` and `frozen` count by kind."""

    def __init__(self, here: Installation, random: Random, say: Callable[[str], None]) -> None:
        self._here = here
        self._random = random
        self._say = say
        self.killed: Counter[str] = Counter()
        self.frozen: Counter[str] = Counter()
        self._thaws: set[asyncio.Task[None]] = set()

    async def run(self, kills: list[tuple[float, str]]) -> None:
        """Returns when the last one is done and everything frozen runs again."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for moment, kind in kills:
            await asyncio.sleep(max(0.0, begun + moment - loop.time()))
            if self._random.random() < FREEZE_SHARE:
                await self._freeze()
            name, process = await self._alive(kind)
            if await asyncio.to_thread(end, process, signal.SIGKILL, KILL_WAIT_S):
                self.killed[kind] += 1
                total = sum(self.killed.values())
                self._say(f"{loop.time() - begun:6.1f} s  kill {total}: {name} (pid {process.pid})")
        await asyncio.gather(*self._thaws)

    async def _alive(self, kind: str) -> tuple[str, Process]:
        """A running process of the kind; waits for the supervisor where it is just dead."""
        while True:
            running = {
                name: process
                for name, process in self._here.state.processes.items()
                if name.split("-")[0] == kind and is_alive(process)
            }
            if running:
                name = self._random.choice(sorted(running))
                return name, running[name]
            await asyncio.sleep(0.05)

    async def _freeze(self) -> None:
        name, process = await self._alive("worker")
        seconds = self._random.uniform(*FREEZE_S)
        self.frozen["worker"] += 1
        self._say(f"          freeze: {name} (pid {process.pid}) for {seconds:.1f} s")
        task = asyncio.create_task(frozen(process, seconds))
        self._thaws.add(task)
        task.add_done_callback(self._thaws.discard)


async def frozen(process: Process, seconds: float) -> None:
    """Stop the process where it stands, and let it go on after `seconds`, whatever happens."""
    end(process, signal.SIGSTOP, 0.0)
    try:
        await asyncio.sleep(seconds)
    finally:
        end(process, signal.SIGCONT, 0.0)
