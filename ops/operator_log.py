"""What the operator's log says by itself: which release runs here, and which log may not go on.

Written by the recorder's process, into the platform's log:

1. `deployment`, once in each run: release, schema, digest of the settings, host. It is written as soon
   as there is a platform and PostgreSQL answers. *Crash before the commit: the next run says it.*
2. `checkpoint.refused`, for each log that halts (its rows, files and signatures contradict each other,
   so nothing more of it is signed). *Crash before: the next start finds the log as it is, and says it.*

Where the platform's own log is the one that halted, its record waits in the inbox, durable, until a
person has found out which side is right; a metric and an error say so meanwhile (audit/recorder.py).
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import psycopg
import structlog

from audit.inbox import Entry, append
from audit.record import Kind
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.scope import Actor
from tenancy.values import TenantID

LOOK_EVERY_S = 1.0
RECORDER = Actor("sys", "recorder")

log = structlog.get_logger()


class OperatorLog:
    """Runs beside the recorder, under its database role."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        release: Mapping[str, Any],
        halted: Callable[[], Mapping[UUID, str]],
    ) -> None:
        """`release`: what runs here (release_facts). `halted`: by log id, why it may not go on."""
        self._database = database
        self._clock = clock
        self._halted = halted
        self._waiting = [(Kind.DEPLOYMENT, {"event": "started", **release})]
        self._told: set[UUID] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What cannot be written now is written later."""
        while not stop.is_set():
            try:
                await self.look()
            except (PortcullisError, psycopg.Error) as error:
                log.warning("operator_log_waits", records=len(self._waiting), why=str(error))
            await pause(stop, LOOK_EVERY_S)

    async def look(self) -> None:
        """Write what is new. Raises Unavailable, OutcomeUnknown: then it is tried again."""
        for log_id, why in self._halted().items():
            if log_id not in self._told:
                self._told.add(log_id)
                self._waiting.append((Kind.CHECKPOINT_REFUSED, {"log": str(log_id), "why": why}))
        if not self._waiting:
            return
        taken, now = list(self._waiting), self._clock.now_ns()
        async with self._database.shared() as conn:
            row = await (await conn.execute("SELECT platform_tenant()")).fetchone()
            if row is None or row[0] is None:
                raise Unavailable("there is no platform yet whose log this could go to")
            tenant = TenantID(row[0])
            await append(conn, [(tenant, _entry(kind, facts, now)) for kind, facts in taken])
        del self._waiting[: len(taken)]


def release_facts(version: str, schema: int, settings_sha256: str) -> dict[str, Any]:
    """What a deployment's record says of itself: nothing that is a secret, no address."""
    return {
        "release": version,
        "schema": schema,
        "settings_sha256": settings_sha256,
        "python": platform.python_version(),
        "host": platform.node(),
    }


def _entry(kind: Kind, facts: Mapping[str, Any], now_ns: int) -> Entry:
    return Entry(kind=kind, ts_ns=now_ns, payload=dict(facts), actor=RECORDER, cls="admin")
