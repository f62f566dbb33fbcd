"""A strategy under load: many kinds of signals, each sent until it is answered 202.

Every answer is noted, one JSON line each, for the auditor: `message_id, body, status, signalId`.
What has no clear answer (no connection, a time-out, 429, 5xx) is sent again under the same id and
with the same body, as Standard Webhooks asks of senders; now and then so is what was answered.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, TextIO
from uuid import UUID

from ops.trial.sender import Sender, Sent
from tenancy.errors import Unavailable
from tenancy.pause import pause

OUTSTANDING_MAX = 8
AGAIN_FIRST_S, AGAIN_MOST_S = 0.1, 1.5
REPEAT_SHARE = 0.15
"""Of the answered messages that many are sent once more, as after a lost answer."""

PRICES = {"BTC_USDT": 60000, "ETH_USDT": 3000}


class Notes:
    """The sender's own record of what was answered."""

    def __init__(self, file: Path) -> None:
        self.path = file
        self._file: TextIO = file.open("w")
        self.statuses: Counter[int] = Counter()

    def write(self, sent: Sent) -> None:
        self.statuses[sent.status] += 1
        said = {
            "message_id": sent.message_id,
            "body": sent.body,
            "status": sent.status,
            "signalId": sent.signal_id,
        }
        self._file.write(json.dumps(said) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


KINDS = {"buy": 26, "sell": 26, "exit": 16, "limit": 10, "timed": 6, "protected": 8, "cancel": 8}


def next_signal(random: Random) -> dict[str, Any]:
    """Buys and sells that turn positions over, entries with stop and target behind them, exits, resting
    orders, some of them for a few seconds only, and cancels of these."""
    ticker = random.choice(sorted(PRICES))
    price = PRICES[ticker]
    kind = random.choices(list(KINDS), weights=list(KINDS.values()))[0]
    if kind in ("exit", "cancel"):
        return {"ticker": ticker, "action": kind}
    if kind in (
        "limit",
        "timed",
    ):  # far below the market: it rests until somebody or its time ends it
        resting: dict[str, Any] = {"orderType": "limit", "limitPrice": price * 0.8}
        if kind == "timed":
            resting["cancelAfter"] = random.randint(1, 15)
        return {"ticker": ticker, "action": "buy", "quantity": random.randint(1, 9), **resting}
    side = kind if kind != "protected" else random.choice(("buy", "sell"))
    fields = {"ticker": ticker, "action": side, "quantity": random.randint(1, 30)}
    if kind == "protected":
        fields |= {"stopLoss": {"percent": 0.5}, "takeProfit": {"percent": 0.5}}
    return {**fields, "signalPrice": price}


class Load:
    """One strategy's sender."""

    def __init__(self, sender: Sender, notes: Notes, random: Random) -> None:
        self._sender = sender
        self._notes = notes
        self._random = random
        self._waiting: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None
        self.accepted = 0

    async def run(self, stop: asyncio.Event, *, per_s: float) -> None:
        """A signal now and then, until `stop`; while too many have no answer, none is begun."""
        while not stop.is_set():
            if len(self._waiting) < OUTSTANDING_MAX:
                self._begin(next_signal(self._random))
            await pause(stop, self._random.expovariate(per_s))

    async def finish(self, within_s: float) -> None:
        """Wait until all is answered; then close what is open and end what rests, last of all.

        Raises Unavailable, also where one was refused for good earlier.
        """
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*self._waiting)
                for action in ("cancel", "exit", "cancel"):  # an exit leaves nothing behind it
                    for ticker in sorted(PRICES):
                        self._begin({"ticker": ticker, "action": action})
                    await asyncio.gather(*self._waiting)
            if self._failed is not None:
                raise self._failed
        except TimeoutError:
            waiting = len(self._waiting)
            raise Unavailable(
                f"{waiting} signals had no answer {within_s:g} s after the last fault"
            ) from None

    async def drop(self) -> None:
        """Give up what has no answer; nothing to do where `finish` came first."""
        for task in list(self._waiting):
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    def _begin(self, fields: dict[str, Any]) -> None:
        message = f"msg_{UUID(int=self._random.getrandbits(128)).hex}"
        repeats = 1 + (self._random.random() < REPEAT_SHARE)
        task = asyncio.create_task(self._until_accepted(message, fields, repeats))
        self._waiting.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failed = task.exception()

    async def _until_accepted(self, message: str, fields: dict[str, Any], times: int) -> None:
        wait = AGAIN_FIRST_S
        while times:
            sent = await self._sender.send(message, **fields)
            self._notes.write(sent)
            if sent.status == 202:
                self.accepted += 1
                times -= 1
            elif 400 <= sent.status < 500 and not self._may_pass(sent.status):
                raise Unavailable(f"{message} was refused for good: {sent.status} {sent.answer}")
            else:
                await asyncio.sleep(wait)
                wait = min(AGAIN_MOST_S, wait * 2)

    def _may_pass(self, status: int) -> bool:
        """A new hook's secret is known to every ingress within a second; until then it says 401."""
        return status in (408, 429) or (status == 401 and not self.accepted)
