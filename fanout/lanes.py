"""Lanes: one queue per account and instrument, worked in order; across lanes all at once.

A lane's job is one of: cancel an open order, send an intent of ours, resolve one that may have
been sent. While a job is in doubt the lane stands still: nothing of that account in that instrument
is sent on top of an unknown; its other instruments go on. `known` holds every attempt that somebody
in this process has in hand, so that the sweep adopts only what nobody works on. A name is in it
*before* the row that makes it an intent can be seen: else the sweep could take the attempt for a
dead process's doubt, and send another.

What was adopted may be several doubts in a row. All are asked about before anything is sent anew: a next
attempt, or a second leg, that one of them releases waits behind the rest, in the order in which they
were meant. The next ones are asked about ahead of their turn (asking.py).

When a lease is lost, or a job fails, the lane drops all that it has: who owns the partition then
finds the same rows. Until the adopter has looked at all rows once more, nothing new is sent in that
lane: what comes (a plan's order whose transaction began before, a second leg that the follower
released) is left to the adopter, too, who puts it behind what it would have overtaken.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic
from typing import Literal

import msgspec
import structlog

from fanout import metrics
from fanout.asking import AHEAD
from fanout.carry import Carrier
from fanout.leases import LeaseLost
from fanout.lesson import Consequence
from fanout.order import FINAL, Order, OrdState
from fanout.ports import BrokerAccount
from fanout.trace import ORDERS_TRACED, outside, say, under
from tenancy.scope import TenantScope
from tenancy.values import AccountID

log = structlog.get_logger()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do in a lane."""

    kind: Literal["send", "resolve", "cancel"]
    scope: TenantScope
    account: BrokerAccount
    order: Order
    epoch: int  # of the lease under which the job was made: worth nothing under another
    sent_by: datetime | None = None  # resolve: the latest moment a request may have left
    waited_s: float = 0.0  # send: how long its intent took to be durable
    deferred: bool = False  # send: it was released by a doubt, and waits for the others of its lane


Lane = tuple[AccountID, str]
"""The account, and the instrument as its broker names it."""


class Lanes:
    """All lanes of this worker."""

    def __init__(self, carrier: Carrier, follow: Callable[[Job], None], known: set[str]) -> None:
        """`follow` is told of every order that rests at the broker after its job.

        `known` is shared with all who have attempts in hand: intender, learner, follower.
        """
        self._carrier = carrier
        self._follow = follow
        self._queues: dict[Lane, deque[Job]] = {}
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._broken: dict[Lane, int] = {}
        self._at_it_since: dict[Lane, float] = {}
        self.known = known

    def __repr__(self) -> str:
        return f"Lanes(busy={len(self._tasks)}, known={len(self.known)})"

    def put(self, job: Job) -> None:
        """Queue the job behind what its lane has already.

        An attempt is never in a lane twice: whichever job came first settles it. (A cancel beside
        it is another thing; of those, too, one is enough.)
        """
        lane = job.account.account_id, job.order.symbol
        if job.kind == "send" and lane in self._broken:
            self.known.discard(job.order.cl_ord_id)
            log.info("order_left_to_the_adopter", cl_ord_id=job.order.cl_ord_id)
            return
        self.known.add(job.order.cl_ord_id)
        queue = self._queues.setdefault(lane, deque())
        if any(
            (queued.kind == "cancel") == (job.kind == "cancel")
            and queued.order.cl_ord_id == job.order.cl_ord_id
            for queued in queue
        ):
            if job.kind != "cancel":
                log.error("attempt_queued_twice", cl_ord_id=job.order.cl_ord_id, kind=job.kind)
            return
        queue.append(self._durable(job))
        if lane not in self._tasks:
            metrics.LANES_BUSY.inc()
            self._tasks[lane] = asyncio.create_task(self._work(lane), context=outside())

    def is_busy(self, account: AccountID, symbol: str) -> bool:
        """Whether that lane is at work, or stands still with a job in hand."""
        return (account, symbol) in self._queues

    def busy_parts(self) -> set[int]:
        """Partitions with a lane at work."""
        return {job.order.part for queue in self._queues.values() for job in queue}

    def broken(self) -> dict[Lane, int]:
        """The lanes that dropped what they had, and how often."""
        return dict(self._broken)

    def mended(self, lanes: Mapping[Lane, int]) -> None:
        """Their rows were all adopted since `lanes` was asked for. One that broke again stays broken."""
        self._broken = {
            lane: times for lane, times in self._broken.items() if lanes.get(lane) != times
        }

    def waiting(self) -> int:
        """How many lanes have more to do than what they are at."""
        return sum(len(queue) > 1 for queue in self._queues.values())

    def oldest_s(self) -> float:
        """How long the lane that has been at one thing longest has been at it; 0: none is at work."""
        now = monotonic()
        return now - min(self._at_it_since.values(), default=now)

    async def idle(self) -> None:
        """Until no lane has work."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _work(self, lane: Lane) -> None:
        queue = self._queues[lane]
        try:
            while queue:
                self._at_it_since[lane] = monotonic()
                self._ask_ahead(queue)
                if not await self._do(queue[0], queue):
                    break
                queue.popleft()
        finally:
            if any(job.kind != "cancel" for job in queue):
                self._broken[lane] = self._broken.get(lane, 0) + 1
            for job in queue:
                self.known.discard(job.order.cl_ord_id)
                self._carrier.asking.forget(job.order)
            del self._queues[lane], self._tasks[lane]
            self._at_it_since.pop(lane, None)
            metrics.LANES_BUSY.dec()

    def _ask_ahead(self, queue: deque[Job]) -> None:
        """The first is asked about at its turn, which is now."""
        for job in itertools.islice(queue, 1, AHEAD):
            if job.kind == "resolve":
                assert job.sent_by is not None
                self._carrier.ask_ahead(
                    job.account, job.order, sent_by=job.sent_by, epoch=job.epoch
                )

    async def _do(self, job: Job, queue: deque[Job]) -> bool:
        """One job and what follows from it; False where the lane cannot go on.

        Errors end here. What is left in the lane is then dropped with the job, because an order
        must not overtake one before it: the sweep adopts all of them, in their order.
        """
        following: Job | None = job
        while following is not None:
            current = following
            try:
                with traced(current) as span:
                    consequence = await self._carry(current)
                    say(span, _end_of(consequence))
                following = self._after(current, consequence)
                if _settled_by_another(current, consequence):
                    log.info("lane_overtaken", cl_ord_id=current.order.cl_ord_id)
                    return False
                if following is not None and _defer(following, current, queue):
                    return True
            except LeaseLost as error:
                self.known.discard(current.order.cl_ord_id)
                log.info("lane_lost", cl_ord_id=current.order.cl_ord_id, why=str(error))
                return False
            except Exception:
                self.known.discard(current.order.cl_ord_id)
                log.exception(
                    "lane_job_failed", cl_ord_id=current.order.cl_ord_id, kind=current.kind
                )
                return current.kind == "cancel"  # that one is repeated by who follows the order
        return True

    async def _carry(self, job: Job) -> Consequence | None:
        if job.kind == "cancel":
            return await self._carrier.cancel(job.scope, job.account, job.order, epoch=job.epoch)
        if job.kind == "send":
            return await self._carrier.send(
                job.scope, job.account, job.order, epoch=job.epoch, waited_s=job.waited_s
            )
        assert job.sent_by is not None
        return await self._carrier.resolve(
            job.scope, job.account, job.order, sent_by=job.sent_by, epoch=job.epoch
        )

    def _after(self, job: Job, consequence: Consequence | None) -> Job | None:
        """The job that follows at once: the next attempt, the second leg, or a wished cancel."""
        if consequence is None:  # a cancel without a clear answer: what became of it is asked
            self._follow(job)
            return None
        order = consequence.order
        for unwanted in consequence.cancels:
            self.put(msgspec.structs.replace(job, kind="cancel", order=unwanted, sent_by=None))
        if order.state in FINAL:
            self.known.discard(order.cl_ord_id)
        elif order.state in (OrdState.NEW, OrdState.PARTIALLY_FILLED):
            self._follow(msgspec.structs.replace(job, order=order))
            if consequence.cancel and job.kind != "cancel":
                return msgspec.structs.replace(job, kind="cancel", order=order, sent_by=None)
        if consequence.sends is None:
            return None
        sends = msgspec.structs.replace(job, kind="send", order=consequence.sends, sent_by=None)
        return self._durable(sends)

    def _durable(self, job: Job) -> Job:
        """A send comes here right after its intent's commit: how long that took is known now."""
        waited_s = self._carrier.waited_s(job.order) if job.kind == "send" else 0.0
        return msgspec.structs.replace(job, waited_s=waited_s)


def _defer(job: Job, after: Job, queue: deque[Job]) -> bool:
    """Put a send that `after` released behind the doubts that wait in its lane, and behind what other
    doubts released before it; False where there are none. The first of `queue` is at work.
    """
    doubts = [at for at, queued in enumerate(queue) if at > 0 and queued.kind == "resolve"]
    at = doubts[-1] + 1 if doubts else 1
    while at < len(queue) and queue[at].deferred:
        at += 1
    alone = not doubts and (after.kind != "resolve" or at == 1)
    if job.kind != "send" or alone:
        return False
    queue.insert(at, msgspec.structs.replace(job, deferred=True))
    return True


def traced(job: Job) -> under:
    """The job's span, under the intent's; of the many orders of a large signal, the trace id alone."""
    order = job.order
    ids = {
        "signal_id": order.signal_id, "account_id": order.account_id, "cl_ord_id": order.cl_ord_id,
        "broker": order.broker, "attempt": order.attempt,
    }  # fmt: skip
    wanted = order.place < ORDERS_TRACED
    return under(order.traceparent, f"order.{job.kind}", ids, wanted=wanted)


def _end_of(consequence: Consequence | None) -> dict[str, object]:
    return {} if consequence is None else {"state": consequence.order.state.value}


def _settled_by_another(job: Job, consequence: Consequence | None) -> bool:
    """A former owner wrote the end first, and its next attempt or second leg is in nobody's lane."""
    return (
        job.kind != "cancel"
        and consequence is not None
        and not consequence.news
        and consequence.order.state in FINAL
    )
