"""The dead man's switch: a broker that cancels an account's orders when nobody says that we are alive.

For accounts whose settings ask for it (`dead_man_s`, seconds) at brokers that have it (`Caps.dead_man`).
The worker that holds the account's partition says it every third of that time while orders rest, and
calls it off when none does. It cancels orders, not positions: stops that the broker holds for us go with
them where it counts them among the orders.

Nothing here relies on it: not confirmed is said (metrics, /readyz), and tried again. When it has fired,
the follower finds the orders cancelled, as whoever cancels them. A worker that loses the partition says
no more and calls nothing off: the next owner goes on, or else it shall fire. A crash leaves the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import structlog

from fanout import metrics
from fanout.abilities import DeadMan
from fanout.ports import Broker, BrokerAccount
from tenancy.account import dead_man_s
from tenancy.pause import pause
from tenancy.values import AccountID, partition

log = structlog.get_logger()

LOOK_S = 0.5
"""How often it looks which accounts have open orders."""
BEATS = 3
"""So many times within its seconds it is said that we are alive."""
AGAIN_S = 1.0
"""After what was not confirmed it is said again, at the latest after so long."""


class Guard:
    """One account's switch, as far as this worker knows. `seconds` 0: it is being called off."""

    def __init__(self, broker: str, account: BrokerAccount) -> None:
        self.broker, self.account = broker, account
        self.seconds = 0.0
        self.next_at = float("-inf")
        self.confirmed_at: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.over = False

    def __repr__(self) -> str:
        return f"Guard({self.account.account_id}, {self.seconds:g} s)"

    def wants(self, seconds: float) -> None:
        if seconds != self.seconds:
            self.seconds, self.next_at = seconds, float("-inf")

    def is_due(self, now: float) -> bool:
        return (self.task is None or self.task.done()) and now >= self.next_at

    def is_confirmed(self, now: float) -> bool:
        """Whether the broker still counts, by what it last confirmed."""
        return self.confirmed_at is not None and now - self.confirmed_at < self.seconds

    def said(self, started: float, seconds: float, *, confirmed: bool) -> None:
        """What became of a word that was sent at `started`."""
        if confirmed:
            self.confirmed_at = started
            self.over = seconds == 0 == self.seconds
            self.next_at = started + seconds / BEATS
        else:
            self.next_at = started + min(AGAIN_S, seconds / BEATS or AGAIN_S)
        if seconds != self.seconds:  # it is to be another one meanwhile
            self.next_at = float("-inf")


class DeadMen:
    """The switches of this worker's accounts."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        open_accounts: Callable[[], Iterable[tuple[str, BrokerAccount]]],
        holds: Callable[[int], bool],
        now: Callable[[], float],
    ) -> None:
        self._brokers, self._open_accounts, self._holds = brokers, open_accounts, holds
        self._now = now
        self._guards: dict[AccountID, Guard] = {}

    def __repr__(self) -> str:
        return f"DeadMen({self.words()})"

    def words(self) -> str:
        """For people."""
        now = self._now()
        armed = [guard for guard in self._guards.values() if guard.seconds > 0]
        without = sum(not guard.is_confirmed(now) for guard in armed)
        said = f"{len(armed)} account(s) with a dead man's switch"
        return f"{said}, {without} not confirmed by their broker" if without else said

    async def run(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                self.look()
                await pause(stop, LOOK_S)
        finally:
            tasks = [guard.task for guard in self._guards.values() if guard.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def look(self) -> None:
        """Say that we are alive where it is time, and call off what is not needed any more."""
        now = self._now()
        resting = {
            account.account_id: (name, account)
            for name, account in self._open_accounts()
            if self._brokers[name].caps.dead_man and dead_man_s(account.settings)
        }
        for one, (name, account) in resting.items():
            guard = self._guards.setdefault(one, Guard(name, account))
            guard.account, guard.over = account, False
            guard.wants(dead_man_s(account.settings))
        for one, guard in list(self._guards.items()):
            if guard.over or not self._holds(partition(one)):
                if guard.task is None or guard.task.done():
                    del self._guards[one]
                continue
            if one not in resting:
                guard.wants(0.0)
            if guard.is_due(now):
                guard.task = asyncio.create_task(self._say(guard, now), name="dead-man")
        self._count(now)

    async def _say(self, guard: Guard, started: float) -> None:
        seconds, was = guard.seconds, guard.is_confirmed(started)
        broker = cast(DeadMan, self._brokers[guard.broker])
        try:
            confirmed = await broker.dead_man(guard.account, seconds)
        except Exception:  # an adapter's mistake: what cannot be classified is not confirmed
            log.exception("dead_man_failed", broker=guard.broker)
            confirmed = False
        guard.said(started, seconds, confirmed=confirmed)
        if confirmed != was and seconds > 0:
            event = "dead_man_confirmed" if confirmed else "dead_man_not_confirmed"
            log.warning(event, broker=guard.broker, account=str(guard.account.account_id))

    def _count(self, now: float) -> None:
        for name, broker in self._brokers.items():
            if not broker.caps.dead_man:
                continue
            mine = [g for g in self._guards.values() if g.broker == name and g.seconds > 0]
            confirmed = sum(guard.is_confirmed(now) for guard in mine)
            metrics.DEAD_MEN.labels(name, "confirmed").set(confirmed)
            metrics.DEAD_MEN.labels(name, "unconfirmed").set(len(mine) - confirmed)
