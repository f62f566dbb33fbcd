"""The token threads: batches in, answers out, and nothing leaves before its batch has settled.

A thread takes from all that waits for it a turn for each tenant, so that one tenant's burst delays
another's request by one of its own, not by all of them. A batch is settled when it has taken
BATCH_S, whatever is left of it: behind a slow token nobody waits for sixty-three others. Where they
have waited for longer than that already, it may take as long as its first one has waited, up to
BATCH_MOST_S: a settlement is a call into the token, and a queue is no shorter for having many of them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec
from pkcs11.exceptions import PKCS11Error

from hsm import protocol
from hsm.errors import TokenLost, TokenRefused
from hsm.listening import Connection
from hsm.turns import Turns
from tenancy.errors import PortcullisError

BATCH_MAX = 64
BATCH_S, BATCH_MOST_S = 0.01, 0.04


class Worker(Protocol):
    """What one token thread does. Lives in that thread."""

    def serve(self, request: protocol.Request) -> bytes:
        """The answer's value. Raises PortcullisError to refuse, TokenLost to end the process."""
        ...

    def proven(self, request: protocol.Request) -> UUID | None:
        """Whose row a refused request showed, if the row's MAC says so. Raises TokenLost."""
        ...

    def settle(self) -> None:
        """After a batch, before its answers leave. Raises TokenLost."""
        ...

    def figures(self) -> dict[str, int]:
        """Counters for `status`."""
        ...


class Job(msgspec.Struct, frozen=True, gc=False):
    """A request. `refused`: it was, and only whose row it showed is to be found out."""

    connection: Connection
    request: protocol.Request
    since: float
    refused: PortcullisError | None = None


class Served(NamedTuple):
    """What became of the jobs of a batch. Those in none of the lists were forgotten by their askers."""

    jobs: list[Job]
    answers: list[tuple[Connection, bytes]]
    refused: list[tuple[Job, PortcullisError]]
    proven: list[tuple[Job, UUID | None]]
    lost: TokenLost | None


class Office(Protocol):
    """Where a thread's results go; called on the loop."""

    def deliver(self, served: Served) -> None: ...


def tenant_of(request: protocol.Request) -> int | None:
    """Whose request it says that it is: the number of the tenant's id, which counts quicker than a UUID."""
    tenant_id: UUID | None = getattr(request, "tenant_id", None)
    return None if tenant_id is None else tenant_id.int


def is_forgotten(job: Job) -> bool:
    """Its asker has given up: an overloaded token works for those who still wait."""
    forgotten = job.connection.forgotten
    if not forgotten or job.request.id not in forgotten:
        return False
    forgotten.discard(job.request.id)
    return True


def _whose(job: Job) -> int | None:
    return tenant_of(job.request)


class TokenThread:
    """One token thread: a queue of batches in, answers out through the loop."""

    def __init__(self, office: Office, make: Callable[[], Worker]) -> None:
        self._office = office
        self._make = make
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._turns: Turns[Job] = Turns(_whose)
        self._left: list[Job] = []
        self._busy_since: float | None = None
        self._settled_at = time.monotonic()
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
        """Serve these; none at all is a look at the canary."""
        self._queue.put(jobs)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join(timeout=2.0)

    def busy_s(self) -> float:
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def settled_s(self) -> float:
        """Seconds since the canary last sang rightly."""
        return time.monotonic() - self._settled_at

    def figures(self) -> dict[str, int]:
        return {} if self._worker is None else self._worker.figures()

    def _run(self) -> None:
        try:
            self._worker = worker = self._make()
        except Exception as error:  # whatever it is, start() raises it
            self._loop.call_soon_threadsafe(self._opened.set_exception, error)
            return
        self._settled_at = time.monotonic()
        self._loop.call_soon_threadsafe(self._opened.set_result, None)
        while (jobs := self._gather()) is not None:
            served = serve_batch(worker, jobs, self._begins)
            if served.lost is None:
                self._settled_at = time.monotonic()
            self._busy_since = None
            self._left = jobs[len(served.jobs) :]
            self._loop.call_soon_threadsafe(self._office.deliver, served)

    def _begins(self) -> float:
        """A call or two into the token begin now: from here on they may be found to hang."""
        self._busy_since = now = time.monotonic()
        return now

    def _gather(self) -> list[Job] | None:
        """A batch of what waits, waiting for it if need be; None at the end."""
        if self._turns or self._left:
            jobs, self._left = self._left, []
        else:
            first = self._queue.get()
            if first is None:
                return None
            jobs = first
        while True:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:
                self._queue.put(None)
                break
            jobs = jobs + more
        if not self._turns and len(jobs) <= BATCH_MAX:
            return jobs
        self._turns.put(jobs)
        return self._turns.take(BATCH_MAX)


def serve_batch(
    worker: Worker, jobs: list[Job], begins: Callable[[], float] = time.monotonic
) -> Served:
    """What became of the first of them, as many as its time allows, one at least.

    `begins` is called before each, and says the time. If the token is lost, all of them are told so,
    whatever was done.
    """
    answers: list[tuple[Connection, bytes]] = []
    refused: list[tuple[Job, PortcullisError]] = []
    proven: list[tuple[Job, UUID | None]] = []
    done, now = 0, begins()
    over = now + max(BATCH_S, min(BATCH_MOST_S, now - jobs[0].since)) if jobs else now
    try:
        for job in jobs:
            if begins() > over and done:
                break
            done += 1
            if job.refused is not None:
                proven.append((job, worker.proven(job.request)))
                continue
            if is_forgotten(job):
                continue
            try:
                value = serve_one(worker, job.request)
            except TokenLost:
                raise
            except PortcullisError as error:
                refused.append((job, error))
            else:
                answer = protocol.frame(protocol.Done(job.request.id, value))
                answers.append((job.connection, answer))
        begins()
        worker.settle()
    except TokenLost as lost:
        return Served(
            jobs, [],
            [(job, lost) for job in jobs if job.refused is None],
            [(job, None) for job in jobs if job.refused is not None],
            lost,
        )  # fmt: skip
    return Served(jobs[:done], answers, refused, proven, None)


def serve_one(worker: Worker, request: protocol.Request) -> bytes:
    """As Worker.serve(); what PKCS#11 refuses is the request's fault if the canary still sings.

    Otherwise one odd sealed row would end the daemon for everybody, again and again.
    """
    try:
        return worker.serve(request)
    except PKCS11Error as error:
        worker.settle()
        raise TokenRefused(f"the token refused: {type(error).__name__}") from None
