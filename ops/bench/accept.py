"""How fast are signals accepted? The whole listener against a bare 202 on the same server.

Both run in processes of their own and get the same requests from the same client over the same
number of kept connections, in turns, in one run. Nothing is left out of the whole but the signer
(secrets are opened at load) and the rate limit's height. Twice: Hypercorn with TLS, as a listener of our
own is; and uvicorn on a Unix socket, as a listener behind a proxy may be, beside whom a bare Hypercorn on
such a socket takes its turn as well.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from msgspec.structs import replace

from ops.bench.accept_client import Door, Load, load
from ops.bench.profile import Profiler
from ops.bench.unsealed import give_audit_key
from ops.listener_settings import Server
from ops.tls import create_dev_certificates
from tenancy.database import Database
from tenancy.ids import new_id
from tenancy.scope import Actor
from tenancy.store.hooks import add_secret, create_hook
from tenancy.store.strategies import create_strategy
from tenancy.store.tenants import create_tenant

FIELDS = {"throughput": ("1/s", "per_s"), "p50_ms": ("ms", "p50_ms"), "p99_ms": ("ms", "p99_ms")}
PROFILED_S = 10.0


async def run(
    *,
    admin_conninfo: str,
    ingress_conninfo: str,
    redis_socket: str,
    runs: int = 3,
    seconds: float = 2.0,
    connections: int = 32,
    profiler: Profiler | None = None,
) -> list[dict[str, Any]]:
    """`accept_…` and `accept_uvicorn_…`, medians of `runs`, floors in turns with them."""
    hook_id, key = await _new_hook(admin_conninfo)
    stores = (ingress_conninfo, redis_socket)
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as name:
        here = Path(name)
        create_dev_certificates(here, datetime.now(UTC))
        async with (
            server("bare", here) as bare,
            server("whole", here, *stores) as whole,
            server("bare", here / "a", http="uvicorn") as bare_uvicorn,
            server("whole", here / "b", *stores, http="uvicorn") as whole_uvicorn,
            server("bare", here / "c", http="hypercorn") as bare_hypercorn,
        ):
            doors = [bare, whole, bare_uvicorn, whole_uvicorn, bare_hypercorn]
            loads: list[list[Load]] = [[] for _ in doors]
            for _ in range(runs):
                for door, said in zip(doors, loads, strict=True):
                    said.append(await load(door, hook_id, key, seconds, connections))
            if profiler is not None:
                async with profiler.of("accept", {whole.pid: "hypercorn"}):
                    await load(whole, hook_id, key, PROFILED_S, connections)
                async with profiler.of("accept", {whole_uvicorn.pid: "uvicorn"}):
                    await load(whole_uvicorn, hook_id, key, PROFILED_S, connections)
    return [
        *(_result(f"accept_{name}", name, loads[1], loads[0]) for name in FIELDS),
        *(_result(f"accept_uvicorn_{name}", name, loads[3], loads[2]) for name in FIELDS),
        _result("accept_uvicorn_beside_hypercorn", "throughput", loads[3], loads[4]),
    ]


def _result(name: str, what: str, whole: list[Load], floors: list[Load]) -> dict[str, Any]:
    unit, field = FIELDS[what]
    value = median(getattr(load, field) for load in whole)
    floor = median(getattr(load, field) for load in floors)
    return {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "floor": round(floor, 2),
        "ratio": round(value / floor, 3),
        "runs": [round(getattr(load, field), 2) for load in whole],
    }


async def _new_hook(admin_conninfo: str) -> tuple[str, bytes]:
    """A tenant of its own for each run; its secret is not sealed (ops/bench/accept_server.py)."""
    key = secrets.token_bytes(32)
    database = Database(admin_conninfo, name="bench-admin", size=1)
    await database.open()
    name = f"bench-{secrets.token_hex(6)}"
    scope = await create_tenant(database, name, Actor("sys", "bench"))
    async with database.tenant(scope) as conn:
        await give_audit_key(conn, scope)
        strategy = await create_strategy(conn, scope, "bench")
        hook = await create_hook(conn, scope, strategy)
        plain = b"whsec_" + base64.b64encode(key)
        await add_secret(conn, scope, hook, new_id(), sealed=plain)
    await database.close()
    return hook, key


@contextlib.asynccontextmanager
async def server(
    kind: str, where: Path, *stores: str, http: Server | None = None
) -> AsyncIterator[Door]:
    """A child with an inherited listening socket; it lives as long as the block.

    Without `http`: Hypercorn with the TLS of the directory `where`. With: that server on the Unix socket
    `where`, without TLS.
    """
    if http is None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        trust = ssl.create_default_context(cafile=str(where / "ca.pem"))
        door = Door(listening.getsockname()[1], trust)
        how = ["hypercorn", str(where)]
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(where))
        listening.listen(1024)
        door, how = Door(where), [http, "-"]
    fd = listening.fileno()
    os.set_inheritable(fd, True)
    command = [sys.executable, "-m", "ops.bench.accept_server", kind, str(fd), *how, *stores]
    process = await asyncio.to_thread(subprocess.Popen, command, pass_fds=[fd])
    listening.close()
    try:
        yield replace(door, pid=process.pid)
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
