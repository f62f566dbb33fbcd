"""Ways to break a part for a while: each is a context, inside which it is broken, and whole again after it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import msgspec
import psycopg

from ops.state import Process, end, identify
from tests.longer.alerts.stage import Stage

EXCHANGE = "/api/v4/*"
FUTURES = "/api/v4/futures/usdt"
ORDERS = f"{FUTURES}/orders"

Act = Callable[[Stage], contextlib.AbstractAsyncContextManager[None]]


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong, and the alerts that have to say so. `needs_root`: mounts of its own."""

    name: str
    alerts: tuple[str, ...]
    act: Act
    within_s: float
    needs_root: bool
    at_rest: bool
    """It is so from the beginning: nothing is waited for before."""


FAULTS: list[Fault] = []
"""In the order in which they happen."""


def fault(
    *alerts: str, within_s: float = 25.0, needs_root: bool = False, at_rest: bool = False
) -> Callable[[Callable[[Stage], AsyncIterator[None]]], Act]:
    """The decorated generator breaks something, yields, and mends it."""

    def keep(broken: Callable[[Stage], AsyncIterator[None]]) -> Act:
        act = contextlib.asynccontextmanager(broken)
        names = tuple(f"Portcullis{name}" for name in alerts)
        FAULTS.append(
            Fault((broken.__doc__ or "").strip(), names, act, within_s, needs_root, at_rest)
        )
        return act

    return keep


@contextlib.contextmanager
def standing(*processes: Process | None) -> Iterator[None]:
    """Stopped where they stand (SIGSTOP), and let go on afterwards."""
    there = [process for process in processes if process is not None]
    for process in there:
        end(process, signal.SIGSTOP, 0.0)
    try:
        yield
    finally:
        for process in there:
            end(process, signal.SIGCONT, 0.0)


def named(stage: Stage, *names: str) -> list[Process]:
    running = stage.ground.here.state.processes
    return [running[name] for name in names]


async def sessions(stage: Stage, role: str) -> list[Process]:
    """The server's processes of this role's sessions."""
    rows = await stage.sql(
        "SELECT pid FROM pg_stat_activity WHERE usename = %s AND backend_type = 'client backend'",
        f"portcullis_{role}",
    )
    return [found for (pid,) in rows if (found := identify(pid)) is not None]


@contextlib.asynccontextmanager
async def locked(stage: Stage, table: str, mode: str = "ACCESS EXCLUSIVE") -> AsyncIterator[None]:
    """Somebody's open transaction, a migration that hangs: nobody passes (`EXCLUSIVE`: but who only reads)."""
    async with await psycopg.AsyncConnection.connect(stage.superuser) as conn:
        await conn.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        try:
            yield
        finally:
            await conn.rollback()


@contextlib.asynccontextmanager
async def ruled(stage: Stage, *rules: dict[str, Any]) -> AsyncIterator[None]:
    """The exchange misbehaves so."""
    await stage.ground.market.faults(list(rules))
    try:
        yield
    finally:
        await stage.ground.market.clear_faults()


@contextlib.asynccontextmanager
async def logged_out(stage: Stage, role: str, application: str) -> AsyncIterator[None]:
    """PostgreSQL lets that role in no more, and has ended what was called so."""
    await stage.sql(f"ALTER ROLE {role} NOLOGIN")
    await stage.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        application,
    )
    try:
        yield
    finally:
        await stage.sql(f"ALTER ROLE {role} LOGIN")


@contextlib.asynccontextmanager
async def beside(*works: Awaitable[object]) -> AsyncIterator[None]:
    """These go on meanwhile; what they raise is no matter of this."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def again(what: Callable[[], Awaitable[object]], every_s: float) -> None:
    """Do it, and do it again, for ever."""
    while True:
        with contextlib.suppress(Exception):
            await what()
        await asyncio.sleep(every_s)
