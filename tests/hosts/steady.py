"""A strategy that sends at a steady rate, whatever happens to the hosts, and then looks what became of it.

It begins a signal each `PERIOD_S`, whether the ones before were answered or not, and sends each under its id
again until it is acknowledged, as a sender does. The test says by words when a fault's time begins and ends:

- `go`: begin; and as `sound`.
- `sound`: `is` when for `SOUND_S` from then on all was acknowledged at once: the fault is over for senders.
- `stop`: begin no more; wait for all; answered with what was seen, by the product and by the exchange.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from ops.api_client import Api
from ops.trial.cast import assemble
from ops.trial.exchange import Exchange, Executed
from ops.trial.sender import Sender, sender
from tenancy.errors import PortcullisError
from tests.hosts.client import Line
from tests.hosts.main_job import Asked, customer_and_exchange, filled_at_the_exchange

ACCOUNTS = 4
PERIOD_S = 0.25
AGAIN_FIRST_S, AGAIN_MOST_S = 0.1, 2.0
SOUND_S, AT_ONCE_S = 5.0, 2.0
WITHIN_S, POLL_S, LOOKS = 240.0, 0.2, 8
RATES = {"per_minute": 10_000, "per_hour": 1_000_000}
"""Of the hook: an installation's own are for people's strategies, and one that sends all it has again is above."""
SENDERS = 256
"""Connections: what hangs at a dead host keeps no other signal waiting."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, as the strategy and the exchange saw it. Times in seconds.

    `outage_s`: the longest time without an acknowledgement. `trading_outage_s`: the same of executions.
    `orders`: executed; `afterwards`: those of them after all was first acknowledged at once again.
    `states`: what became of how many accounts of signals; `reasons`: of those that are not filled.
    By ids: `unfinished` were acknowledged and not done; `missing` orders are filled by our word alone, `unasked`
    ones by the exchange's alone; `doubled` were executed more than once.
    """

    signals: int
    answers: dict[str, int]
    outage_s: float
    trading_outage_s: float
    orders: int
    afterwards: int
    states: dict[str, int]
    reasons: dict[str, int]
    unfinished: list[str]
    missing: list[str]
    unasked: list[str]
    doubled: list[str]


class Begun(msgspec.Struct):
    """One signal. `acknowledged_at` None: not yet."""

    at: float
    signal_id: str = ""
    acknowledged_at: float | None = None


class Strategy:
    """Sends while `run` runs. Times are monotonic seconds."""

    def __init__(self, strategy: Sender) -> None:
        self._sender = strategy
        self._turn = 0
        self._sending: set[asyncio.Task[None]] = set()
        self.begun: list[Begun] = []
        self.answers: Counter[str] = Counter()

    def forget(self) -> None:
        """A fault's time begins."""
        self.begun, self.answers = [], Counter()

    async def run(self) -> None:
        """Until it is cancelled; what was begun is sent until it is acknowledged all the same."""
        at = time.monotonic()
        while True:
            one = Begun(at)
            self.begun.append(one)
            task = asyncio.create_task(self._until_acknowledged(one))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
            at += PERIOD_S
            await asyncio.sleep(max(0.0, at - time.monotonic()))

    async def answered(self) -> None:
        """Until all that was begun is acknowledged."""
        while self._sending:
            await asyncio.wait(set(self._sending))

    async def sound(self) -> str:
        """`is` as soon as for `SOUND_S` from now on all was acknowledged at once; `is not`: not in time."""
        asked = time.monotonic()
        since, until = asked + SOUND_S + AT_ONCE_S, asked + WITHIN_S
        while (now := time.monotonic()) < since or not self._is_sound(now):
            if now > until:
                return "is not"
            await asyncio.sleep(POLL_S)
        return "is"

    def _is_sound(self, now: float) -> bool:
        """Whether all of the last `SOUND_S` was acknowledged at once, but for what was begun just now."""
        last = [one for one in self.begun if now - SOUND_S - AT_ONCE_S < one.at <= now - AT_ONCE_S]
        whole = len(last) >= SOUND_S / PERIOD_S - 1
        return whole and all(
            one.acknowledged_at is not None and one.acknowledged_at - one.at < AT_ONCE_S
            for one in last
        )

    async def _until_acknowledged(self, one: Begun) -> None:
        self._turn += 1
        action = ("buy", "sell")[self._turn % 2]
        fields = {"ticker": "BTC_USDT", "action": action, "quantity": 5, "signalPrice": 60000}
        message, wait_s = None, AGAIN_FIRST_S
        while True:
            sent = await self._sender.send(message, **fields)
            message = sent.message_id
            self.answers[str(sent.status) if sent.status else "no answer"] += 1
            if sent.signal_id is not None:
                one.signal_id, one.acknowledged_at = sent.signal_id, time.monotonic()
                return
            await asyncio.sleep(wait_s)
            wait_s = min(AGAIN_MOST_S, wait_s * 2)


async def steady(asked: Asked, line: Line) -> None:
    """What the test's words ask for, until there are no more."""
    async with customer_and_exchange(asked) as (house, market):
        cast = await assemble(house, market, accounts=ACCOUNTS)
        await house.api.change(f"/v1/hooks/{cast.hook.hook_id}", RATES)
        async with sender(
            asked.hooks, Path(asked.authority), cast.hook, connections=SENDERS
        ) as made:
            strategy = Strategy(made)
            while await line.heard() == "go":
                line.say(await _one_fault(strategy, house.api, market, line))


async def _one_fault(strategy: Strategy, api: Api, market: Exchange, line: Line) -> Seen:
    before = await market.count()
    strategy.forget()
    sending = asyncio.create_task(strategy.run())
    sound_wall = []
    try:
        word = "sound"
        while word == "sound":
            said = await strategy.sound()
            sound_wall.append(time.time())
            line.say(said)
            word = await line.heard()
        assert word == "stop", word
    finally:
        sending.cancel()
    async with asyncio.timeout(WITHIN_S):
        await strategy.answered()
    stories, unfinished = await _stories(api, [one.signal_id for one in strategy.begun])
    executed = (await market.executed())[before:]
    return _judged(strategy, stories, unfinished, executed, sound_wall[0])


async def _stories(api: Api, signals: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """What became of each signal at each account, when it is done; and which are not."""
    deadline, room = time.monotonic() + WITHIN_S, asyncio.Semaphore(LOOKS)
    stories: list[dict[str, Any]] = []
    unfinished: list[str] = []

    async def look(signal: str) -> None:
        path = f"/v1/signals/{UUID(signal)}/outcome"
        async with room:
            while True:
                try:
                    outcome = await api.get(path)
                    if outcome["state"] == "done":
                        stories.extend([one async for one in api.items(f"{path}/accounts")])
                        return
                except PortcullisError:
                    pass  # asked again until the deadline
                if time.monotonic() > deadline:
                    unfinished.append(signal)
                    return
                await asyncio.sleep(POLL_S)

    await asyncio.gather(*map(look, signals))
    return stories, unfinished


def _judged(
    strategy: Strategy,
    stories: list[dict[str, Any]],
    unfinished: list[str],
    executed: list[Executed],
    sound_wall: float,
) -> Seen:
    filled = filled_at_the_exchange(stories)
    there = Counter(order.order for order in executed)
    acknowledged = sorted(one.acknowledged_at for one in strategy.begun if one.acknowledged_at)
    return Seen(
        signals=len(strategy.begun), answers=dict(strategy.answers),
        outage_s=_longest(acknowledged),
        trading_outage_s=_longest(sorted(order.executed_wall for order in executed)),
        orders=len(executed),
        afterwards=sum(order.executed_wall > sound_wall for order in executed),
        states=dict(Counter(one["state"] for one in stories)),
        reasons=dict(Counter(one["reason"] for one in stories if one["state"] != "filled")),
        unfinished=unfinished,
        missing=sorted(filled - there.keys()),
        unasked=sorted(there.keys() - filled),
        doubled=sorted(order for order, times in there.items() if times > 1),
    )  # fmt: skip


def _longest(times: Sequence[float]) -> float:
    return round(max((after - before for before, after in pairwise(times)), default=0.0), 2)
