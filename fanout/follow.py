"""Follow orders that rest at a broker until they are final, by asking.

Each is asked for once a round; a broker that tells by itself (fanout/hints.py) makes it be asked for at
once. Asking is what remains true after any gap. Of one order at most one question is under way, and
one waits behind it: whatever is heard while a question is under way, its answer may be older.
A slow or silent broker costs its own orders' freshness, nothing else.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator

import msgspec
import structlog

from fanout.carry import Carrier
from fanout.lanes import Job
from fanout.leases import LeaseLost, Leases
from fanout.order import FINAL
from fanout.ports import BrokerAccount
from tenancy.pause import pause
from tenancy.values import AccountID

log = structlog.get_logger()

AT_ONCE = 16


class Follower:
    """The acknowledged, unfinished orders of this worker."""

    def __init__(
        self, carrier: Carrier, leases: Leases, put: Callable[[Job], None], known: set[str]
    ) -> None:
        self._carrier = carrier
        self._leases = leases
        self._put = put
        self._known = known
        self._jobs: dict[str, Job] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(AT_ONCE)
        )

    def __repr__(self) -> str:
        return f"Follower({len(self._jobs)} orders)"

    def add(self, job: Job) -> None:
        self._known.add(job.order.cl_ord_id)
        self._jobs[job.order.cl_ord_id] = job

    def jobs(self) -> list[Job]:
        """What rests at brokers and is followed, as it was last heard of."""
        return list(self._jobs.values())

    async def run(self, stop: asyncio.Event, *, every_s: float) -> None:
        """Ask for each order once every `every_s` seconds, until told to stop."""
        while not stop.is_set():
            for name in list(self._jobs):
                if name not in self._asking:
                    self._begin(name)
            await pause(stop, every_s)
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def ask(self, cl_ord_id: str) -> None:
        """Ask for that order at once; once more after a question that is under way. Its lane does, in doubt."""
        if cl_ord_id in self._asking:
            self._again.add(cl_ord_id)
        elif cl_ord_id in self._jobs:
            self._begin(cl_ord_id)
        else:
            self._carrier.asking.hurry(cl_ord_id)

    def ask_account(self, account: AccountID) -> None:
        """Ask for every order of that account that is followed, or in doubt."""
        for name, job in list(self._jobs.items()):
            if job.account.account_id == account:
                self.ask(name)
        for order, _ in self._carrier.asking.in_doubt():
            if order.account_id == account:
                self._carrier.asking.hurry(order.cl_ord_id)

    def open_accounts(self) -> Iterator[tuple[str, BrokerAccount]]:
        """Broker and account of each order that is followed or in doubt."""
        for job in self._jobs.values():
            yield job.order.broker, job.account
        for order, account in self._carrier.asking.in_doubt():
            yield order.broker, account

    def _begin(self, name: str) -> None:
        self._asking[name] = asyncio.create_task(self._ask_until_heard(name))

    async def _ask_until_heard(self, name: str) -> None:
        try:
            while (job := self._jobs.get(name)) is not None:
                self._again.discard(name)
                await self._ask(job)
                if name not in self._again:
                    return
        finally:
            self._again.discard(name)
            del self._asking[name]

    async def _ask(self, job: Job) -> None:
        name = job.order.cl_ord_id
        async with self._gates[job.order.broker]:
            if not self._leases.holds(job.order.part):
                self._drop(name)
                return
            try:
                consequence = await self._carrier.look(
                    job.scope, job.account, job.order, epoch=job.epoch
                )
            except LeaseLost:
                self._drop(name)
                return
            except Exception:
                log.exception("follow_failed", cl_ord_id=name)
                return
        if consequence is None:
            return
        for unwanted in consequence.cancels:
            self._put(msgspec.structs.replace(job, kind="cancel", order=unwanted))
        if consequence.order.state in FINAL:
            self._drop(name)
        else:
            self._jobs[name] = msgspec.structs.replace(job, order=consequence.order)
            if consequence.cancel:  # wished, and not done yet: by a lost answer, or by a crash
                self._put(msgspec.structs.replace(job, kind="cancel", order=consequence.order))
        if consequence.sends is not None:
            # Under the job's own epoch: if the lease was lost meanwhile, the lane refuses it.
            self._put(msgspec.structs.replace(job, kind="send", order=consequence.sends))

    def _drop(self, name: str) -> None:
        self._jobs.pop(name, None)
        self._known.discard(name)
