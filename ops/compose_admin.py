"""Wiring of the management listener, as ops/compose.py does it for the other processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.admin import scheduler
from gateway.admin.app import admin_app
from gateway.admin.event_stream import Hub
from gateway.admin.limits_on_use import ApiRates
from gateway.admin.metrics_pages import Page
from gateway.admin.operation import Services
from gateway.rate import Rates
from hsm.client import EnrollerClient
from hsm.watch import watch
from ops.audit_keys import audit_keys, make_missing
from ops.clock.agent import seen
from ops.clock.watch import watch as watch_clock
from ops.compose import (
    Parts,
    Seat,
    answers,
    beside,
    clock_sense,
    listener_of,
    opened,
    redis_client,
    said,
)
from ops.disk_room import watch_disks
from ops.exporting import archive
from ops.hook_wire import hook_wire, hooks_address
from ops.host_state import host_state
from ops.notifying import notifying
from ops.probe import get
from ops.processes import health_sockets
from ops.serve import serve
from ops.settings import Settings
from ops.sign_in import signing_in
from ops.tls import tell_expiry
from ops.vault import each_daemon, signer_client, signs, tells
from tenancy.clock import SystemClock

LOCK_WAIT_S = 10
"""Requests that wait for one lock must not take every connection of the pool with them."""


def _places(settings: Settings) -> dict[str, Path]:
    """Whose room the management listener tells of: what is written under `var`, exports too."""
    var = settings.instance.var
    ours = settings.stack is not None and settings.stack.postgres
    return {"var": var, **({"postgres": var / "postgres"} if ours else {})}


def page_of(sock: Path) -> Page:
    """The metrics of the process whose health listener is there (ops/health.py)."""

    async def ask() -> bytes:
        status, text = await get(sock, "/metrics")
        if status != 200:
            raise ValueError(f"it answers {status}")
        return text

    return ask


@asynccontextmanager
async def admin(settings: Settings, seat: Seat) -> AsyncIterator[Parts]:
    """The management listener. Ready: what its answers need answers."""
    sense = clock_sense(settings)
    async with (
        opened(
            settings.database.admin,
            f"admin-{seat.index}",
            settings.database.pool_size,
            lock_wait_s=LOCK_WAIT_S,
        ) as database,
        redis_client(settings) as redis,
        signer_client(settings.hsm, settings.hsm.admin_socket) as signer,
        EnrollerClient(settings.hsm.enroller_socket) as enroller,
        audit_keys(settings, settings.database.admin, f"admin-{seat.index}", enroller) as keys,
        each_daemon(settings.hsm, settings.hsm.admin_socket) as daemons,
        signing_in(settings.admin, SystemClock()) as sign_in,
        notifying(settings, seat.index, signer) as notifier,
    ):
        checks = {
            "postgres": answers(database),
            "redis": said(redis.ping),
            "signer": signs(signer),
            "enroller": signs(enroller),
            "clock": lambda: seen(sense),
        }
        services = Services(
            database=database,
            redis=redis,
            enroller=enroller,
            signer=signer,
            clock=SystemClock(),
            brokers=tuple(settings.brokers),
            hooks_base_url=hooks_address(settings),
            sign_in=sign_in,
            rates=ApiRates(Rates(redis), database, settings.admin.rates),
            notifier=notifier,
            archive=archive(settings, database),
            events=Hub(seat.stop),
            audit_store=settings.recorder.store,
            state=host_state(settings, SystemClock()),
            post_to_hook=hook_wire(settings),
        )
        await make_missing(database, keys)
        pages = {name: page_of(at) for name, at in health_sockets(settings).items()}
        app = admin_app(services, checks=checks, pages=pages)
        if settings.admin.tls is not None:
            tell_expiry("admin", settings.admin.tls.certificate)
        if settings.admin.client_ca is not None:
            tell_expiry("client_ca", settings.admin.client_ca)
        serving = serve(
            app, fd=listener_of(seat), tls=settings.admin.tls, stop=seat.stop,
            client_ca=settings.admin.client_ca, endless=True,
        )  # fmt: skip
        lines = {name: client.lines[0] for name, client in daemons.items()}
        work = beside(
            serving, scheduler.run(services, seat.stop), watch(lines, seat.stop),
            watch_clock(sense, seat.stop), watch_disks(_places(settings), seat.stop),
        )  # fmt: skip
        own = {name: checks[name] for name in ("postgres", "clock")} | {"signer": tells(signer)}
        yield own, asyncio.create_task(work)
