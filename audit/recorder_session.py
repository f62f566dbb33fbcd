"""What the recorder does while one database session lasts: sequence, publish, anchor.

The session holds the recorder's lock and writes every row, so that losing it ends all of this
(audit/recorder.py has the steps and what each failure means).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from uuid import UUID

import msgspec
import structlog

from audit import halts, metrics
from audit.anchor_work import AnchorWork
from audit.anchoring import AnchorSettings
from audit.checkpoint import Checkpoint
from audit.integrator import Integrator, SignerUnavailable
from audit.logs import Log, Signed, keep_checkpoint, read_logs
from audit.ports import LogHalted, NoteSigner
from audit.recorder_standing import Standing
from audit.sequencer import BATCH, CannotPlace, Sequencer
from audit.worm.port import Store
from tenancy.clock import Clock
from tenancy.clock_quality import Quality
from tenancy.database import Connection, Database
from tenancy.pause import pause

LOOK_EVERY_S = 0.1
"""Larger batches cost less a record; an order waits for its row in the inbox, never for its leaf."""
INTEGRATE_EVERY_S = 0.25
"""From one publication's beginning to the next one's."""
LOGS_AT_ONCE = 4

SeenElsewhere = Callable[[Log], Awaitable[Sequence[Checkpoint]]]
"""What other places have of a log, signatures checked: those that answer, soon. Raises LogHalted alone."""

log_event = structlog.get_logger()


class Parts(msgspec.Struct, kw_only=True):
    """What a recorder is made of; Recorder's constructor says what each is."""

    database: Database
    signer: NoteSigner
    store_dir: Path
    clock: Clock
    make_store: Callable[[Path], Store]
    quality: Callable[[], Quality]
    anchors: AnchorSettings | None
    seen_elsewhere: SeenElsewhere | None
    hurry: asyncio.Event
    """Set by who waits for the next publication."""


class Session:
    """The lock, the tails and the open logs of one database session; it ends with the session."""

    def __init__(self, parts: Parts, standing: Standing, conn: Connection) -> None:
        self._parts = parts
        self._standing = standing
        self._conn = conn
        self._one_at_a_time = asyncio.Lock()  # the session's connection carries one transaction
        self._sequencer = Sequencer(conn, parts.clock, parts.quality)
        self._anchors = AnchorWork(
            conn, self._one_at_a_time, parts.anchors, parts.clock, parts.quality
        )
        self.integrators: dict[UUID, Integrator] = {}

    async def discover(self) -> None:
        """Open logs that are new, take over keys that are; look how old the inbox is."""
        async with self._one_at_a_time:
            logs = await read_logs(self._conn)
            await self._obey_halts(logs)
            for log in logs:
                if log.log_id in self._standing.halted:
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
        while True:
            async with self._one_at_a_time:
                try:
                    taken = await self._sequencer.take()
                except CannotPlace as error:
                    self._drop(error.log, str(error))
                    continue
            if taken:
                self._standing.records += taken
                metrics.RECORDS.inc(taken)
                self._note_unpublished()
            if stop.is_set() and not taken:
                return
            if taken < BATCH:
                await pause(stop, LOOK_EVERY_S)

    async def integrate(self, sequencing: asyncio.Task[None]) -> None:
        """Steps 2 to 7 for every log that grew, until sequencing has ended and all is published."""
        while True:
            began = time.monotonic()
            last_round = sequencing.done()
            await self.discover()
            further = await self._publish_all()
            if last_round and not further:
                return
            if last_round:
                continue
            self._parts.hurry.clear()
            hurry = asyncio.create_task(self._parts.hurry.wait())
            rest_s = max(0.0, began + INTEGRATE_EVERY_S - time.monotonic())
            await asyncio.wait({hurry, sequencing}, timeout=rest_s,
                               return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
            hurry.cancel()

    async def anchor(self, stop: asyncio.Event) -> None:
        """Write the anchor log, where there is one and it is asked for, until `stop`."""
        database = self._parts.database
        await self._anchors.run(stop, database, self._of_records, self._keep, self._drop)

    async def _open(self, log: Log) -> None:
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
        self._standing.published(log, integrator.size, tail)
        self._note_unpublished()

    async def _opened(self, log: Log) -> Integrator | None:
        """The log's files and rows proven to agree; None where they do not: it is halted then."""
        try:
            store = await asyncio.to_thread(
                self._parts.make_store, self._parts.store_dir / str(log.log_id)
            )
            integrator = Integrator(log, store, self._parts.signer, self._sequencer.recent)
            await integrator.open(self._conn)
            if self._parts.seen_elsewhere is not None:
                await integrator.check_elsewhere(await self._parts.seen_elsewhere(log))
        except LogHalted as error:
            self._standing.halt(log, str(error))
            return None
        return integrator

    async def _obey_halts(self, logs: Sequence[Log]) -> None:
        """Stop what was halted, by whoever; take up again what was lifted."""
        there = await halts.read_open(self._conn)
        for log in logs:
            halt = there.get(log.log_id)
            if halt is None and log.log_id in self._standing.refused:
                self._standing.resume(log.log_id)
            elif halt is not None and log.log_id not in self._standing.refused:
                self._standing.refused.add(log.log_id)
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
        metrics.UNPUBLISHED_AGE.set(self._standing.stats().unpublished_age_s)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return any(results)

    async def _publish(self, integrator: Integrator) -> bool:
        """One publication; whether there was one."""
        log = integrator.log
        try:
            async with self._parts.database.connection() as reading:
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
        self._standing.published(log, integrator.size, self._tail(log))
        return head is not None

    def _drop(self, log: Log, why: str) -> None:
        self._forget(log)
        self._standing.halt(log, why)

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
        age_ns = 0 if row is None else max(0, self._parts.clock.now_ns() - row[0])
        self._standing.inbox_age_s = age_ns / 1e9
        metrics.INBOX_AGE.set(age_ns / 1e9)
        metrics.LOOKED.set_to_current_time()

    def _of_records(self) -> list[Integrator]:
        return [x for x in self.integrators.values() if not x.log.is_anchor]

    def _tail(self, log: Log) -> int:
        return self._sequencer.tails[log.tenant_id].size

    def _note_unpublished(self) -> None:
        for integrator in self._of_records():
            if integrator.size < self._tail(integrator.log):
                self._standing.behind(integrator.log)
