"""Wiring: the only place that knows every package. One short function per process, nothing clever.

Each is an async context that opens what the process needs, in order, and closes it in the
opposite order; inside it the process is running, and what it yields are its readiness checks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
from redis.asyncio import Redis

from audit import inbox
from audit.record import Kind
from gateway.hooks.accept import Acceptor
from gateway.hooks.app import HookEndpoint, hooks_app
from gateway.hooks.rate import Rates
from gateway.hooks.records import Note
from gateway.hooks.registry import Registry
from gateway.hooks.settings import HookSettings, RateSettings
from gateway.hooks.waker import Waker
from hsm.client import SignerClient
from ops.health import Check
from ops.serve import serve
from ops.settings import Settings
from tenancy.clock import SystemClock
from tenancy.database import Connection, Database
from tenancy.errors import ConfigurationError, Unavailable

REGISTRY_STALE_S = 10.0


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """Which of its kind a process is, what it listens on, and what tells it to stop."""

    index: int
    fd: int | None
    stop: asyncio.Event


Running = AbstractAsyncContextManager[tuple[Mapping[str, Check], asyncio.Task[None]]]


@asynccontextmanager
async def opened(conninfo: str, name: str, size: int) -> AsyncIterator[Database]:
    """A pool that is connected. Raises Unavailable."""
    database = Database(conninfo, name=name, size=size)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def redis_client(settings: Settings) -> AsyncIterator[Redis]:
    """A client; it connects when it is first used, and again whenever Redis came back."""
    client: Redis = Redis.from_url(settings.redis.url)
    try:
        yield client
    finally:
        await client.aclose()


async def record_notes(conn: Connection, notes: Sequence[Note]) -> None:
    """The public listener's notes into the audit inbox, in the caller's transaction."""
    await inbox.append(
        conn,
        [
            (
                note.tenant_id,
                inbox.Entry(
                    kind=Kind(note.kind),
                    ts_ns=note.at_ns,
                    payload=note.payload,
                    actor=note.actor,
                    cor=note.trace_id,
                ),
            )
            for note in notes
        ],
    )


def hook_settings(settings: Settings) -> HookSettings:
    """The gateway's words for the operator's `[ingress]`."""
    ingress = settings.ingress
    return HookSettings(
        management_base_url=settings.admin.base_url,
        max_body_bytes=ingress.body_limit_bytes,
        tolerance_s=ingress.time_window_s,
        rate=RateSettings(per_minute=ingress.rate_per_minute, per_hour=ingress.rate_per_hour),
    )


@asynccontextmanager
async def ingress(
    settings: Settings, seat: Seat
) -> AsyncIterator[tuple[Mapping[str, Check], asyncio.Task[None]]]:
    """The public listener. Ready: PostgreSQL keeps what we accept, and the hooks are fresh."""
    hooks, name = hook_settings(settings), f"ingress-{seat.index}"
    conninfo = settings.database.ingress
    async with (
        opened(conninfo, name, 2) as database,
        redis_client(settings) as redis,
        SignerClient(settings.hsm.signer_socket) as signer,
    ):
        registry = Registry(database, signer)
        waker = Waker(redis, hooks.wake)
        acceptor = Acceptor(conninfo, record=record_notes, wake=waker.wake, settings=hooks.keep)
        await registry.start()
        await waker.start()
        await acceptor.start()
        endpoint = HookEndpoint(
            registry, Rates(redis, hooks.rate), acceptor, clock=SystemClock(), settings=hooks
        )
        listening = serve(
            hooks_app(endpoint), fd=_fd(seat), tls=settings.ingress.tls, stop=seat.stop
        )
        try:
            yield _ingress_checks(acceptor, registry), asyncio.create_task(listening)
        finally:
            await acceptor.stop()
            await waker.stop()
            await registry.stop()


def _ingress_checks(acceptor: Acceptor, registry: Registry) -> Mapping[str, Check]:
    async def postgres() -> None:
        if not acceptor.connected:
            raise Unavailable("PostgreSQL does not take signals")

    async def hooks() -> None:
        if registry.checked_at is None or time.monotonic() - registry.checked_at > REGISTRY_STALE_S:
            raise Unavailable(f"the hooks were not compared for {REGISTRY_STALE_S:g} s")

    return {"postgres": postgres, "hooks": hooks}


def _fd(seat: Seat) -> int:
    if seat.fd is None:
        raise ConfigurationError("this process listens: the supervisor gives it --fd")
    return seat.fd


PROCESSES: Mapping[str, Callable[[Settings, Seat], Running]] = {"ingress": ingress}
"""What `python -m ops.run NAME` can be."""
