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
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import structlog
import uvloop

from hsm import protocol
from hsm.crew import Job, TokenThread, Worker
from hsm.errors import SignerBusy, TokenLost
from hsm.hardening import harden
from hsm.listening import Connection, serve
from hsm.openers import check_leave
from hsm.settings import DaemonSettings, read_daemon_settings
from tenancy.errors import PortcullisError

EXIT_TOKEN_LOST = 75
EXIT_DO_NOT_RESTART = 78

log = structlog.get_logger()


class Desk(Protocol):
    """What one daemon is."""

    name: str

    def admit(self, request: protocol.Request) -> int:
        """Decide without the token. Returns which thread serves (modulo their number)."""
        ...

    def worker(self) -> Worker:
        """Open one thread's share of the token."""
        ...


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
        self._crew = [TokenThread(self, desk.worker) for _ in range(settings.worker_threads)]

    async def run(self) -> int:
        """Serve until SIGTERM or the token's loss. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for thread in self._crew:
            await thread.start(loop)
        servers = await serve(self, self.settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        watch = loop.create_task(self._watch())
        log.info("hsm_daemon_ready", daemon=self.desk.name, socket=str(self.settings.socket))
        await self._done.wait()
        for server in servers:
            server.close()
        watch.cancel()
        await self._hang_up()
        for thread in self._crew:
            thread.stop()
        for path in self.settings.sockets():
            path.unlink(missing_ok=True)
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
                check_leave(request, connection.leave)
                index = self._admit(request) % len(self._crew)
            except PortcullisError as error:
                self._counts["refused"] += 1
                connection.write(protocol.refusal(request.id, error))
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


def set_up_logging(name: str) -> None:
    """JSON lines on stderr, as every other process of ours writes them."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=name)


def main(name: str, open_desk: Callable[[DaemonSettings], Desk]) -> int:
    """The daemon's `main`: settings, token, socket. Returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"hsm.{name}")
    parser.add_argument("--config", type=Path, required=True, help="TOML file, see hsm/settings.py")
    set_up_logging(name)
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
