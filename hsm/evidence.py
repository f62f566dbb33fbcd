"""The daemon's refusals on their way into the journal: nobody is told before it is written down.

A thread of its own writes, because a disk waits. What has gathered meanwhile is flushed together.
The answers go out by the loop, after the flush; should the flush fail, the asker is told
`journal_failed` and the daemon ends.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from hsm import protocol
from hsm.errors import JournalFailed
from hsm.journal import Journal
from hsm.listening import Connection
from hsm.refusals import KEPT, Budget, Refusal, gap, line_of, refused
from tenancy.errors import PortcullisError

ANSWER_MOST = 64
"""Refusals in one answer: with their longest texts they stay below a frame's size."""


class Office(Protocol):
    """Where answers go; called on the loop."""

    def kept(
        self, requests: list[protocol.Request], answers: list[tuple[Connection, bytes]]
    ) -> None:
        """These requests wait no longer; their answers may go out."""
        ...

    def lost(self, error: PortcullisError) -> None:
        """Nothing can be written any more."""
        ...


class _Entry(NamedTuple):
    """One refusal and whom it is told; without either, only what was missed."""

    connection: Connection | None
    request: protocol.Request | None
    error: PortcullisError | None
    proven: UUID | None
    ts_ns: int
    missed: Mapping[str, int]


class _Question(NamedTuple):
    connection: Connection
    request: protocol.Refusals


class Evidence:
    """The journal, its thread and its budget."""

    def __init__(self, journal: Journal, office: Office) -> None:
        self._journal = journal
        self._office = office
        self._budget = Budget()
        self._queue: SimpleQueue[_Entry | _Question | None] = SimpleQueue()
        self._busy_since: float | None = None
        self._counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and close the journal."""
        self._queue.put(None)
        self._thread.join(timeout=2.0)
        if not self._thread.is_alive():
            self._journal.close()

    def busy_s(self) -> float:
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def takes(self, error: PortcullisError) -> bool:
        """Count the refusal; whether it is written down (its answer then waits for keep())."""
        self._counts[error.code] += 1
        return error.code in KEPT and self._budget.room(error.code, time.monotonic())

    def keep(
        self,
        connection: Connection,
        request: protocol.Request,
        error: PortcullisError,
        proven: UUID | None,
    ) -> None:
        """Write it down, then answer."""
        missed = self._budget.missed()
        self._queue.put(_Entry(connection, request, error, proven, time.time_ns(), missed))

    def read(self, connection: Connection, request: protocol.Refusals) -> None:
        self._queue.put(_Question(connection, request))

    def tick(self) -> None:
        """Now and then: write down how many were not, if no refusal has said it since."""
        missed = self._budget.missed()
        if missed:
            self._queue.put(_Entry(None, None, None, None, time.time_ns(), missed))

    def figures(self) -> dict[str, Any]:
        return {
            "journal": str(self._journal.id),
            "journal_last": self._journal.last,
            "refusals": dict(self._counts),
        }

    def _run(self) -> None:
        failed: JournalFailed | None = None
        while (items := self._gather()) is not None:
            self._busy_since = time.monotonic()
            entries = [item for item in items if isinstance(item, _Entry)]
            questions = [item for item in items if isinstance(item, _Question)]
            try:
                if entries and failed is None:
                    self._journal.append(self._lines(entries))
            except JournalFailed as error:
                failed = error
                self._call(self._office.lost, failed)
            answers = _told(entries, failed) + [self._answer(one) for one in questions]
            self._busy_since = None
            asked = [item.request for item in items if item.request is not None]
            self._call(self._office.kept, asked, answers)

    def _gather(self) -> list[_Entry | _Question] | None:
        first = self._queue.get()
        if first is None:
            return None
        items = [first]
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return items
            if item is None:
                self._queue.put(None)
                return items
            items.append(item)

    def _lines(self, entries: list[_Entry]) -> list[Refusal]:
        return [
            gap(seq=seq, ts_ns=entry.ts_ns, missed=entry.missed)
            if entry.error is None
            else refused(
                entry.request, entry.error, entry.proven,
                seq=seq, ts_ns=entry.ts_ns, missed=entry.missed,
            )
            for seq, entry in enumerate(entries, self._journal.last + 1)
        ]  # fmt: skip

    def _answer(self, question: _Question) -> tuple[Connection, bytes]:
        number, after, most = question.request.id, question.request.after, question.request.most
        try:
            found = self._journal.read(after, min(most, ANSWER_MOST)) if most > 0 else []
        except JournalFailed as error:
            return question.connection, protocol.refusal(number, error)
        listed = protocol.RefusalList(
            number, self._journal.id, self._journal.last, [line_of(one) for one in found]
        )
        return question.connection, protocol.frame(listed)

    def _call(self, what: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            pass  # the loop is closed: the process ends, and nobody listens


def _told(entries: list[_Entry], failed: JournalFailed | None) -> list[tuple[Connection, bytes]]:
    return [
        (entry.connection, protocol.refusal(entry.request.id, failed or entry.error))
        for entry in entries
        if entry.connection is not None and entry.request is not None and entry.error is not None
    ]
