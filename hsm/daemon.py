"""The shape that signer and enroller share: one Unix socket in front, token threads behind.

The loop reads frames, lets the desk decide what may be asked at all (pure), and hands each
connection's frames to the token threads as one batch. A thread

1. serves a batch, which may be several that have gathered meanwhile;
2. settles: the worker's canary proves that the handles still mean the same keys;
3. only now gives the answers to the loop, which writes them, one write per connection.

A crash anywhere loses nothing: what was asked is asked again, and signing twice signs the same.
When the token is lost or hangs, the process ends with status 75 and a supervisor starts a clean
one; a refused PIN or a wrong setting ends it with 78, which no supervisor may answer with a
restart (real tokens lock after a few wrong PINs).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, cast

import structlog
import uvloop
from pkcs11.exceptions import PKCS11Error

from hsm import protocol
from hsm.errors import MalformedRequest, SignerBusy, TokenLost, TokenRefused
from hsm.settings import DaemonSettings, read_daemon_settings
from tenancy.errors import ConfigurationError, PortcullisError

EXIT_TOKEN_LOST = 75
EXIT_DO_NOT_RESTART = 78
BATCH_MAX = 64

log = structlog.get_logger()


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


class Desk(Protocol):
    """What one daemon is."""

    name: str

    def admit(self, request: protocol.Request) -> int:
        """Decide without the token. Returns which thread serves (modulo their number)."""
        ...

    def worker(self) -> Worker:
        """Open one thread's share of the token."""
        ...


class Job(NamedTuple):
    connection: Connection
    request: protocol.Request
    since: float


class Daemon:
    """A desk, its socket and its threads."""

    def __init__(self, settings: DaemonSettings, desk: Desk) -> None:
        self.settings = settings
        self.desk = desk
        self.exit_status = 0
        self._connections: set[Connection] = set()
        self._waiting = 0
        self._closing = False
        self._done = asyncio.Event()
        self._alone = asyncio.Event()
        self._started = time.time()
        self._counts = {"answered": 0, "refused": 0, "busy": 0, "batches": 0}
        self._latencies: deque[float] = deque(maxlen=2048)
        self._crew = [_Thread(self, desk.worker) for _ in range(settings.worker_threads)]

    async def run(self) -> int:
        """Serve until SIGTERM or the token's loss. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for thread in self._crew:
            await thread.start(loop)
        server = await loop.create_unix_server(
            lambda: Connection(self), sock=listen(self.settings.socket, self.settings.socket_mode)
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        watch = loop.create_task(self._watch())
        log.info("hsm_daemon_ready", daemon=self.desk.name, socket=str(self.settings.socket))
        await self._done.wait()
        server.close()
        watch.cancel()
        await self._hang_up()
        for thread in self._crew:
            thread.stop()
        self.settings.socket.unlink(missing_ok=True)
        log.info("hsm_daemon_stopped", daemon=self.desk.name, status=self.exit_status)
        return self.exit_status

    async def _hang_up(self) -> None:
        """Close every connection once its last answers are written; a deaf client gets a second."""
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            self._alone = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._alone.wait(), 1.0)

    def stop(self) -> None:
        """Take nothing new; end when what waits is answered."""
        self._closing = True
        for connection in self._connections:
            connection.pause()
        if self._waiting == 0:
            self._done.set()

    def lost(self, why: str) -> None:
        """The token is gone: answer what waits with its error, then end."""
        log.error("hsm_token_lost", daemon=self.desk.name, why=why)
        self.exit_status = EXIT_TOKEN_LOST
        self.stop()

    def take(self, connection: Connection, bodies: list[bytes]) -> None:
        """Answer what needs no token; queue the rest as one batch per thread."""
        now = time.monotonic()
        batches: dict[int, list[Job]] = {}
        for body in bodies:
            request = protocol.read_request(body)
            if isinstance(request, protocol.Status):
                connection.write(protocol.frame(protocol.Figures(request.id, self.figures())))
                continue
            try:
                index = self._admit(request) % len(self._crew)
            except PortcullisError as error:
                self._counts["refused"] += 1
                connection.write(refusal(request.id, error))
                continue
            self._waiting += 1
            batches.setdefault(index, []).append(Job(connection, request, now))
        for index, jobs in batches.items():
            self._crew[index].put(jobs)

    def _admit(self, request: protocol.Request) -> int:
        if self._waiting >= self.settings.queue_max:
            self._counts["busy"] += 1
            raise SignerBusy(f"{self._waiting} requests wait already")
        return self.desk.admit(request)

    def deliver(self, answers: list[tuple[Connection, bytes]], refused: int, since: float) -> None:
        """On the loop: a batch is done."""
        self._waiting -= len(answers)
        self._counts["answered"] += len(answers)
        self._counts["refused"] += refused
        self._counts["batches"] += 1
        self._latencies.append(time.monotonic() - since)
        by_connection: dict[Connection, list[bytes]] = {}
        for connection, answer in answers:
            by_connection.setdefault(connection, []).append(answer)
        for connection, frames in by_connection.items():
            connection.write(b"".join(frames))
        if self._closing and self._waiting == 0:
            self._done.set()

    def figures(self) -> dict[str, Any]:
        """What `status` answers: counts since the start, and batch latency in seconds."""
        slowest = sorted(self._latencies)
        figures: dict[str, Any] = {
            "daemon": self.desk.name,
            "pid": os.getpid(),
            "uptime_s": time.time() - self._started,
            "waiting": self._waiting,
            "threads": len(self._crew),
            "batch_p50_s": slowest[len(slowest) // 2] if slowest else 0.0,
            "batch_p99_s": slowest[len(slowest) * 99 // 100] if slowest else 0.0,
            **self._counts,
        }
        for thread in self._crew:
            for name, value in thread.figures().items():
                figures[name] = figures.get(name, 0) + value
        return figures

    def joined(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self._closing:
            connection.close()

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._alone.set()

    async def _watch(self) -> None:
        """End the process where a call into the token hangs: no thread can be stopped from outside."""
        while True:
            await asyncio.sleep(min(1.0, self.settings.hang_s / 4))
            if any(thread.busy_s() > self.settings.hang_s for thread in self._crew):
                log.error("hsm_call_hung", daemon=self.desk.name, seconds=self.settings.hang_s)
                os._exit(EXIT_TOKEN_LOST)


class _Thread:
    """One token thread: a queue of batches in, answers out through the loop."""

    def __init__(self, daemon: Daemon, make: Callable[[], Worker]) -> None:
        self._daemon = daemon
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
            self._loop.call_soon_threadsafe(self._daemon.deliver, answers, refused, jobs[0].since)
            if lost:
                self._loop.call_soon_threadsafe(self._daemon.lost, lost)

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
                answer = refusal(request.id, error)
            answers.append((connection, answer))
        worker.settle()
    except TokenLost as lost:
        return (
            [(job.connection, refusal(job.request.id, lost)) for job in jobs],
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


def refusal(request_id: int, error: PortcullisError) -> bytes:
    return protocol.frame(protocol.Refused(request_id, error.code, str(error)))


class Connection(asyncio.Protocol):
    """One client. Known by its user id before a byte of it is read."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._reader = protocol.FrameReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        uid = peer_uid(transport)
        if uid != os.getuid() and uid not in self._daemon.settings.peer_uids:
            log.warning("hsm_peer_refused", uid=uid)
            cast(asyncio.Transport, transport).abort()
            return
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own
        self._daemon.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            self._daemon.take(self, self._reader.feed(data))
        except MalformedRequest as error:
            log.warning("hsm_malformed_request", error=str(error))
            self.write(refusal(0, error))
            self.close()

    def write(self, frames: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frames)

    def pause(self) -> None:
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The client does not read its answers: read nothing more of it."""
        self.pause()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._daemon.left(self)


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """Who connected, on the kernel's word (SO_PEERCRED)."""
    peer = transport.get_extra_info("socket")
    size = struct.calcsize("3i")
    return int(struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1])


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at `path` that never exists with a wider mode.

    A socket file that nobody answers is a dead daemon's and is replaced; a living one is not.
    """
    if path.exists():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink(missing_ok=True)
            else:
                raise ConfigurationError(f"another daemon answers at {path}")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(before)
    path.chmod(mode)
    server.listen(128)
    server.setblocking(False)
    return server


def harden() -> None:
    """No core dumps, and no reading of our memory by our own user (PR_SET_DUMPABLE, Linux)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


def main(name: str, open_desk: Callable[[DaemonSettings], Desk]) -> int:
    """The daemon's `main`: settings, token, socket. Returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"hsm.{name}")
    parser.add_argument("--config", type=Path, required=True, help="TOML file, see hsm/settings.py")
    try:
        settings = read_daemon_settings(parser.parse_args().config)
        harden()
        desk = open_desk(settings)
        return uvloop.run(_run(settings, desk))
    except TokenLost as error:
        log.error("hsm_daemon_failed", daemon=name, code=error.code, error=str(error))
        return EXIT_TOKEN_LOST
    except PortcullisError as error:
        log.error("hsm_daemon_failed", daemon=name, code=error.code, error=str(error))
        return EXIT_DO_NOT_RESTART


async def _run(settings: DaemonSettings, desk: Desk) -> int:
    return await Daemon(settings, desk).run()
