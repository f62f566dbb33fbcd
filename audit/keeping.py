"""Keep every log in every store, beside the recorder and never in its way.

The first store's published checkpoint decides what there is; each store has a task of its own that
brings each log up to it and enters it in the store's manifest (audit/keeper.py says the steps), so
that a store that is slow or away holds up nobody. Its lag is a metric and, past a limit, an alarm.

One keeping per first store: it holds `keeping.lock` there, and who finds it taken waits.

When a part is away: a store → it is tried again each interval, with the lag growing; PostgreSQL → the
logs known so far go on, new ones wait. A store whose signed head contradicts the first one's → the
log is halted by `halt` (somebody has another version of it) and an alarm says so; nothing is written
there any more. A file in the first store that is not what was signed → the same log's copies stop
with an alarm: rot and forgery are not carried on. Nothing here permits an order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
import structlog

from audit import metrics
from audit.checkpoint import Checkpoint
from audit.fences import only_one
from audit.keeper import Forked, Keeper
from audit.logs import Log, read_logs
from audit.malformed import Malformed
from audit.seen import read_seen
from audit.threads import in_thread
from audit.worm.port import Conflict, Store, Worm
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.values import TenantID

SEEN_TIMEOUT_S = 5.0
LOCK_EVERY_S = 1.0

DAYS_IN_YEAR = 366
"""A year of retention, never too short."""

Terms = Mapping[TenantID, timedelta]

log_event = structlog.get_logger()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One set of all logs' files. `store` opens a log's; `every_s`: between two looks at what is new."""

    name: str
    store: Callable[[Log], Store]
    every_s: float
    keep_for: timedelta


class Keeping:
    """`first` is where the recorder publishes; `further` follow it. `halt` is Recorder.halt."""

    def __init__(
        self,
        database: Database,
        directory: Path,
        first: Place,
        further: Sequence[Place],
        clock: Clock,
        halt: Callable[[Log, str], None],
        term: Callable[[], int] = lambda: 1,
    ) -> None:
        """`database` under the role portcullis_recorder; `directory`: the first store's.

        `term` is Recorder.term: further stores are followed while this host's recorder writes, for only then
        is its first store what they may be measured by.
        """
        self._database = database
        self._directory = directory
        self._term = term
        self._logs: list[Log] = []
        self._terms: Terms = {}
        self._first = _Kept(first, first, clock, halt)
        self._further = [_Kept(place, first, clock, halt) for place in further]

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`."""
        while not stop.is_set():
            try:
                with only_one(self._directory / "keeping.lock"):
                    async with asyncio.TaskGroup() as group:
                        for kept in self._all:
                            group.create_task(self._follow(kept, stop))
            except Unavailable as error:
                log_event.warning("audit_keeping_waits", why=str(error))
                await pause(stop, LOCK_EVERY_S)

    async def once(self) -> None:
        """One round over every store, the first before the others."""
        await self._discover()
        for kept in self._all:
            await kept.round(self._logs, self._terms)

    async def seen_elsewhere(self, log: Log) -> Sequence[Checkpoint]:
        """What the further stores have of this log (recorder.SeenElsewhere), and what lies beside the first of
        what others kept (audit/seen.py). A store that is away is passed over: it will be compared when it is
        back, before anything is written to it. Raises LogHalted."""
        seen = await asyncio.to_thread(read_seen, self._directory, log)
        for kept in self._further:
            try:
                async with asyncio.timeout(SEEN_TIMEOUT_S):
                    seen.append(await asyncio.to_thread(kept.head, log))
            except (OSError, TimeoutError, PortcullisError, Malformed) as error:
                log_event.warning("audit_store_not_asked", store=kept.place.name, why=str(error))
        return seen

    def worm(self) -> dict[str, Worm]:
        """Of each store: `enforced` where that was seen of all its logs."""
        return {kept.place.name: kept.worm for kept in self._all}

    def lag_s(self) -> dict[str, float]:
        """Of each further store: for how long it has not been seen to have all that is published."""
        return {kept.place.name: kept.lag_s() for kept in self._further}

    @property
    def _all(self) -> list[_Kept]:
        return [self._first, *self._further]

    async def _follow(self, kept: _Kept, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if kept is self._first or kept.is_its_turn(self._term()):
                await self._discover()
                await kept.round(self._logs, self._terms)
            await pause(stop, kept.place.every_s)

    async def _discover(self) -> None:
        try:
            async with self._database.connection() as conn:
                self._logs = await read_logs(conn)
                self._terms = await _read_terms(conn)
        except (psycopg.Error, Unavailable) as error:
            log_event.warning("audit_keeping_knows_no_new_logs", why=str(error))


class _Kept:
    """One place at work: a keeper per log."""

    def __init__(
        self, place: Place, first: Place, clock: Clock, halt: Callable[[Log, str], None]
    ) -> None:
        self.place = place
        self._first = first
        self._clock = clock
        self._halt = halt
        self._keepers: dict[UUID, Keeper] = {}
        self._stopped: set[UUID] = set()
        self._behind: dict[UUID, float] = {}
        self._turn = 0
        if place is not first:
            metrics.STORE_LAG.labels(place.name).set_function(self.lag_s)
        metrics.STORE_CONFLICTS.labels(place.name).set(0)

    @property
    def worm(self) -> Worm:
        every = [keeper.store.worm for keeper in self._keepers.values()]
        return "enforced" if every and all(one == "enforced" for one in every) else "advisory"

    def lag_s(self) -> float:
        return time.monotonic() - min(self._behind.values(), default=time.monotonic())

    def is_its_turn(self, term: int) -> bool:
        """Whether this host's recorder writes. In a new turn nothing is held against the logs from before."""
        if term not in (0, self._turn):
            self._turn = term
            self._keepers.clear()
            self._stopped.clear()
        if term == 0:
            self._behind.clear()  # whoever writes tells how far it is behind
        return term != 0

    def head(self, log: Log) -> Checkpoint:
        """What this place has of the log. Raises Malformed, OSError, PortcullisError."""
        return self._made(log).head()

    async def round(self, logs: Sequence[Log], terms: Terms) -> None:
        """Each log once. Never raises for a store."""
        for log in logs:
            if log.log_id not in self._stopped:
                await self._one(
                    log, max(self.place.keep_for, terms.get(log.tenant_id, timedelta()))
                )
        metrics.WORM_ENFORCED.labels(self.place.name).set(self.worm == "enforced")

    async def _one(self, log: Log, keep_for: timedelta) -> None:
        self._behind.setdefault(log.log_id, time.monotonic())
        try:
            await in_thread(self._bring_up, log, keep_for)
        except (Forked, Conflict, Malformed) as error:
            self._stop(log, error)
        except (OSError, PortcullisError) as error:
            metrics.STORE_KEPT_FAILURES.labels(self.place.name).inc()
            log_event.warning(
                "audit_store_behind", store=self.place.name, log_id=str(log.log_id), why=str(error)
            )
        else:
            del self._behind[log.log_id]

    def _bring_up(self, log: Log, keep_for: timedelta) -> None:
        keeper = self._keepers.get(log.log_id)
        if keeper is None:
            keeper = self._made(log)
            keeper.open()
            self._keepers[log.log_id] = keeper
        keeper.log = log  # its keys may have changed
        if self.place is not self._first:
            keeper.follow()
        keeper.lengthen(keep_for)
        keeper.enter()

    def _made(self, log: Log) -> Keeper:
        first = self._first.store(log)
        store = first if self.place is self._first else self.place.store(log)
        return Keeper(log, store, first, self._clock, self.place.keep_for)

    def _stop(self, log: Log, error: Exception) -> None:
        self._stopped.add(log.log_id)
        metrics.STORE_CONFLICTS.labels(self.place.name).set(len(self._stopped))
        log_event.error(
            "audit_store_conflict", store=self.place.name, log_id=str(log.log_id), why=str(error)
        )
        if isinstance(error, Forked):
            self._halt(log, str(error))


async def _read_terms(conn: Connection) -> Terms:
    cursor = await conn.execute("SELECT tenant_id, years FROM audit_longest_retention()")
    return {
        TenantID(row[0]): timedelta(days=row[1] * DAYS_IN_YEAR) for row in await cursor.fetchall()
    }
