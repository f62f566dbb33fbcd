"""Follow orders that rest at a broker until they are final, by asking.

The broker's own event stream will make this quick (issue 7); asking is what remains true after
any gap in it. A slow or silent broker costs its own orders' freshness, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import structlog

from fanout.carry import Carrier
from fanout.lanes import Job
from fanout.leases import LeaseLost, Leases
from fanout.order import FINAL

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
            gate = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._ask(job, gate) for job in list(self._jobs.values())))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every_s)

    async def _ask(self, job: Job, gate: asyncio.Semaphore) -> None:
        name = job.order.cl_ord_id
        async with gate:
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
