"""The token threads: batches in, answers out, and nothing leaves before its batch has settled."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from pkcs11.exceptions import PKCS11Error

from hsm import protocol
from hsm.errors import TokenLost, TokenRefused
from hsm.listening import Connection
from tenancy.errors import PortcullisError

BATCH_MAX = 64


class Worker(Protocol):
    """What one token thread does. Lives in that thread."""

    def serve(self, request: protocol.Request) -> bytes:
        """The answer's value. Raises PortcullisError to refuse, TokenLost to end the process."""
        ...

    def settle(self) -> None:
        """After a batch, before its answers leave. Raises TokenLost."""
        ...

    def figures(self) -> dict[str, int]:
        """Counters for `status`."""
        ...


class Office(Protocol):
    """Where a thread's results go; called on the loop."""

    def deliver(self, answers: list[tuple[Connection, bytes]], refused: int, since: float) -> None:
        """A batch is done, whose oldest request came at `since` (monotonic)."""
        ...

    def lost(self, why: str) -> None:
        """The token is gone."""
        ...


class Job(NamedTuple):
    connection: Connection
    request: protocol.Request
    since: float


class TokenThread:
    """One token thread: a queue of batches in, answers out through the loop."""

    def __init__(self, office: Office, make: Callable[[], Worker]) -> None:
        self._office = office
        self._make = make
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._busy_since: float | None = None
        self._worker: Worker | None = None
        self._thread = threading.Thread(target=self._run, name="token", daemon=True)

    async def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open the worker's session in its own thread. Raises what that raises."""
        self._loop = loop
        opened: asyncio.Future[None] = loop.create_future()
        self._opened = opened
        self._thread.start()
        await opened

    def put(self, jobs: list[Job]) -> None:
        self._queue.put(jobs)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join(timeout=2.0)

    def busy_s(self) -> float:
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def figures(self) -> dict[str, int]:
        return {} if self._worker is None else self._worker.figures()

    def _run(self) -> None:
        try:
            self._worker = worker = self._make()
        except Exception as error:  # whatever it is, start() raises it
            self._loop.call_soon_threadsafe(self._opened.set_exception, error)
            return
        self._loop.call_soon_threadsafe(self._opened.set_result, None)
        while (jobs := self._gather()) is not None:
            self._busy_since = time.monotonic()
            answers, refused, lost = serve_batch(worker, jobs)
            self._busy_since = None
            self._loop.call_soon_threadsafe(self._office.deliver, answers, refused, jobs[0].since)
            if lost:
                self._loop.call_soon_threadsafe(self._office.lost, lost)

    def _gather(self) -> list[Job] | None:
        jobs = self._queue.get()
        if jobs is None:
            return None
        while len(jobs) < BATCH_MAX:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:
                self._queue.put(None)
                break
            jobs = jobs + more
        return jobs


def serve_batch(
    worker: Worker, jobs: list[Job]
) -> tuple[list[tuple[Connection, bytes]], int, str | None]:
    """Answers, how many refuse, and why the token is lost if it is: then all of them say so."""
    answers: list[tuple[Connection, bytes]] = []
    refused = 0
    try:
        for connection, request, _ in jobs:
            try:
                answer = protocol.frame(protocol.Done(request.id, serve_one(worker, request)))
            except TokenLost:
                raise
            except PortcullisError as error:
                refused += 1
                answer = protocol.refusal(request.id, error)
            answers.append((connection, answer))
        worker.settle()
    except TokenLost as lost:
        return (
            [(job.connection, protocol.refusal(job.request.id, lost)) for job in jobs],
            len(jobs),
            str(lost),
        )
    return answers, refused, None


def serve_one(worker: Worker, request: protocol.Request) -> bytes:
    """As Worker.serve(); what PKCS#11 refuses is the request's fault if the canary still sings.

    Otherwise one odd sealed row would end the daemon for everybody, again and again.
    """
    try:
        return worker.serve(request)
    except PKCS11Error as error:
        worker.settle()
        raise TokenRefused(f"the token refused: {type(error).__name__}") from None
