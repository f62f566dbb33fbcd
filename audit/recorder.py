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
second process from the files. Who finds either taken waits.

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
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
import structlog

from audit import halts, metrics
from audit.anchor_work import AnchorWork
from audit.anchoring import AnchorSettings
from audit.checkpoint import Checkpoint
from audit.fences import only_one, only_session
from audit.integrator import Integrator, SignerUnavailable
from audit.logs import Log, Signed, keep_checkpoint, read_logs
from audit.ports import LogHalted, NoteSigner
from audit.sequencer import BATCH, CannotPlace, Sequencer
from audit.worm.port import Store
from audit.worm.posix import PosixStore
from tenancy.clock import Clock
from tenancy.clock_quality import Quality, unmeasured
from tenancy.database import Connection, Database
from tenancy.errors import OutcomeUnknown, Unavailable

LOOK_EVERY_S = 0.02
INTEGRATE_EVERY_S = 0.25
LOGS_AT_ONCE = 4
SHORTEST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 2.0

SeenElsewhere = Callable[[Log], Awaitable[Sequence[Checkpoint]]]
"""What other places have of a log, signatures checked: those that answer, soon, and never an error."""

log_event = structlog.get_logger()


class Stats(msgspec.Struct, frozen=True):
    """How the recorder stands; ages in seconds."""

    inbox_age_s: float
    unpublished_age_s: float
    records_total: int
    checkpoint_sizes: dict[UUID, int]
    halted: dict[UUID, str]


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
        self._database = database
        self._signer = signer
        self._store_dir = store_dir
        self._clock = clock
        self._quality = quality
        self._make_store = make_store or _open_posix
        self._anchors = anchors
        self._seen_elsewhere = seen_elsewhere
        self._halted: dict[UUID, str] = {}
        self._refused: set[UUID] = set()  # of those, by a row that people lift
        self._records = 0
        self._sizes: dict[UUID, int] = {}
        self._unpublished_since: dict[UUID, float] = {}
        self._inbox_age_s = 0.0
        self._hurry = asyncio.Event()
        self._running = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then sequence and publish what is there already, and return."""
        self._running = True
        backoff = SHORTEST_BACKOFF_S
        try:
            while True:
                began = time.monotonic()
                try:
                    with only_one(self._store_dir / "recorder.lock"):
                        await self._session(stop)
                    return
                except (Unavailable, OutcomeUnknown, psycopg.Error, OSError) as error:
                    metrics.DATABASE_FAILURES.inc()
                    log_event.warning("audit_recorder_session_lost", why=str(error))
                if stop.is_set():
                    return
                lasted = time.monotonic() - began
                backoff = SHORTEST_BACKOFF_S if lasted > 5 else min(backoff * 2, LONGEST_BACKOFF_S)
                await _wait(stop, backoff)
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
            await asyncio.wait_for(self._until_drained(), timeout_s)
        except TimeoutError:
            raise Unavailable(f"the audit log was not drained in {timeout_s:g} s") from None
        finally:
            stop.set()
            if own is not None:
                await own

    def stats(self) -> Stats:
        now = time.monotonic()
        oldest = min(self._unpublished_since.values(), default=now)
        return Stats(
            self._inbox_age_s, now - oldest, self._records, dict(self._sizes),
            dict(self._halted),
        )  # fmt: skip

    def halt(self, log: Log, why: str) -> None:
        """Stop this log: somebody found it at odds with itself. Nothing more is written or signed."""
        if log.log_id not in self._halted:
            self._halt(log, why)

    async def _until_drained(self) -> None:
        while True:
            if self._halted:
                raise LogHalted("; ".join(self._halted.values()))
            self._hurry.set()
            with suppress(psycopg.Error, Unavailable):  # away for now: the time limit decides
                if await self._is_drained():
                    return
            await asyncio.sleep(0.01)

    async def _is_drained(self) -> bool:
        async with self._database.connection() as conn:
            row = await (await conn.execute("SELECT EXISTS (SELECT FROM audit_inbox)")).fetchone()
            if row is None or row[0]:
                return False
            cursor = await conn.execute(
                "SELECT l.log_id, coalesce((SELECT max(i) + 1 FROM audit_leaves v"
                " WHERE v.log_id = l.log_id), 0) FROM audit_logs l WHERE l.kind = 'records'"
            )
            return all(self._sizes.get(log_id, 0) == n for log_id, n in await cursor.fetchall())

    async def _session(self, stop: asyncio.Event) -> None:
        """One database session's worth of work: returns on `stop`, raises when anything breaks."""
        async with only_session(self._database) as conn:
            session = _Session(self, conn)
            await session.discover()
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

    def _halt(self, log: Log, why: str) -> None:
        self._halted[log.log_id] = why
        self._unpublished_since.pop(log.log_id, None)
        metrics.HALTED.set(len(self._halted))
        log_event.error("audit_log_halted", log_id=str(log.log_id), why=why)

    def _resume(self, log_id: UUID) -> None:
        """Two people lifted the halt: the log is opened again in this round."""
        self._refused.discard(log_id)
        self._halted.pop(log_id, None)
        metrics.HALTED.set(len(self._halted))
        log_event.warning("audit_log_goes_on", log_id=str(log_id))

    def _published(self, log: Log, size: int, tail: int) -> None:
        self._sizes[log.log_id] = size
        metrics.CHECKPOINT_SIZE.set(sum(self._sizes.values()))
        if size == tail:
            self._unpublished_since.pop(log.log_id, None)


class _Session:
    """What lives as long as one database session: the lock, the tails, the open logs."""

    def __init__(self, recorder: Recorder, conn: Connection) -> None:
        self._recorder = recorder
        self._conn = conn
        self._one_at_a_time = asyncio.Lock()  # the session's connection carries one transaction
        self._sequencer = Sequencer(conn, recorder._clock, recorder._quality)
        self.integrators: dict[UUID, Integrator] = {}
        self._anchors = AnchorWork(
            conn, self._one_at_a_time, recorder._anchors, recorder._clock, recorder._quality
        )

    async def discover(self) -> None:
        """Open logs that are new, take over keys that are; look how old the inbox is."""
        recorder = self._recorder
        async with self._one_at_a_time:
            logs = await read_logs(self._conn)
            await self._obey_halts(logs)
            for log in logs:
                if log.log_id in recorder._halted:
                    if log.log_id in self.integrators:  # halt() was called
                        self._forget(log)
                    continue
                if log.log_id not in self.integrators:
                    await self._open(log)
                elif log.keys != self.integrators[log.log_id].log.keys:
                    await self._rekey(log)
            await self._measure_inbox()

    async def sequence(self, stop: asyncio.Event) -> None:
        """Step 1, until `stop` and the inbox holds nothing that may be taken."""
        recorder = self._recorder
        while True:
            async with self._one_at_a_time:
                try:
                    taken = await self._sequencer.take()
                except CannotPlace as error:
                    self._drop(error.log, str(error))
                    continue
            if taken:
                recorder._records += taken
                metrics.RECORDS.inc(taken)
                self._note_unpublished()
            if stop.is_set() and not taken:
                return
            if taken < BATCH:
                await _wait(stop, LOOK_EVERY_S)

    async def integrate(self, sequencing: asyncio.Task[None]) -> None:
        """Steps 2 to 7 for every log that grew, until sequencing has ended and all is published."""
        recorder = self._recorder
        while True:
            last_round = sequencing.done()
            await self.discover()
            further = await self._publish_all()
            if last_round and not further:
                return
            if last_round:
                continue
            recorder._hurry.clear()
            hurry = asyncio.create_task(recorder._hurry.wait())
            await asyncio.wait({hurry, sequencing}, timeout=INTEGRATE_EVERY_S,
                               return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
            hurry.cancel()

    async def anchor(self, stop: asyncio.Event) -> None:
        """Write the anchor log, where there is one and it is asked for, until `stop`."""
        database = self._recorder._database
        await self._anchors.run(stop, database, self._of_records, self._keep, self._drop)

    async def _open(self, log: Log) -> None:
        recorder = self._recorder
        if log.is_anchor and not self._anchors.asked_for:
            return
        integrator = await self._opened(log)
        if integrator is None:
            return
        if log.is_anchor:
            await self._anchors.take(integrator)
            self.integrators[log.log_id] = integrator
            return
        await self._sequencer.admit(log)
        self.integrators[log.log_id] = integrator
        tail = self._sequencer.tails[log.tenant_id].size
        recorder._published(log, integrator.size, tail)
        self._note_unpublished()

    async def _opened(self, log: Log) -> Integrator | None:
        """The log's files and rows proven to agree; None where they do not: it is halted then."""
        recorder = self._recorder
        try:
            store = await asyncio.to_thread(
                recorder._make_store, recorder._store_dir / str(log.log_id)
            )
            integrator = Integrator(log, store, recorder._signer)
            await integrator.open(self._conn)
            if recorder._seen_elsewhere is not None:
                await integrator.check_elsewhere(await recorder._seen_elsewhere(log))
        except LogHalted as error:
            recorder._halt(log, str(error))
            return None
        return integrator

    async def _obey_halts(self, logs: Sequence[Log]) -> None:
        """Stop what was halted, by whoever; take up again what was lifted."""
        recorder = self._recorder
        there = await halts.read_open(self._conn)
        for log in logs:
            halt = there.get(log.log_id)
            if halt is None and log.log_id in recorder._refused:
                recorder._resume(log.log_id)
            elif halt is not None and log.log_id not in recorder._refused:
                recorder._refused.add(log.log_id)
                self._drop(log, halt.why)
        metrics.REFUSED.set(len(there))

    async def _rekey(self, log: Log) -> None:
        """A key joined, or signs no more: from the next checkpoint on."""
        try:
            await self.integrators[log.log_id].rekey(log)
        except LogHalted as error:
            self._drop(log, str(error))
            return
        signing = [key.version for key in log.signing]
        log_event.info("audit_log_keys", log_id=str(log.log_id), signing=signing)

    async def _publish_all(self) -> bool:
        """One publication of each log that is behind; whether any got further."""
        limit = asyncio.Semaphore(LOGS_AT_ONCE)

        async def one(integrator: Integrator) -> bool:
            async with limit:
                return await self._publish(integrator)

        behind = [x for x in self._of_records() if x.size < self._tail(x.log)]
        results = await asyncio.gather(*map(one, behind), return_exceptions=True)
        metrics.UNPUBLISHED_AGE.set(self._recorder.stats().unpublished_age_s)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return any(results)

    async def _publish(self, integrator: Integrator) -> bool:
        """One publication; whether there was one."""
        log, recorder = integrator.log, self._recorder
        try:
            async with recorder._database.connection() as reading:
                head = await integrator.publish(reading, self._keep)
        except SignerUnavailable as error:
            metrics.SIGNER_FAILURES.inc()
            log_event.warning("audit_checkpoint_not_signed", why=str(error))
            return False
        except LogHalted as error:
            self._drop(log, str(error))
            return False
        except OSError as error:
            metrics.STORE_FAILURES.inc()
            log_event.error("audit_store_failed", log_id=str(log.log_id), why=str(error))
            raise
        if head is not None:
            metrics.CHECKPOINTS.inc()
        recorder._published(log, integrator.size, self._tail(log))
        return head is not None

    def _drop(self, log: Log, why: str) -> None:
        self._forget(log)
        self._recorder._halt(log, why)

    def _forget(self, log: Log) -> None:
        if log.is_anchor:
            self._anchors.leave()
        else:
            self._sequencer.dismiss(log)
        self.integrators.pop(log.log_id, None)

    async def _keep(self, log: Log, signed: Signed) -> None:
        """Step 5, in the session that holds the lock: a recorder that lost it fails here."""
        async with self._one_at_a_time:
            await keep_checkpoint(self._conn, log, signed)

    async def _measure_inbox(self) -> None:
        cursor = await self._conn.execute("SELECT ts FROM audit_inbox ORDER BY seq LIMIT 1")
        row = await cursor.fetchone()
        age_ns = 0 if row is None else max(0, self._recorder._clock.now_ns() - row[0])
        self._recorder._inbox_age_s = age_ns / 1e9
        metrics.INBOX_AGE.set(age_ns / 1e9)

    def _of_records(self) -> list[Integrator]:
        return [x for x in self.integrators.values() if not x.log.is_anchor]

    def _tail(self, log: Log) -> int:
        return self._sequencer.tails[log.tenant_id].size

    def _note_unpublished(self) -> None:
        for integrator in self._of_records():
            if integrator.size < self._tail(integrator.log):
                since = self._recorder._unpublished_since
                since.setdefault(integrator.log.log_id, time.monotonic())


def _open_posix(path: Path) -> Store:
    store = PosixStore(path)
    store.open()
    return store


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
