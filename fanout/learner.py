"""Group commit of what was learned: one transaction per tenant carries every lesson that waits.

A lane hands in a lesson and waits until it is durable. While one commit is under way the next
lessons gather, so a fan-out of a thousand orders costs tens of commits, not thousands; when idle
a lesson is written at once.

PostgreSQL away: the lessons wait here and are tried until they are written. If the process dies
first, nothing is lost but time: the order is still an intent, and the broker is asked.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import structlog

from fanout import book, metrics
from fanout.lesson import Consequence, Lesson
from tenancy.database import Database
from tenancy.errors import PortcullisError, Retry
from tenancy.scope import TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

BATCH_MAX = 256
RETRY_S = 0.2

_Waiting = tuple[Lesson, "asyncio.Future[Consequence]"]


class Learner:
    """The one way from a lane to the book."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[TenantID, list[_Waiting]] = defaultdict(list)
        self._writers: dict[TenantID, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"Learner(waiting={sum(map(len, self._waiting.values()))})"

    async def learn(self, scope: TenantScope, lesson: Lesson) -> Consequence:
        """Write the lesson; returns when it is durable. Waits as long as PostgreSQL is away."""
        future: asyncio.Future[Consequence] = asyncio.get_running_loop().create_future()
        self._waiting[scope.tenant_id].append((lesson, future))
        if scope.tenant_id not in self._writers:
            self._writers[scope.tenant_id] = asyncio.create_task(self._write(scope))
        return await future

    async def _write(self, scope: TenantScope) -> None:
        while batch := self._next(scope.tenant_id):
            try:
                consequences = await self._commit(scope, [lesson for lesson, _ in batch])
            except Exception as error:
                log.exception("lessons_not_written", lessons=len(batch))
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            metrics.LEARN_BATCH.observe(len(batch))
            for (_, future), consequence in zip(batch, consequences, strict=True):
                if not future.done():
                    future.set_result(consequence)
        # No await since the last look: a lesson that comes later starts a writer of its own.
        del self._writers[scope.tenant_id]

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

    async def _commit(self, scope: TenantScope, lessons: list[Lesson]) -> list[Consequence]:
        """Until it is written: `learn` is idempotent, so a commit of unknown outcome is repeated.

        If the first one did succeed, the second finds no news and names no order to send; the
        sweep then adopts the intent that the first one wrote, as doubt.
        """
        while True:
            try:
                async with self._database.tenant(scope) as conn:
                    return await book.learn(conn, scope, lessons)
            except PortcullisError as error:
                if error.retry is Retry.NEVER:
                    raise
                log.warning("lessons_wait", lessons=len(lessons), error=str(error))
                await asyncio.sleep(RETRY_S)
