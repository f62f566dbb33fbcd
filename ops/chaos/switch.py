"""A person who throws the kill switch now and then, and lets go of it again: part of the traffic.

Every level in turn, on a strategy. The management listener may be dead just then: a person tries
again, and the strategy is released at the end in any case.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

from ops.api_client import Api, Refused, Unreachable
from ops.trial.cast import Cast
from tenancy.pause import pause
from tenancy.values import StrategyID

LEVELS = ("no_open", "block_all", "cancel_open", "flatten")
EVERY_S = (6.0, 14.0)
HALTED_S = (0.5, 3.0)
AGAIN_S = 0.5
WHY = "a person of the chaos run"


class Switch:
    """One tenant's. `thrown` counts by level."""

    def __init__(self, api: Api, cast: Cast, random: Random) -> None:
        self._api = api
        self._strategies = [cast.strategy, *(strategy for strategy, _ in cast.more)]
        self._random = random
        self.thrown: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; nothing is halted when it returns."""
        while not await pause(stop, self._random.uniform(*EVERY_S)):
            strategy, level = self._random.choice(self._strategies), self._random.choice(LEVELS)
            await self._put("/v1/halts", strategy, level=level)
            self.thrown[level] += 1
            await pause(stop, self._random.uniform(*HALTED_S))
            await self._put("/v1/halts/release", strategy)

    async def _put(self, path: str, strategy: StrategyID, **more: Any) -> None:
        body = {"scope": "strategy", "object_id": str(strategy), "reason": WHY, **more}
        while True:
            try:
                await self._api.ask("POST", path, body)
                return
            except Unreachable:
                pass
            except (
                Refused
            ) as refused:  # 5xx: a part of it is away; 409: the one before went through
                if refused.problem.status == 409:
                    return
                if refused.problem.status < 500:
                    raise
            await asyncio.sleep(AGAIN_S)
