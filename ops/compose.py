"""Wiring: the only place that knows every package. One short function per process, nothing clever.

Each is an async context that opens what the process needs, in order, and closes it in the
opposite order; inside it the process is running, and what it yields are its readiness checks. The
management listener's is in compose_admin.py: it is half of all imports, and the others start without.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any

import msgspec
from redis.asyncio import Redis

from audit.anchoring import AnchorSettings
from audit.cosigning import check_addresses
from audit.keeping import Keeping
from audit.malformed import Malformed
from audit.policy import parse_policy
from audit.ports import NoteSigner
from audit.recorder import Recorder
from audit.spill import host_key
from fanout.shared_budget import SharedPaces
from fanout.shares import Crew
from fanout.spill import SpillPlace
from fanout.worker import Worker
from fanout.worker import WorkerSettings as FanoutSettings
from gateway.hooks.listener import hooks_listener
from gateway.hooks.settings import HookSettings, RateSettings, WaitSettings
from ops.audit_check import audit_checker
from ops.audit_keys import audit_keys
from ops.brokers import make_brokers
from ops.clock.agent import clock_file, seen
from ops.clock.records import ClockRecords
from ops.clock.watch import watch
from ops.disk_room import watch_disks
from ops.health import Check
from ops.migrate import read_migrations
from ops.operator_log import OperatorLog, release_facts
from ops.refusals import RefusalReader
from ops.serve import serve
from ops.settings import Settings
from ops.stores import first_place, further_places, tells_worm
from ops.tls import tell_expiry
from ops.vault import each_daemon, signer_client, signs, tells
from tenancy.clock import Clock, SystemClock
from tenancy.clock_file import ClockFile
from tenancy.database import Database
from tenancy.errors import ConfigurationError
from tenancy.ids import new_id


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """Which of its kind a process is, what it listens on, and what tells it to stop."""

    index: int
    fd: int | None
    stop: asyncio.Event


Parts = tuple[Mapping[str, Check], asyncio.Task[None]]
"""Readiness checks, and the work, which ends when the seat's `stop` is set."""


@asynccontextmanager
async def opened(
    conninfo: str, name: str, size: int, *, lock_wait_s: int | None = None
) -> AsyncIterator[Database]:
    """A pool that is connected. Raises Unavailable."""
    database = Database(conninfo, name=name, size=size, lock_wait_s=lock_wait_s)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def clock_sense(settings: Settings) -> ClockFile:
    """How good this host's clock is, as its agent says; without one: unknown."""
    return ClockFile(clock_file(settings.instance.runtime))


@asynccontextmanager
async def redis_client(settings: Settings) -> AsyncIterator[Redis]:
    """A client; it connects when it is first used, and again whenever Redis came back."""
    client: Redis = Redis.from_url(settings.redis.url)
    try:
        yield client
    finally:
        await client.aclose()


def hook_settings(settings: Settings) -> HookSettings:
    """The gateway's words for the operator's `[ingress]`."""
    ingress = settings.ingress
    return HookSettings(
        management_base_url=settings.admin.base_url,
        max_body_bytes=ingress.body_limit_bytes,
        tolerance_s=ingress.time_window_s,
        rate=RateSettings(per_minute=ingress.rate_per_minute, per_hour=ingress.rate_per_hour),
        wait=WaitSettings(
            most_s=ingress.wait_max_s,
            senders_max=ingress.wait_senders_max,
            tenant_max=max(1, ingress.wait_senders_max // 4),
        ),
    )


@asynccontextmanager
async def ingress(settings: Settings, seat: Seat) -> AsyncIterator[Parts]:
    """The public listener. Ready: PostgreSQL keeps what we accept, and the hooks are fresh."""
    conninfo = settings.database.ingress
    sense = clock_sense(settings)
    async with (
        opened(conninfo, f"ingress-{seat.index}", 2) as database,
        redis_client(settings) as redis,
        audit_keys(settings, conninfo, f"ingress-{seat.index}"),
        signer_client(settings.hsm, settings.hsm.hook_socket) as signer,
        hooks_listener(
            conninfo=conninfo,
            database=database,
            redis=redis,
            opener=signer,
            clock=SystemClock(),
            settings=hook_settings(settings),
            stop=seat.stop,
        ) as listener,
    ):
        if settings.ingress.tls is not None:
            tell_expiry("ingress", settings.ingress.tls.certificate)
        serving = serve(
            listener.app, fd=listener_of(seat), tls=settings.ingress.tls, stop=seat.stop,
            server=settings.ingress.server,
        )  # fmt: skip
        checks = {**listener.checks(), "signer": tells(signer), "clock": lambda: seen(sense)}
        yield checks, asyncio.create_task(beside(serving, watch(sense, seat.stop)))


@asynccontextmanager
async def worker(settings: Settings, seat: Seat) -> AsyncIterator[Parts]:
    """Plans and orders. Ready: PostgreSQL and the signer answer; Redis may be away.

    Each run has a name of its own: a lease of the run before is not ours, it runs out, and its
    intents are doubt.
    """
    clock, sense = SystemClock(), clock_sense(settings)
    async with (
        opened(
            settings.database.worker, f"worker-{seat.index}", settings.database.pool_size
        ) as database,
        redis_client(settings) as redis,
        audit_keys(settings, settings.database.worker, f"worker-{seat.index}"),
        signer_client(settings.hsm) as signer,
        shared_paces(settings, redis, f"worker-{seat.index}-{new_id()}", clock) as pace,
    ):
        work = Worker(
            database=database,
            redis=redis,
            brokers=make_brokers(
                settings.brokers, signer=signer, database=database, clock=clock, pace=pace
            ),
            clock=clock,
            worker_id=pace.worker_id,
            settings=fanout_settings(settings),
            quality=sense.quality,
            spill=spill_place(settings),
            crew=pace.crew,
        )
        pace.open()
        spill = {"spill": settings.worker.spill or settings.instance.var / "spill"}
        checks = {
            "postgres": answers(database), "signer": signs(signer), "clock": lambda: seen(sense),
            "brokers": work.execution, "budgets": pace.said,
        }  # fmt: skip
        works = (
            work.run(seat.stop), watch(sense, seat.stop), watch_disks(spill, seat.stop),
        )  # fmt: skip
        yield checks, asyncio.create_task(beside(*works))


@asynccontextmanager
async def shared_paces(
    settings: Settings, redis: Redis, worker_id: str, clock: Clock
) -> AsyncIterator[SharedPaces]:
    """Brokers' limits, shared with the other workers. All of them have counted us after a lease's length."""
    crew = Crew(settle_s=settings.worker.lease_ttl_s)
    paces = SharedPaces(redis, crew, worker_id, clock.monotonic)
    try:
        yield paces
    finally:
        await paces.close()


@asynccontextmanager
async def recorder(settings: Settings, seat: Seat) -> AsyncIterator[Parts]:
    """The audit log's one writer; beside it its continuous check, the reader of what the vault refused, who
    tells of the clock, and the operator's own records. Ready: PostgreSQL and the signer answer.
    """
    clock, sense = SystemClock(), clock_sense(settings)
    async with (
        opened(settings.database.recorder, "recorder", 5) as database,
        audit_keys(settings, settings.database.recorder, "recorder"),
        signer_client(settings.hsm) as signer,
        each_daemon(settings.hsm) as daemons,
    ):
        refusals = RefusalReader(database, daemons, clock)
        clock_records = ClockRecords(database, sense, settings.instance.name)
        work, keeping = _recording(settings, database, signer, clock, sense)
        checks = {
            "postgres": answers(database), "signer": signs(signer), "clock": clock_records.seen,
            "worm": tells_worm(keeping.worm),
        }  # fmt: skip
        own = OperatorLog(database, clock, _release(settings), lambda: work.stats().halted)
        checker = audit_checker(settings, database, clock, lambda: work.term)
        works = (
            work.run(seat.stop), refusals.run(seat.stop), clock_records.run(seat.stop), checker.run(seat.stop),
            own.run(seat.stop), keeping.run(seat.stop),
            watch_disks({"audit": settings.recorder.store}, seat.stop),
        )  # fmt: skip
        yield checks, asyncio.create_task(beside(*works))


def anchor_settings(settings: Settings) -> AnchorSettings:
    """audit's words for the operator's `[recorder]`. Raises ConfigurationError for the policy's file."""
    own = settings.recorder
    policy = None
    if own.witness_policy is not None:
        try:
            policy = parse_policy(own.witness_policy.read_bytes())
            check_addresses(policy)
        except (OSError, Malformed) as error:
            raise ConfigurationError(f"recorder.witness_policy: {error}") from None
    return AnchorSettings(
        every_s=own.anchor_every_s, policy=policy, witness_timeout_s=own.witness_timeout_s
    )


def _release(settings: Settings) -> dict[str, Any]:
    """What runs here. Settings name secrets' files, never secrets; of them only the digest is told."""
    said = msgspec.json.encode(settings, enc_hook=str, order="deterministic")
    schema = max(migration.number for migration in read_migrations())
    return release_facts(version("portcullis"), schema, hashlib.sha256(said).hexdigest())


def _recording(
    settings: Settings, database: Database, signer: NoteSigner, clock: Clock, sense: ClockFile
) -> tuple[Recorder, Keeping]:
    """The recorder, and what keeps its files in every store: each must be able to tell the other
    that a log was forked."""
    keeping = Keeping(
        database, settings.recorder.store, first_place(settings.recorder),
        further_places(settings.recorder, clock), clock,
        lambda log, why: work.halt(log, why), lambda: work.term,
    )  # fmt: skip
    work = Recorder(
        database, signer, settings.recorder.store, clock, quality=sense.quality,
        anchors=anchor_settings(settings), seen_elsewhere=keeping.seen_elsewhere,
    )  # fmt: skip
    return work, keeping


def fanout_settings(settings: Settings) -> FanoutSettings:
    """fanout's words for the operator's `[worker]`."""
    worker = settings.worker
    return FanoutSettings(
        lease_ttl_s=worker.lease_ttl_s,
        open_window_s=worker.open_window_s,
        signal_age_max_s=worker.signal_age_max_s,
        sweep_s=worker.sweep_s,
        stops_s=worker.stops_s,
        reconcile_s=worker.reconcile_s,
        durable_within_s=worker.durable_within_ms / 1000,
        stuck_s=worker.stuck_s,
        doubt_old_s=worker.doubt_old_s,
        breaker=worker.breaker,
    )


def spill_place(settings: Settings) -> SpillPlace:
    """The directory of spills and the host's key to them, made at the first start. Raises ConfigurationError."""
    directory = settings.worker.spill or settings.instance.var / "spill"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return SpillPlace(directory, host_key(directory / "spill.key"))
    except (OSError, Malformed) as error:
        raise ConfigurationError(f"worker.spill: {error}") from None


def check_worker(settings: Settings) -> None:
    """Would a worker take these settings? Raises ConfigurationError; connects to nothing."""
    brokers = make_brokers(
        settings.brokers,
        signer=signer_client(settings.hsm),
        database=Database(settings.database.worker, name="check", size=1),
        clock=SystemClock(),
    )
    fanout_settings(settings).check(brokers)


def answers(database: Database) -> Check:
    """Does PostgreSQL answer under this role?"""

    async def ask() -> str:
        async with database.connection() as conn:
            await conn.execute("SELECT 1")
        return "answers"

    return ask


async def beside(*works: Awaitable[None]) -> None:
    """All of it at once; if one breaks, the others are cancelled and the process ends."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(_awaited(work))


async def _awaited(work: Awaitable[None]) -> None:
    await work


def said(ask: Callable[[], Awaitable[object]]) -> Check:
    """Does this part answer at all?"""

    async def asked() -> str:
        await ask()
        return "answers"

    return asked


def listener_of(seat: Seat) -> int:
    """The listening socket that the supervisor opened. Raises ConfigurationError."""
    if seat.fd is None:
        raise ConfigurationError("this process listens: the supervisor gives it --fd")
    return seat.fd


Process = Callable[[Settings, Seat], AbstractAsyncContextManager[Parts]]

_HERE: Mapping[str, Process] = {"ingress": ingress, "recorder": recorder, "worker": worker}
PROCESSES = ("admin", "session", *_HERE)
"""What `python -m ops.run NAME` can be."""


def process(name: str) -> Process:
    """How the process of that name is wired."""
    if name == "admin":
        from ops.compose_admin import admin

        return admin
    if name == "session":
        from ops.session.wiring import session

        return session
    return _HERE[name]
