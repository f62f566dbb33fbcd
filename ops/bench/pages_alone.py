"""`bench pages`: ops/bench/pages.py on a PostgreSQL of its own, filled by ops/bench/pages_data.py.

`--orders N` says how many orders; 10,000,000 take about eight minutes to make and 12 GB of disk until the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from ops.bench import pages
from ops.bench.measure import Effort, Measurement
from ops.bench.pages_data import History, make_history
from ops.bench.stores import stores
from ops.tls import create_dev_certificates
from tenancy.database import Database
from tenancy.roles import scopes_of
from tenancy.scope import Actor, TenantScope
from tenancy.store.service_keys import create_service_key
from tenancy.values import TenantID

ORDERS, ORDERS_QUICK = 200_000, 20_000


async def run(effort: Effort, say: Callable[[str], None]) -> list[Measurement]:
    """p50 and p99 of each question beside the floor."""
    orders = effort.orders or (ORDERS_QUICK if effort.quick else ORDERS)
    with stores() as here:
        say(f"pages: {orders:,} orders")
        history = await asyncio.to_thread(make_history, here.superuser, orders, say)
        key = await _new_key(here.roles.admin, history)
        create_dev_certificates(here.directory, datetime.now(UTC))
        context = ssl.create_default_context(cafile=str(here.directory / "ca.pem"))
        async with _server(here.directory, here.roles.admin) as port:
            caller = await pages.Caller.connected(port, context, key)
            try:
                return await pages.run(
                    caller, here.superuser, history, samples=20 if effort.quick else 300,
                    runs=effort.runs, say=say,
                )  # fmt: skip
            finally:
                caller.close()


async def _new_key(conninfo: str, history: History) -> str:
    database = Database(conninfo, name="bench-admin", size=1)
    await database.open()
    scope = TenantScope(TenantID(history.tenant_id), Actor("sys", "bench"))
    async with database.tenant(scope) as conn:
        key = await create_service_key(conn, scope, "bench", scopes_of("customer"))
    await database.close()
    return key


@contextlib.asynccontextmanager
async def _server(tls: Path, conninfo: str) -> AsyncIterator[int]:
    """The admin listener in a child with an inherited socket; it lives as long as the block."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    fd, port = listening.fileno(), listening.getsockname()[1]
    os.set_inheritable(fd, True)
    files = [str(tls / "server.pem"), str(tls / "server.key")]
    command = [sys.executable, "-m", "ops.bench.pages_server", str(fd), *files, conninfo]
    process = await asyncio.to_thread(subprocess.Popen, command, pass_fds=[fd])
    listening.close()
    try:
        yield port
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
