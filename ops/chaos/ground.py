"""The installation that a run breaks: fresh, behind lines that can be cut, on disks that can be full."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from psycopg.conninfo import make_conninfo

from ops.chaos.cable import Cable
from ops.chaos.clock import SteppedClock, stepped_clock
from ops.chaos.disk import Disk
from ops.chaos.storm import Ground
from ops.initialise import PAPER_INSTRUMENTS, Choices
from ops.paths import Places, make_private
from ops.stack.postgres import PORT, Postgres
from ops.toml import dumps
from ops.trial.customer import API_RATES
from ops.trial.exchange import broker_settings, exchange
from ops.trial.installation import fresh, running

WINDOW_S = 3600.0
"""Nothing may be given up for being late: what is planned must be carried out."""
DURABLE_WITHIN_MS = 60_000
"""The same of an intent: a worker that is frozen in its transaction makes others wait for ten seconds."""
RECONCILE_S = 5.0
UP_WITHIN_S = 300.0
"""A busy machine is slow to start; what is asked here is what happens then."""
KEPT = ("audit", "postgres")
"""What is copied from disks that end with the run."""


def nothing_more(_: Places) -> None:
    """Most runs take the installation as it is made."""


@asynccontextmanager
async def ground(
    var: Path, *, disks: bool, prepare: Callable[[Places], None] = nothing_more
) -> AsyncIterator[Ground]:
    """All of it, up; `disks`: this process has mounts of its own. Raises Unavailable.

    `prepare` is called with what was made before it is started: for other settings, say.
    """
    var.parent.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        market = await stack.enter_async_context(
            exchange(var.with_name(f"{var.name}-exchange.log"))
        )
        to_market = Cable(lambda: asyncio.open_connection("127.0.0.1", urlsplit(market.url).port))
        stack.push_async_callback(to_market.close)
        url = f"http://127.0.0.1:{await to_market.listen_tcp()}"
        where = await asyncio.to_thread(fresh, var, _choices(url))
        to_database = await _database(where, stack)
        await asyncio.to_thread(prepare, where)
        mounted = _disks(where) if disks else {}
        clock = stack.enter_context(stepped_clock())
        async with AsyncExitStack() as up:
            here = await _up(where, clock, up)
            cables = {"exchange": to_market, "database": to_database}
            yield Ground(here, market, cables, mounted, clock)
        if mounted:
            for name in KEPT:
                mounted[name].keep(var / f"{name}-at-the-end")


async def _up(where: Places, clock: SteppedClock | None, stack: AsyncExitStack) -> Any:
    """The clock is for what is started here, and for nothing that looks at it afterwards."""
    if clock is None:
        return await stack.enter_async_context(running(where, within_s=UP_WITHIN_S))
    with clock.in_children():
        return await stack.enter_async_context(running(where, within_s=UP_WITHIN_S))


async def _database(where: Places, stack: AsyncExitStack) -> Cable:
    """The workers' way to PostgreSQL goes over a line of ours: the settings say so."""
    socket = Postgres(where).socket_dir / f".s.PGSQL.{PORT}"
    cable = Cable(lambda: asyncio.open_unix_connection(socket))
    stack.push_async_callback(cable.close)
    line = where.runtime / "line"
    make_private(where.runtime)
    line.mkdir(mode=0o700, exist_ok=True)
    await cable.listen_unix(line / socket.name)
    document = tomllib.loads(where.settings.read_text())
    document["database"]["worker"] = make_conninfo(document["database"]["worker"], host=str(line))
    document["worker"]["reconcile_s"] = RECONCILE_S
    where.settings.write_text(dumps(document))
    return cable


def _disks(where: Places) -> dict[str, Disk]:
    disks = {name: Disk(where.var / name) for name in ("audit", "spill", "postgres")}
    for disk in disks.values():
        disk.mount()
    return disks


def _choices(url: str) -> Choices:
    return Choices(
        ingress_port=0,
        admin_port=0,
        rate_per_minute=100_000,
        rate_per_hour=1_000_000,
        api_rates=API_RATES,
        open_window_s=WINDOW_S,
        signal_age_max_s=WINDOW_S,
        durable_within_ms=DURABLE_WITHIN_MS,
        brokers={
            "gateio": broker_settings(url),
            "paper": {"instruments": PAPER_INSTRUMENTS},
        },
    )
