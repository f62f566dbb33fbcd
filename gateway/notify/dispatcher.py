"""Look for channels and devices that have something to tell, and give each a turn; any number of processes may.

They are found by a function that tells ids only, and taken by one process at a time
(gateway/notify/claims.py). So many turns at once, and so many of one tenant: a tenant whose receivers
hang does not hold up another's. PostgreSQL away: nothing is sent, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from uuid import UUID

import psycopg
import structlog

from gateway.notify import metrics
from gateway.notify.claims import Source
from gateway.notify.sender import Sender
from gateway.notify.settings import NotifySettings
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

SYSTEM = Actor("sys", "notify")
COUNT_EVERY_S = 15.0
DUE_MOST = 10_000
"""Ids that are looked at: so many that a tenant with all its channels due hides nobody else's."""
STOP_S = 8.0
"""Less than a supervisor waits. Who is cut off then has sent, and could not note it: sent again."""


class Dispatcher:
    """Runs beside the admin API."""

    def __init__(self, database: Database, sender: Sender, settings: NotifySettings) -> None:
        """`database` connects as portcullis_admin."""
        self._database = database
        self._sender = sender
        self._settings = settings
        self._turns: dict[UUID, tuple[UUID, asyncio.Task[None]]] = {}
        self._counted_at = -COUNT_EVERY_S

    def __repr__(self) -> str:
        return f"<Dispatcher {len(self._turns)} turns>"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then the turns that are under way may end by themselves for a while."""
        while not stop.is_set():
            try:
                await self._look()
            except (PortcullisError, psycopg.Error, OSError) as error:
                log.warning("notify_look_failed", error=str(error))
            try:
                async with asyncio.timeout(self._settings.poll_s):
                    await stop.wait()
            except TimeoutError:
                pass  # the pause is over
        await self._end()

    async def _look(self) -> None:
        if time.monotonic() - self._counted_at >= COUNT_EVERY_S:
            await self._count()
        free = self._settings.at_once - len(self._turns)
        if free <= 0:
            return
        async with self._database.connection() as conn:
            cursor = await conn.execute("SELECT * FROM find_due_notifications(%s)", (DUE_MOST,))
            due = await cursor.fetchall()
        by_tenant = Counter(tenant for tenant, _ in self._turns.values())
        for source, target_id, tenant_id in due:
            if len(self._turns) >= self._settings.at_once:
                return
            busy = by_tenant[tenant_id] >= self._settings.at_once_per_tenant
            if target_id not in self._turns and not busy:
                by_tenant[tenant_id] += 1
                self._begin(source, target_id, tenant_id)

    def _begin(self, source: Source, target_id: UUID, tenant_id: UUID) -> None:
        scope = TenantScope(TenantID(tenant_id), SYSTEM)
        task = asyncio.create_task(self._turn(scope, source, target_id), name=f"notify-{target_id}")
        self._turns[target_id] = tenant_id, task
        task.add_done_callback(lambda _: self._turns.pop(target_id, None))

    async def _turn(self, scope: TenantScope, source: Source, target_id: UUID) -> None:
        """A turn that breaks leaves its hold to run out; the next one goes on from the same place."""
        told = {"source": source, "id": str(target_id)}
        try:
            await self._sender.turn(scope, source, target_id)
        except (PortcullisError, psycopg.Error, OSError) as error:
            log.warning("notify_turn_broke", **told, error=str(error))
        except Exception:
            log.exception("notify_turn_failed", **told)

    async def _count(self) -> None:
        async with self._database.connection() as conn:
            counts = dict(await (await conn.execute("SELECT * FROM count_channels()")).fetchall())
            devices = dict(
                await (await conn.execute("SELECT * FROM count_push_devices()")).fetchall()
            )
        for state in ("working", "failing", "gone", "off"):
            metrics.CHANNELS.labels(state).set(counts.get(state, 0))
        for state in ("working", "failing"):
            metrics.DEVICES.labels(state).set(devices.get(state, 0))
        self._counted_at = time.monotonic()

    async def _end(self) -> None:
        self._sender.stopping = True
        tasks = [task for _, task in self._turns.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
