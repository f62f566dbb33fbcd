"""The single writer of all logs: sequence, integrate, publish; start-up is repair.

1. Sequence: inbox → leaves, payloads, order heads, in one transaction (audit/sequencer.py).
2. Write entry bundles.
3. Write tiles.
4. Sign the checkpoint.
5. Keep it in PostgreSQL.
6. Replace the file `checkpoint`.
7. Remove partial tiles that are full by now.       (2 to 7: audit/integrator.py)
   The anchor log is written beside, in steps of its own (audit/anchoring.py).

What a crash after each step leaves behind stands beside the code of the step. There is no repair
tool: every start opens each log the same way, and every step may be done again with the same result.

Fences: one PostgreSQL session holds an advisory lock, and every row is written in that session, so
a recorder that lost the lock cannot write rows; an exclusive lock on a file in the store keeps a
second process from the files. Who finds either taken waits; where several hosts have a recorder, one
writes, and each other keeps its host's set up with what that one has signed (audit/remade.py), so that
it goes on at once when its turn comes.

When a part is away: PostgreSQL gone → everything is given up and opened anew, with backoff, and
the inbox has lost nothing. Signer gone → sequencing goes on, publication waits (its age is a
metric). Disk refuses → the same. A log that contradicts itself → that log halts with an alarm, its
records stay in the inbox, the other logs go on. A log that a witness refuses → the same, and a row that
stops its trading, over every restart, until two people lift it (audit/halts.py). Nothing here permits an
order; `append()` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import structlog

from audit import metrics
from audit.anchoring import AnchorSettings
from audit.fences import LockTaken, only_one, only_session
from audit.logs import Log
from audit.ports import LogHalted, NoteSigner
from audit.recorder_session import Parts, SeenElsewhere, Session
from audit.recorder_standing import Standing, Stats
from audit.recorder_waiting import Waiting
from audit.worm.port import Store
from audit.worm.posix import PosixStore
from tenancy.clock import Clock
from tenancy.clock_quality import Quality, unmeasured
from tenancy.database import Database
from tenancy.errors import OutcomeUnknown, Unavailable
from tenancy.pause import pause

SHORTEST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 2.0

log_event = structlog.get_logger()


class Recorder:
    """Runs all logs of one database into one directory: `<store_dir>/<log_id>/…`."""

    def __init__(
        self,
        database: Database,
        signer: NoteSigner,
        store_dir: Path,
        clock: Clock,
        *,
        make_store: Callable[[Path], Store] | None = None,
        quality: Callable[[], Quality] = unmeasured,
        anchors: AnchorSettings | None = None,
        seen_elsewhere: SeenElsewhere | None = None,
    ) -> None:
        """`database` under the role portcullis_recorder, two connections or more.

        `make_store` stands in for PosixStore, given a log's directory.
        `quality`: how good a time is that was just read (tenancy/clock_file.py); each leaf says it.
        `anchors`: how the anchor log is written, where there is one; None leaves it as it is.
        `seen_elsewhere`: what other places have of a log, asked before the first signature of a run
        (audit/keeping.py).
        """
        self._parts = Parts(
            database=database,
            signer=signer,
            store_dir=store_dir,
            clock=clock,
            make_store=make_store or _open_posix,
            quality=quality,
            anchors=anchors,
            seen_elsewhere=seen_elsewhere,
            hurry=asyncio.Event(),
        )
        self._standing = Standing()
        self._waiting = Waiting(self._parts)
        self._running = False
        self._terms = 0
        self._in_force = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then sequence and publish what is there already, and return."""
        self._running = True
        backoff = SHORTEST_BACKOFF_S
        try:
            while True:
                began = time.monotonic()
                try:
                    with only_one(self._parts.store_dir / "recorder.lock"):
                        await self._turn(stop)
                    return
                except LockTaken:
                    log_event.debug("audit_recorder_waits")
                except (Unavailable, OutcomeUnknown, psycopg.Error, OSError) as error:
                    metrics.DATABASE_FAILURES.inc()
                    log_event.warning("audit_recorder_session_lost", why=str(error))
                if stop.is_set():
                    return
                lasted = time.monotonic() - began
                backoff = SHORTEST_BACKOFF_S if lasted > 5 else min(backoff * 2, LONGEST_BACKOFF_S)
                await pause(stop, backoff)
        finally:
            self._running = False

    async def drain(self, timeout_s: float = 30.0) -> None:
        """Return when the inbox is empty and every leaf is under a published checkpoint.

        Runs the recorder meanwhile if nobody else does. Raises LogHalted where a log will never
        get there, Unavailable when `timeout_s` has passed.
        """
        stop = asyncio.Event()
        own = None if self._running else asyncio.ensure_future(self.run(stop))
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_drained()
        except TimeoutError:
            raise Unavailable(f"the audit log was not drained in {timeout_s:g} s") from None
        finally:
            stop.set()
            if own is not None:
                await own

    @property
    def term(self) -> int:
        """Which turn of this recorder's it is, from 1; 0 while another writes, or nobody."""
        return self._terms if self._in_force else 0

    def stats(self) -> Stats:
        return self._standing.stats()

    def halt(self, log: Log, why: str) -> None:
        """Stop this log: somebody found it at odds with itself. Nothing more is written or signed."""
        if log.log_id not in self._standing.halted:
            self._standing.halt(log, why)

    async def _until_drained(self) -> None:
        while True:
            if self._standing.halted:
                raise LogHalted("; ".join(self._standing.halted.values()))
            self._parts.hurry.set()
            with suppress(psycopg.Error, Unavailable):  # away for now: the time limit decides
                if await self._is_drained():
                    return
            await asyncio.sleep(0.01)

    async def _is_drained(self) -> bool:
        async with self._parts.database.connection() as conn:
            row = await (await conn.execute("SELECT EXISTS (SELECT FROM audit_inbox)")).fetchone()
            if row is None or row[0]:
                return False
            cursor = await conn.execute(
                "SELECT l.log_id, coalesce((SELECT max(i) + 1 FROM audit_leaves v"
                " WHERE v.log_id = l.log_id), 0) FROM audit_logs l WHERE l.kind = 'records'"
            )
            return all(
                self._standing.sizes.get(log_id, 0) == n for log_id, n in await cursor.fetchall()
            )

    async def _turn(self, stop: asyncio.Event) -> None:
        """One session's work; where another has it, one look at what that one has signed."""
        try:
            await self._session(stop)
        except LockTaken:
            await self._waiting.keep_up()
            raise
        finally:
            self._in_force = False

    async def _session(self, stop: asyncio.Event) -> None:
        """One database session's worth of work: returns on `stop`, raises when anything breaks."""
        async with only_session(self._parts.database) as conn:
            self._standing.begin_anew()
            session = Session(self._parts, self._standing, conn)
            await session.discover()
            self._terms, self._in_force = self._terms + 1, True
            log_event.info("audit_recorder_runs", logs=len(session.integrators))
            sequencing = asyncio.create_task(session.sequence(stop))
            integrating = asyncio.create_task(session.integrate(sequencing))
            anchoring = asyncio.create_task(session.anchor(stop))
            tasks = {sequencing, integrating, anchoring}
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()


def _open_posix(path: Path) -> Store:
    store = PosixStore(path)
    store.open()
    return store
