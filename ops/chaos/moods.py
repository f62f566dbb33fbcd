"""The exchange's bad moods: some seconds each, with calm between them.

A mood is a set of the simulator's fault rules (loadtest/exchanges/gateio/faults.py): answers lost
before and after execution, silence, refusals, words that nobody knows. Each hits some requests,
never all: an exchange that is wholly away teaches less than one that answers every third time.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from ops.trial.exchange import Exchange

ORDERS = "/api/v4/futures/usdt/orders"
LOOKUPS = "/api/v4/futures/usdt/*"
BAD_S = (1.0, 4.0)
CALM_S = (0.5, 2.5)

MOODS: dict[str, list[dict[str, Any]]] = {
    "cuts before execution": [{"kind": "drop_before", "probability": 0.3}],
    "cuts after execution": [{"kind": "drop_after", "probability": 0.3}],
    "fails before execution": [{"kind": "500_before", "probability": 0.3}],
    "fails after execution": [{"kind": "500_after", "probability": 0.3}],
    "hangs": [
        {"kind": "hang_before", "probability": 0.1, "seconds": 3.0},
        {"kind": "hang_after", "probability": 0.1, "seconds": 3.0},
    ],
    "is slow": [
        {"kind": "delay_before", "probability": 0.3, "seconds": 0.8},
        {"kind": "delay_after", "probability": 0.3, "seconds": 0.8},
    ],
    "is too slow": [{"kind": "delay_before", "probability": 0.2, "seconds": 2.0}],
    "has enough": [{"kind": "429", "probability": 0.3, "seconds": 0.5}],
    "says nothing": [{"kind": "empty_201", "probability": 0.3}],
    "speaks in tongues": [{"kind": "unknown_enum", "probability": 0.3}],
    "does not find": [
        {"kind": "500_before", "method": "GET", "path": LOOKUPS, "probability": 0.3},
        {"kind": "drop_before", "method": "GET", "path": LOOKUPS, "probability": 0.2},
        {"kind": "drop_after", "probability": 0.2},
    ],
}


class Moods:
    """Switches them on and off until told to stop."""

    def __init__(self, market: Exchange, random: Random) -> None:
        self._market = market
        self._random = random
        self.hits = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            name = self._random.choice(sorted(MOODS))
            seed = self._random.randrange(1 << 31)
            rules = [{"path": ORDERS, **rule, "seed": seed} for rule in MOODS[name]]
            await self._market.faults(rules)
            await _pause(stop, self._random.uniform(*BAD_S))
            await self.calm()
            await _pause(stop, self._random.uniform(*CALM_S))

    async def calm(self) -> None:
        """All faults off, and counted."""
        self.hits = await self._market.fault_hits()
        await self._market.clear_faults()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass
