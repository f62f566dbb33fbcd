"""The shape that signer and enroller share: one Unix socket in front, token threads behind.

The loop reads frames, lets the desk decide what may be asked at all (pure), and hands each
connection's frames to the token threads as one batch. A thread

1. serves a batch, which may be several that have gathered meanwhile;
2. settles: the worker's canary proves that the handles still mean the same keys;
3. only now gives the answers to the loop, which writes them, one write per connection.

A refusal that is evidence goes to the journal first (hsm/evidence.py), and is told when it stands there.

A crash anywhere loses nothing: what was asked is asked again, and signing twice signs the same.
When the token is lost, absent or hangs, or the journal cannot be written, the process ends with
status 75 and a supervisor starts a clean one; a refused PIN or a wrong setting ends it with 78, which
no supervisor may answer with a restart (real tokens lock after a few wrong PINs).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import msgspec
import structlog
import uvloop

from hsm import protocol
from hsm.crew import Job, Served, TokenThread, Worker, tenant_of
from hsm.errors import KeyMissing, SignerBusy, SigningRate, TokenLost
from hsm.evidence import Evidence
from hsm.hardening import harden
from hsm.journal import Journal, next_epoch
from hsm.listening import Connection, serve
from hsm.openers import check_leave
from hsm.rates import Rates
from hsm.settings import DaemonSettings, read_daemon_settings
from tenancy import systemd
from tenancy.errors import ConfigurationError, PortcullisError, Unavailable
from tenancy.pause import pause

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
        """Raises JournalFailed; ConfigurationError without a state_dir, or with another's."""
        if settings.state_dir is None:
            raise ConfigurationError(
                "state_dir: where this daemon keeps its epoch and its refusals"
            )
        self.settings = settings
        self.desk = desk
        self.exit_status = 0
        self.why = ""
        self._evidence = Evidence(Journal(settings.state_dir), self)
        self._epoch = next_epoch(settings.state_dir)
        self._connections: set[Connection] = set()
        self._rates = Rates(settings.tenant_rate_per_s, settings.tenant_burst)
        self._waiting = 0
        self._waiting_of: dict[int | None, int] = {}
        self._share = settings.queue_max // 2
        self._closing = False
        self._done = asyncio.Event()
        self._alone = asyncio.Event()
        self._started = time.time()
        self._counts = {"answered": 0, "refused": 0, "busy": 0, "over_rate": 0, "batches": 0}
        self._latencies: deque[float] = deque(maxlen=2048)
        self._crew = [TokenThread(self, desk.worker) for _ in range(settings.worker_threads)]

    async def run(self) -> int:
        """Serve until SIGTERM or the token's loss. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for thread in self._crew:
            await thread.start(loop)
        self._evidence.start(loop)
        servers = await serve(self, self.settings)
        last_words(self.settings).unlink(missing_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        watch = loop.create_task(self._watch())
        log.info(
            "hsm_daemon_ready", daemon=self.desk.name, epoch=self._epoch,
            socket=str(self.settings.socket),
        )  # fmt: skip
        async with systemd.working():
            await self._done.wait()
        for server in servers:
            server.close()
        watch.cancel()
        await self._hang_up()
        for thread in self._crew:
            thread.stop()
        self._evidence.stop()
        for path in self.settings.sockets():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            log.info("hsm_daemon_stopped", daemon=self.desk.name, status=self.exit_status)
        return self.exit_status

    async def _hang_up(self) -> None:
        """Close every connection once its last answers are written; a deaf client gets a second."""
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            self._alone = asyncio.Event()
            await pause(self._alone, 1.0)

    def stop(self) -> None:
        """Take nothing new; end when what waits is answered."""
        self._closing = True
        for connection in self._connections:
            connection.pause()
        if self._waiting == 0:
            self._done.set()

    def lost(self, error: PortcullisError) -> None:
        """Token or journal are gone: answer what waits with that, then end. Said once."""
        if self.exit_status == EXIT_TOKEN_LOST:
            return  # another batch that was under way
        self.exit_status = EXIT_TOKEN_LOST
        self.stop()
        leave_word(self.settings, error)
        with contextlib.suppress(OSError):  # the disk may be what is lost
            log.error("hsm_lost", daemon=self.desk.name, code=error.code, why=str(error))

    def take(self, connection: Connection, bodies: list[bytes]) -> None:
        """Answer what needs no token; queue the rest as one batch per thread."""
        now = time.monotonic()
        batches: dict[int, list[Job]] = {}
        for body in bodies:
            request = protocol.read_request(body)
            if isinstance(request, protocol.Status):
                connection.write(protocol.frame(protocol.Figures(request.id, self.figures())))
                continue
            if isinstance(request, protocol.Forget):
                connection.forget(request.id)
                continue
            job = Job(connection, request, now)
            try:
                check_leave(request, connection.leave)
                if isinstance(request, protocol.Refusals):
                    self._wait(request)
                    self._evidence.read(connection, request)
                    continue
                index = self._admit(request, now) % len(self._crew)
            except PortcullisError as error:
                self._refuse(job, error)
                continue
            self._wait(request)
            batches.setdefault(index, []).append(job)
        for index, jobs in batches.items():
            self._crew[index].put(jobs)

    def _admit(self, request: protocol.Request, now: float) -> int:
        """Which thread serves it. Raises SignerBusy, SigningRate and what the desk raises."""
        tenant = tenant_of(request)
        if (
            self._waiting >= self.settings.queue_max
            or self._waiting_of.get(tenant, 0) >= self._share
        ):
            self._counts["busy"] += 1
            raise SignerBusy(f"{self._waiting} requests wait already")
        index = self.desk.admit(request)
        if tenant is not None and not self._rates.take(tenant, now):
            self._counts["over_rate"] += 1
            raise SigningRate(
                f"tenant {UUID(int=tenant)} asks for more than {self.settings.tenant_rate_per_s:g} a second"
            )
        return index

    def _refuse(self, job: Job, error: PortcullisError) -> None:
        """Answer no; where that is evidence, after whose row it was is known and all is written."""
        self._counts["refused"] += 1
        if not self._evidence.takes(error):
            job.connection.write(protocol.refusal(job.request.id, error))
            return
        self._wait(job.request)
        index = protocol.row_thread(job.request) % len(self._crew)
        self._crew[index].put([msgspec.structs.replace(job, refused=error)])

    def _wait(self, request: protocol.Request) -> None:
        tenant = tenant_of(request)
        self._waiting += 1
        self._waiting_of[tenant] = self._waiting_of.get(tenant, 0) + 1

    def _waited(self, request: protocol.Request) -> None:
        tenant = tenant_of(request)
        self._waiting -= 1
        left = self._waiting_of[tenant] - 1
        if left:
            self._waiting_of[tenant] = left
        else:
            del self._waiting_of[tenant]

    def deliver(self, served: Served) -> None:
        """On the loop: a batch is done."""
        for job, proven in served.proven:
            assert job.refused is not None
            self._evidence.keep(job.connection, job.request, job.refused, proven)
        for job in served.jobs:
            if job.refused is None:
                self._waited(job.request)
        for job, error in served.refused:
            self._refuse(job, error)
        if served.jobs:
            self._counts["answered"] += len(served.answers)
            self._counts["batches"] += 1
            self._latencies.append(time.monotonic() - served.jobs[0].since)
        self._write(served.answers)
        if served.lost is not None:
            self.lost(served.lost)

    def kept(
        self, requests: list[protocol.Request], answers: list[tuple[Connection, bytes]]
    ) -> None:
        """On the loop: these waited for the journal."""
        for request in requests:
            self._waited(request)
        self._write(answers)

    def _write(self, answers: list[tuple[Connection, bytes]]) -> None:
        by_connection: defaultdict[Connection, list[bytes]] = defaultdict(list)
        for connection, answer in answers:
            by_connection[connection].append(answer)
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
            "epoch": self._epoch,
            "canary_age_s": max(thread.settled_s() for thread in self._crew),
            "busy_s": max(thread.busy_s() for thread in self._crew),
            "closing": self._closing,
            "waiting": self._waiting,
            "threads": len(self._crew),
            "sessions": len(self._crew) + 1,
            "tenants": len(self._rates),
            "batch_p50_s": slowest[len(slowest) // 2] if slowest else 0.0,
            "batch_p99_s": slowest[len(slowest) * 99 // 100] if slowest else 0.0,
            **self._counts,
            **self._evidence.figures(),
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
        """End the process where a call into the token hangs: no thread can be stopped from outside.

        A disk that hangs is the same. And have an idle token's canary sing now and then.
        """
        hang_s, idle_s = self.settings.hang_s, self.settings.canary_every_s
        while True:
            await asyncio.sleep(min(1.0, hang_s / 4, idle_s / 4))
            busy_s = max(self._evidence.busy_s(), *(thread.busy_s() for thread in self._crew))
            if busy_s > hang_s:
                leave_word(self.settings, TokenLost(f"a call took more than {hang_s:g} s"))
                with contextlib.suppress(OSError):
                    log.error("hsm_call_hung", daemon=self.desk.name, seconds=hang_s)
                os._exit(EXIT_TOKEN_LOST)
            for thread in self._crew:
                if thread.settled_s() > idle_s and thread.busy_s() == 0:
                    thread.put([])
            self._evidence.tick()


def last_words(settings: DaemonSettings) -> Path:
    """Where a daemon that ends by itself says why: beside its socket, for who finds nobody there."""
    return settings.socket.with_name(settings.socket.name + ".why")


def leave_word(settings: DaemonSettings, error: PortcullisError) -> None:
    """Clients show it in their own errors (hsm/line.py). It may fail: the log has it too."""
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with contextlib.suppress(OSError):
        path = last_words(settings)
        path.write_text(f"{error.code}, {when}: {error}\n")
        path.chmod(settings.socket_mode)


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
    settings: DaemonSettings | None = None
    try:
        settings = read_daemon_settings(parser.parse_args().config)
        harden()
        if settings.cpus:
            os.sched_setaffinity(0, settings.cpus)
        desk = open_desk(settings)
        return uvloop.run(_run(settings, desk))
    except PortcullisError as error:
        log.error("hsm_daemon_failed", daemon=name, code=error.code, error=str(error))
        if settings is not None:
            leave_word(settings, error)
        # KeyMissing here: there is no such token (now). No PIN was tried, so it may be looked for again.
        again = isinstance(error, (Unavailable, KeyMissing))
        return EXIT_TOKEN_LOST if again else EXIT_DO_NOT_RESTART


async def _run(settings: DaemonSettings, desk: Desk) -> int:
    # Thousands of keys live long and form no cycles: a collector that looks at all of them again
    # and again is what the slowest signatures waited for.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    return await Daemon(settings, desk).run()
