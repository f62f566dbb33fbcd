"""Keep signals durably, many in one commit, and answer only after it.

One writer task, one connection. It commits at once when idle and collects only while a commit
is in flight, so there is no timer. One batch:

0. Of senders without ids (gateway/hooks/tradingview.py): take the lock of each body, in one order
   everywhere, and look whether it came within its window. What did is a repeat, and not inserted.
1. BEGIN; insert every signal that is new (unique on hook and message id; a repeat inside the
   batch is a repeat). *Crash: nothing is kept, nobody was answered, the sender retries.*
2. Where a message id was there already: read who came first and with which body.
3. Audit notes of the new ones, of deliveries that came again, and of refusals that wait. *Crash: as 1.*
4. COMMIT. *Crash or a lost answer: nobody knows, everybody who waits is told
   `outcome_unknown`; the sender's retry finds either its own signal or nothing.*
5. Answer. *Crash before: kept and not told; the retry gets the first answer.*
6. Hand the wake-ups over, waiting for nobody. *Lost: the workers' sweep.*

The notes cannot be written (no key for their payloads, or not in time): `audit_unavailable`, nothing
was kept. PostgreSQL away: what waits is answered `unavailable`, nothing was kept, and the writer
reconnects with growing pauses. Too much waiting: `overloaded`, at once. A batch that
PostgreSQL refuses for one row's sake is done again row by row, so that only that row fails.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec
import psycopg
import structlog

from audit.inbox import append
from audit.ports import AuditUnavailable
from audit.receipts import collected
from fanout.wake import Wake
from gateway import metrics
from gateway.hooks.incoming import Incoming, Kept
from gateway.hooks.records import Note, Record, repeated
from gateway.hooks.repeats import first_ones, within_windows
from gateway.hooks.settings import KeepSettings
from gateway.hooks.signal_rows import insert
from tenancy.database import Connection, commit
from tenancy.errors import OutcomeUnknown, PortcullisError, Retry, Unavailable
from tenancy.values import SignalID

log = structlog.get_logger()


class MessageConflict(PortcullisError):
    """The message id was used before, with another body. `first` is the signal that stands."""

    code = "message_conflict"

    def __init__(self, first: SignalID) -> None:
        super().__init__(
            f"this webhook-id was used before with another body; signal {first} stands"
        )
        self.first = first


class Overloaded(PortcullisError):
    """Too many signals wait for a commit; nothing was done."""

    code = "overloaded"
    retry = Retry.SAFELY


class _Waiting:
    """One request in the queue."""

    __slots__ = ("future", "incoming", "since")

    def __init__(self, incoming: Incoming, future: asyncio.Future[Kept]) -> None:
        self.incoming = incoming
        self.future = future
        self.since = time.perf_counter()

    def answer(self, kept: Kept) -> None:
        if not self.future.done():
            metrics.KEEP_SECONDS.observe(time.perf_counter() - self.since)
            self.future.set_result(kept)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Acceptor:
    """The one writer of this process. `start()` before the first `keep()`, `stop()` at the end."""

    def __init__(
        self,
        conninfo: str,
        *,
        wake: Callable[[Sequence[Wake]], None],
        settings: KeepSettings,
        record: Record = append,
    ) -> None:
        """`record` writes notes in the batch's transaction; `wake` must not block or raise."""
        self._conninfo = conninfo
        self._record = record
        self._wake = wake
        self._settings = settings
        self._queue: deque[_Waiting] = deque()
        self._refusals: deque[Note] = deque()
        self._something = asyncio.Event()
        self._conn: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def __repr__(self) -> str:
        state = "connected" if self._conn is not None else "away"
        return f"<Acceptor {state}, {len(self._queue)} waiting>"

    @property
    def connected(self) -> bool:
        """Whether the last thing that PostgreSQL did for us worked; for readyz."""
        return self._conn is not None and not self._conn.closed

    async def start(self) -> None:
        """Begin. Does not wait for PostgreSQL: until it answers, keep() raises Unavailable."""
        # Asked at each look: a commit that hangs must not leave it at what it was before.
        metrics.QUEUE_DEPTH.set_function(lambda: len(self._queue))
        self._task = asyncio.create_task(self._run(), name="acceptor")

    async def stop(self) -> None:
        """Finish what waits, then close. A keep() after it raises Unavailable."""
        self._stopping = True
        self._something.set()
        if self._task is not None:
            await self._task
        if self._conn is not None:
            await self._conn.close()
            self._conn = None

    async def keep(self, incoming: Incoming) -> Kept:
        """Wait until the signal is durable.

        Raises MessageConflict; Overloaded or Unavailable where nothing was kept; OutcomeUnknown
        where nobody knows (a broken COMMIT, or no answer within `answer_timeout_s`).
        """
        if self._stopping or self._task is None or self._task.done():
            raise Unavailable("this process is stopping; nothing was kept")
        if len(self._queue) >= self._settings.queue_max:
            raise Overloaded("too many signals wait for the database; nothing was kept")
        waiting = _Waiting(incoming, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._something.set()
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                return await waiting.future
        except TimeoutError:
            raise OutcomeUnknown("the database did not answer in time") from None

    def note_refusal(self, note: Note) -> bool:
        """Record a refusal with the next batch. False where too many wait: it is only counted."""
        if self._stopping or len(self._refusals) >= self._settings.refusals_max:
            return False
        self._refusals.append(note)
        self._something.set()
        return True

    async def _run(self) -> None:
        backoff_s = 0.0
        while not (self._stopping and not self._queue and not self._refusals):
            if self._conn is None or self._conn.closed:
                if backoff_s and await self._paused(backoff_s):
                    return
                try:
                    await self._connect()
                except (psycopg.Error, OSError) as error:
                    backoff_s = self._longer(backoff_s)
                    log.warning("keep_connect_failed", error=str(error), pause_s=backoff_s)
                    self._fail_all(Unavailable("the database does not answer; nothing was kept"))
                    if self._stopping:
                        return
                    continue
            if not self._queue and not self._refusals:
                if not self._stopping:
                    self._something.clear()
                    await self._something.wait()
                continue
            backoff_s = 0.0 if await self._take_batch() else self._longer(backoff_s)

    def _longer(self, backoff_s: float) -> float:
        return min(self._settings.backoff_most_s, backoff_s * 2 or self._settings.backoff_first_s)

    async def _paused(self, pause_s: float) -> bool:
        """Sleep, answering whoever comes meanwhile. True where it is time to end."""
        until = time.monotonic() + pause_s
        while (left := until - time.monotonic()) > 0:
            self._fail_all(Unavailable("the database does not answer; nothing was kept"))
            if self._stopping:
                return True
            self._something.clear()
            try:
                async with asyncio.timeout(left):
                    await self._something.wait()
            except TimeoutError:
                break
        return False

    def _fail_all(self, error: Unavailable) -> None:
        """Nothing that waits was ever sent to PostgreSQL. Refusals stay: they wait for a better time."""
        while self._queue:
            self._queue.popleft().fail(error)
        if self._stopping:
            self._refusals.clear()

    async def _connect(self) -> None:
        if self._conn is not None:
            await self._conn.close()
            self._conn = None
        conn: Connection = await psycopg.AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            prepare_threshold=1,
            connect_timeout=5,
            application_name="portcullis-accept",
        )
        self._conn = conn
        log.info("keep_connected")

    async def _take_batch(self) -> bool:
        """One batch, start to end. False where the connection did not survive it."""
        assert self._conn is not None
        conn = self._conn
        size = min(self._settings.batch_max, len(self._queue))
        batch = [self._queue.popleft() for _ in range(size)]
        refusals = [self._refusals.popleft() for _ in range(len(self._refusals))]
        metrics.BATCH_SIGNALS.observe(size)
        if not await self._begun(conn):
            # It died while idle and nothing was sent: connect again and do the same batch.
            self._queue.extendleft(reversed(batch))
            self._refusals.extendleft(reversed(refusals))
            return True
        batch.sort(key=_unique_key)
        return await self._attempt(conn, batch, refusals)

    async def _attempt(self, conn: Connection, batch: list[_Waiting], refusals: list[Note]) -> bool:
        try:
            await self._write(conn, batch, refusals)
        except OutcomeUnknown as error:
            self._failed(batch, refusals, error)
            await conn.close()
            return False
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
            unkept = Unavailable("the database connection broke; nothing was kept")
            unkept.__cause__ = error
            self._failed(batch, refusals, unkept)
            await conn.close()
            return False
        except AuditUnavailable as error:  # of all of them: none would fare better by itself
            await _rolled_back(conn)
            self._failed(batch, refusals, error)
            return not conn.closed
        except Exception as error:
            return await self._one_by_one(conn, batch, refusals, error)
        return True

    async def _one_by_one(
        self, conn: Connection, batch: list[_Waiting], refusals: list[Note], error: Exception
    ) -> bool:
        """PostgreSQL refused the batch: take it back, and find the row that it means."""
        await _rolled_back(conn)
        if len(batch) + len(refusals) <= 1:
            self._failed(batch, refusals, error)
            return not conn.closed
        log.warning("keep_batch_refused", error=str(error), signals=len(batch))
        singles: list[tuple[list[_Waiting], list[Note]]] = [([one], []) for one in batch]
        singles += [([], [note]) for note in refusals]
        for at, (one, note) in enumerate(singles):
            if not await self._begun(conn) or not await self._attempt(conn, one, note):
                for rest, _ in singles[at:]:
                    for waiting in rest:
                        waiting.fail(Unavailable("the database connection broke; nothing was kept"))
                return False
        return True

    async def _begun(self, conn: Connection) -> bool:
        try:
            await conn.execute("BEGIN")
        except psycopg.OperationalError:
            await conn.close()
        return not conn.closed

    def _failed(self, batch: list[_Waiting], refusals: list[Note], error: Exception) -> None:
        kind = error.code if isinstance(error, PortcullisError) else "refused"
        metrics.KEEP_FAILURES.labels(kind).inc()
        metrics.REFUSALS_UNRECORDED.inc(len(refusals))
        log.error("keep_failed", kind=kind, signals=len(batch), error=str(error.__cause__ or error))
        for waiting in batch:
            waiting.fail(error)

    async def _write(self, conn: Connection, batch: list[_Waiting], refusals: list[Note]) -> None:
        """Steps 1 to 6; the transaction is open."""
        new: set[UUID] = set()
        firsts: dict[tuple[str, str], tuple[UUID, bytes, str]] = {}
        windowed = [w.incoming for w in batch if w.incoming.window is not None]
        again = await within_windows(conn, windowed) if windowed else {}
        repeats = [waiting for waiting in batch if waiting.incoming.signal_id in again]
        batch = [waiting for waiting in batch if waiting.incoming.signal_id not in again]
        if batch:
            new = await insert(conn, [waiting.incoming for waiting in batch])
        known = [w.incoming for w in batch if w.incoming.signal_id not in new]
        if known:
            firsts = await first_ones(conn, known)
        noted = {
            w.incoming.signal_id: w.incoming.note for w in batch if w.incoming.signal_id in new
        }
        noted |= _received_again(batch, new, firsts)
        for waiting in repeats:
            name = waiting.incoming.signal_id
            noted[name] = repeated(waiting.incoming.note, again[name].signal_id)
        made: dict[UUID, str] = {}
        if noted or refusals:
            with collected() as receipts:
                await self._record(conn, [*noted.values(), *refusals])
            made = dict(zip(noted, map(str, receipts), strict=False))
        await commit(conn)
        wakes = []
        for waiting in batch:
            incoming, receipt = waiting.incoming, made.get(waiting.incoming.signal_id, "")
            if incoming.signal_id in new:
                waiting.answer(Kept(incoming.signal_id, incoming.traceparent, False, receipt))
                wakes.append(
                    Wake("signal", incoming.signal_id, incoming.part, incoming.traceparent)
                )
            else:
                first = firsts.get((incoming.hook_id, incoming.message_id))
                _answer_repeat(waiting, first, receipt)
        for waiting in repeats:
            name = waiting.incoming.signal_id
            waiting.answer(msgspec.structs.replace(again[name], receipt=made.get(name, "")))
        if wakes:
            self._wake(wakes)


async def _rolled_back(conn: Connection) -> None:
    try:
        await conn.execute("ROLLBACK")
    except psycopg.Error:
        await conn.close()


def _unique_key(waiting: _Waiting) -> tuple[str, str]:
    """One order for everybody: two processes with the same messages then cannot deadlock."""
    return waiting.incoming.hook_id, waiting.incoming.message_id


def _received_again(
    batch: Sequence[_Waiting],
    new: set[UUID],
    firsts: dict[tuple[str, str], tuple[UUID, bytes, str]],
) -> dict[SignalID, Note]:
    """The notes of repeats with the first one's body; another body under its id is a refusal."""
    notes: dict[SignalID, Note] = {}
    for incoming in (waiting.incoming for waiting in batch):
        first = firsts.get((incoming.hook_id, incoming.message_id))
        if incoming.signal_id not in new and first and first[1] == incoming.body_sha256:
            notes[incoming.signal_id] = repeated(incoming.note, SignalID(first[0]))
    return notes


def _answer_repeat(waiting: _Waiting, first: tuple[UUID, bytes, str] | None, receipt: str) -> None:
    if first is None:
        waiting.fail(Unavailable("the first message of this id could not be read"))
        return
    signal_id, body_sha256, traceparent = first
    if body_sha256 == waiting.incoming.body_sha256:
        waiting.answer(Kept(SignalID(signal_id), traceparent, True, receipt))
    else:
        waiting.fail(MessageConflict(SignalID(signal_id)))
