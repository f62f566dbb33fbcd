"""The clock's story becomes audit records, from the recorder's process to the inbox.

1. Look at the clock and at the tenants' tiers; ask which records are due (ops/clock/story.py).
2. Append them, and those that wait, in one transaction.
3. Commit. *Crash before, or PostgreSQL away: what is due waits in memory, at most WAITING_MAX of it,
   and what had to be dropped is counted in the next; a crash of the process loses it, and the next
   one begins with how the clock is. After: they are behind us; of a commit whose answer was lost a
   record may come twice, and says the same twice.*

Each host's recorder tells of its own host, also while another one holds the logs.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from uuid import UUID

import msgspec
import psycopg
import structlog

from audit.inbox import Entry, append
from audit.record import Kind
from ops.clock import metrics
from ops.clock.story import Look, Note, Story
from ops.clock.watch import watch
from tenancy.clock_file import ClockFile, read_instants
from tenancy.clock_quality import TIERS_NS, ClockTier, Instants, Quality
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.scope import Actor
from tenancy.values import TenantID

LOOK_EVERY_S = 1.0
WAITING_MAX = 1000
AGENT = Actor("sys", "clock")

log = structlog.get_logger()


class ClockRecords:
    """Runs beside the recorder. `host`: how this host is called in the records."""

    def __init__(
        self,
        database: Database,
        file: ClockFile,
        host: str,
        *,
        instants: Callable[[], Instants] = read_instants,
    ) -> None:
        """`database` under the role portcullis_recorder."""
        self._database = database
        self._file = file
        self._instants = instants
        self._story = Story(host)
        self._tiers: Mapping[UUID, ClockTier] = {}
        self._waiting: deque[Note] = deque()
        self._dropped = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Nothing that fails ends it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(watch(self._file, stop, jumped=self.jumped, instants=self._instants))
            group.create_task(self._turns(stop))

    def jumped(self, by_ns: int) -> None:
        """The time of day jumped: it is recorded with the next look."""
        self._wait(self._story.step(self._look(), by_ns))

    async def seen(self) -> str:
        """A readiness check's words, with whose tiers are not met; as ops.clock.agent.seen, never a failure."""
        quality = self._file.quality()
        over = {tier: n for tier, n in self._over(quality).items() if n}
        told = "; ".join(f"{n} tenants' tier {tier} is not met" for tier, n in over.items())
        return f"{quality.words}; {told}" if told else quality.words

    async def turn(self) -> int:
        """Steps 1 to 3, once; how many records. Raises Unavailable, OutcomeUnknown."""
        tiers = await self._read_tiers()
        look = self._look()
        for note in self._story.look(look, self._tiers if tiers is None else tiers):
            self._wait(note)
        self._show(look)
        if tiers is None:
            raise Unavailable("PostgreSQL does not say which tenants have a clock tier")
        if not self._waiting:
            return 0
        notes, dropped = list(self._waiting), self._dropped
        async with self._database.shared() as conn:
            platform = await _platform(conn)
            await append(conn, [_entry(note, platform, dropped) for note in notes])
        for _ in notes:
            self._waiting.popleft()
        self._dropped -= dropped
        return len(notes)

    async def _turns(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.turn()
            except (PortcullisError, psycopg.Error) as error:
                metrics.RECORDS_FAILED.inc()
                log.warning("clock_records_wait", waiting=len(self._waiting), why=str(error))
            await pause(stop, LOOK_EVERY_S)

    def _look(self) -> Look:
        now = self._instants()
        quality = self._file.quality()
        return Look(
            wall_ns=now.wall_ns, boottime_ns=now.boottime_ns, quality=quality,
            report=self._file.report,
        )  # fmt: skip

    def _wait(self, note: Note) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
            return
        self._waiting.append(note)

    def _show(self, look: Look) -> None:
        for tier, tenants in self._over(look.quality).items():
            metrics.OVER_TIER.labels(tier).set(tenants)

    def _over(self, quality: Quality) -> dict[ClockTier, int]:
        """How many tenants of each tier have a clock that does not meet it."""
        wanted = Counter(self._tiers.values())
        return {
            tier: 0 if quality.within(limit_ns) else wanted[tier]
            for tier, limit_ns in TIERS_NS.items()
        }

    async def _read_tiers(self) -> Mapping[UUID, ClockTier] | None:
        """Of the tenants that have an audit log; None where PostgreSQL does not say."""
        try:
            async with self._database.connection() as conn:
                cursor = await conn.execute(
                    "SELECT c.tenant_id, c.tier FROM find_clock_tiers() c"
                    " JOIN audit_logs l USING (tenant_id)"
                )
                rows = await cursor.fetchall()
        except PortcullisError:
            return None
        self._tiers = {row[0]: row[1] for row in rows if row[1] in TIERS_NS}
        return self._tiers


def _entry(note: Note, platform: TenantID, dropped: int) -> tuple[TenantID, Entry]:
    facts = note.facts | ({"records_dropped_before": dropped} if dropped else {})
    entry = Entry(
        kind=Kind.CLOCK, ts_ns=note.ts_ns, payload=msgspec.to_builtins(facts), actor=AGENT,
        cls="admin",
    )  # fmt: skip
    return platform if note.tenant is None else TenantID(note.tenant), entry


async def _platform(conn: Connection) -> TenantID:
    """Raises Unavailable where there is none yet: evidence waits for a log that it can go to."""
    row = await (await conn.execute("SELECT platform_tenant()")).fetchone()
    if row is None or row[0] is None:
        raise Unavailable("there is no platform yet whose log the clock's records could go to")
    return TenantID(row[0])
