"""What the admin process does by the clock: each job every so often, in one process at a time.

1. Take the advisory lock of the job for this transaction; another process has it: nothing to do.
2. The work, in transactions of its own.
3. The lock goes with its transaction, also when the process dies.

The lock saves double work and is no fence: a job must bear running twice at once (applying.py does,
by the row's lock and state). A job that fails is logged, counted and tried again in its next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec
import structlog

from gateway import metrics
from gateway.admin import idempotency
from gateway.admin.applying import settle_due
from gateway.admin.export_jobs import make_exports, remove_exports
from gateway.admin.key_calendar import warn_of_keys
from gateway.admin.operation import Services
from gateway.admin.resealing import Resealing
from tenancy.pause import pause
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

_STANDS = "SET LOCAL idle_in_transaction_session_timeout = '10min'"
"""A turn's own transaction stands still while the job works in others (tenancy.database.IDLE_S)."""
CLERK = Actor("sys", "scheduler")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`work` returns how many things it did. `every_s`: from the end of one turn to the next."""

    name: str
    every_s: float
    work: Callable[[Services], Awaitable[int]]


async def every_tenant(services: Services) -> AsyncIterator[TenantScope]:
    """A scope in each tenant, for housekeeping."""
    after = None
    while True:
        async with services.database.shared() as conn:
            cursor = await conn.execute("SELECT tenant_id FROM find_tenants(%s, 100)", (after,))
            rows = await cursor.fetchall()
        for row in rows:
            after = row[0]
            yield TenantScope(TenantID(after), CLERK)
        if len(rows) < 100:
            return


async def forget_answers(services: Services) -> int:
    """Clear the answers that were kept for repeats, after their day."""
    forgotten = 0
    async for scope in every_tenant(services):
        async with services.database.tenant(scope) as conn:
            forgotten += await idempotency.forget(conn)
    return forgotten


JOBS: tuple[Job, ...] = (
    Job(name="proposals", every_s=1.0, work=settle_due),
    Job(name="forget_answers", every_s=3600.0, work=forget_answers),
    Job(name="keys", every_s=60.0, work=warn_of_keys),
    Job(name="exports", every_s=1.0, work=make_exports),
    Job(name="forget_exports", every_s=3600.0, work=remove_exports),
    Job(name="reseal", every_s=10.0, work=Resealing()),
)


async def run(services: Services, stop: asyncio.Event, jobs: Sequence[Job] = JOBS) -> None:
    """Until `stop` is set."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_turns(services, job, stop))


async def _turns(services: Services, job: Job, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await turn(services, job)
        await pause(stop, job.every_s)


async def turn(services: Services, job: Job) -> int:
    """One turn of the job; how many things it did, 0 where another process is at it or it failed."""
    try:
        async with services.database.shared() as conn:
            await conn.execute(_STANDS)
            row = await (
                await conn.execute(
                    "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))",
                    (f"portcullis.job.{job.name}",),
                )
            ).fetchone()
            if row is None or not row[0]:
                return 0
            done = await job.work(services)
    except Exception as error:  # the next turn tries again; nothing else hangs on this one
        metrics.JOB_TURNS.labels(job.name, "failed").inc()
        log.warning("job_failed", job=job.name, error=repr(error))
        return 0
    metrics.JOB_TURNS.labels(job.name, "done").inc()
    return done
