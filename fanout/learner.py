"""Group commit of what was learned: one transaction per tenant carries every lesson that waits.

A lane hands in a lesson and waits until it is durable. While one commit is under way the next
lessons gather, so a fan-out of a thousand orders costs tens of commits, not thousands; when idle
a lesson is written at once.

While a crowd of orders is still on its way out, lessons gather for up to `GATHER_S`: what is learned of
the first orders is not written at the expense of the last ones. *Crash meanwhile: those orders are intents
without an outcome, and their brokers are asked.*

PostgreSQL away: the lessons wait here and are tried until they are written. If the process dies
first, nothing is lost but time: the order is still an intent, and the broker is asked. A batch
that PostgreSQL refuses is written one by one, so that only the lesson it means fails.

What a lesson may release (the next attempt, the second leg) is `known` before the commit, so that
no sweep can take it for a dead process's doubt between the commit and the lane's next step.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

import structlog

from fanout import book, metrics
from fanout.crowd import Crowd
from fanout.leases import LeaseLost, Leases
from fanout.lesson import Consequence, Lesson
from fanout.order import FINAL, cl_ord_id, order_id
from fanout.stops_venues import NO_VENUES, Venues
from fanout.trace import ORDERS_TRACED, inside, now_ns, outside, told
from tenancy.database import Connection, Database
from tenancy.errors import OutcomeUnknown, PortcullisError, Retry
from tenancy.scope import TenantScope
from tenancy.values import SignalID, TenantID

log = structlog.get_logger()

BATCH_MAX = 512
RETRY_S = 0.2
GATHER_S = 0.25

_Waiting = tuple[Lesson, "asyncio.Future[Consequence]"]


class Learner:
    """The one way from a lane to the book."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        known: set[str],
        venues: Venues = NO_VENUES,
        watch: Callable[[TenantScope, Iterable[str]], None] = lambda scope, names: None,
        may_have_ended: Callable[[SignalID], None] = lambda signal: None,
        crowd: Crowd | None = None,
    ) -> None:
        """`watch` is told which held orders were written, changed or ended; `may_have_ended`, after the
        commit, the signal of each order that ended. `crowd`: the orders on their way out.
        """
        self._crowd = crowd or Crowd()
        self._database = database
        self._leases = leases
        self._known = known
        self._venues = venues
        self._watch = watch
        self._may_have_ended = may_have_ended
        self._waiting: dict[TenantID, list[_Waiting]] = defaultdict(list)
        self._writers: dict[TenantID, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"Learner(waiting={sum(map(len, self._waiting.values()))})"

    async def learn(self, scope: TenantScope, lesson: Lesson) -> Consequence:
        """Write the lesson; returns when it is durable. Waits as long as PostgreSQL is away.

        Raises LeaseLost for a lesson that counts under its lease alone, when that is lost.
        """
        begun_ns = now_ns()
        future: asyncio.Future[Consequence] = asyncio.get_running_loop().create_future()
        self._waiting[scope.tenant_id].append((lesson, future))
        if scope.tenant_id not in self._writers:
            self._writers[scope.tenant_id] = asyncio.create_task(
                self._write(scope), context=outside()
            )
        with inside("order.learn") as span:
            consequence, recorded = await future, span.is_recording()
        if not recorded:
            _tell_trace(lesson, consequence, begun_ns)
        return consequence

    async def _write(self, scope: TenantScope) -> None:
        while scope.tenant_id in self._waiting:
            await self._crowd.left(GATHER_S)
            batch = self._next(scope.tenant_id)
            if not await self._write_batch(scope, batch) and len(batch) > 1:
                for one in batch:
                    await self._write_batch(scope, [one])
        # No await since the last look: a lesson that comes later starts a writer of its own.
        del self._writers[scope.tenant_id]

    async def _write_batch(self, scope: TenantScope, batch: list[_Waiting]) -> bool:
        """Write it and tell those who wait. False where a batch was refused: they wait on."""
        lessons = [lesson for lesson, _ in batch]
        claimed = {name for lesson in lessons for name in _may_follow(lesson)} - self._known
        self._known |= claimed
        try:
            consequences = await self._commit(scope, lessons)
        except Exception as error:
            self._known -= claimed
            log.exception("lessons_not_written", lessons=len(batch))
            if len(batch) == 1:
                _tell(batch[0][1], error)
            return False
        sent = {c.sends.cl_ord_id for c in consequences if isinstance(c, Consequence) and c.sends}
        self._known -= claimed - sent
        held = [name for c in consequences if isinstance(c, Consequence) for name in c.watch]
        if held:
            self._watch(scope, held)
        metrics.LEARN_BATCH.observe(len(batch))
        for (_, future), consequence in zip(batch, consequences, strict=True):
            _tell(future, consequence)
            if isinstance(consequence, Consequence) and consequence.order.state in FINAL:
                self._may_have_ended(consequence.order.signal_id)
        return True

    def _next(self, tenant: TenantID) -> list[_Waiting]:
        """As many lessons as go into one transaction, at most one for each order."""
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        seen: set[str] = set()
        for waiting in self._waiting.pop(tenant, []):
            order = waiting[0].order.cl_ord_id
            (later if order in seen or len(batch) == BATCH_MAX else batch).append(waiting)
            seen.add(order)
        if later:
            self._waiting[tenant] = later
        return batch

    async def _commit(
        self, scope: TenantScope, lessons: list[Lesson]
    ) -> list[Consequence | LeaseLost]:
        """Until it is written: `learn` is idempotent, so a commit of unknown outcome is repeated.

        If the first one did succeed, the second changes nothing, and names what the first one
        released: it is in nobody's hands but ours, because its name is claimed until we return.
        """
        again = False
        while True:
            try:
                async with self._database.tenant(scope) as conn:
                    lost = await self._lost(conn, lessons)
                    counting = [lesson for lesson in lessons if _lease(lesson) not in lost]
                    learned = iter(
                        await book.learn(conn, scope, counting, again=again, venues=self._venues)
                    )
                return [
                    LeaseLost(f"{lesson.order.cl_ord_id}: its lease ended before this was written")
                    if _lease(lesson) in lost
                    else next(learned)
                    for lesson in lessons
                ]
            except PortcullisError as error:
                if error.retry is Retry.NEVER:
                    raise
                again |= isinstance(error, OutcomeUnknown)
                log.warning("lessons_wait", lessons=len(lessons), error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _lost(self, conn: Connection, lessons: list[Lesson]) -> set[tuple[int, int] | None]:
        """The leases on which a lesson of these counts and which are not ours any more."""
        wanted = {lease for lesson in lessons if (lease := _lease(lesson)) is not None}
        return set(wanted - await self._leases.still_held(conn, wanted)) if wanted else set()


def _lease(lesson: Lesson) -> tuple[int, int] | None:
    return None if lesson.epoch is None else (lesson.order.part, lesson.epoch)


def _may_follow(lesson: Lesson) -> list[str]:
    """The attempts that the lesson may turn into intents: both names are derived."""
    order, names = lesson.order, []
    if lesson.successor is not None:
        names.append(lesson.successor.cl_ord_id)
    if order.leg == 0:
        names.append(cl_ord_id(order_id(order.signal_id, order.account_id, 1), 1))
    return names


def _tell_trace(lesson: Lesson, consequence: Consequence, begun_ns: int) -> None:
    """News of an order that rests is a span of its own; asking for it, again and again, is none."""
    before, after = lesson.order, consequence.order
    changed = (before.state, before.cum_qty) != (after.state, after.cum_qty)
    if consequence.news and changed and before.place < ORDERS_TRACED:
        said = {"cl_ord_id": before.cl_ord_id, "state": after.state.value}
        told(before.traceparent, "order.learn", said, begun_ns=begun_ns)


def _tell(future: asyncio.Future[Consequence], word: Consequence | Exception) -> None:
    if future.done():
        return
    if isinstance(word, Exception):
        future.set_exception(word)
    else:
        future.set_result(word)
