"""How fast are signals accepted? The whole listener against a bare 202 on the same server.

Both run in their own process with TLS and get the same requests from the same hand-written
client over the same number of kept connections, in turns, in one run. Nothing is left out of
the whole but the signer (secrets are opened at load) and the rate limit's height.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec

from ops.bench.unsealed import give_audit_key
from ops.tls import create_dev_certificates
from tenancy.database import Database
from tenancy.ids import new_id
from tenancy.scope import Actor
from tenancy.store.hooks import add_secret, create_hook
from tenancy.store.strategies import create_strategy
from tenancy.store.tenants import create_tenant

BODY = b'{"ticker":"BTC_USDT","action":"buy","quantity":2,"extras":{"note":"benchmark"}}'
WARM_UP_S = 0.5


class Load(msgspec.Struct, frozen=True):
    """What one turn measured."""

    per_s: float
    p50_ms: float
    p99_ms: float


async def run(
    *,
    admin_conninfo: str,
    ingress_conninfo: str,
    redis_socket: str,
    runs: int = 3,
    seconds: float = 2.0,
    connections: int = 32,
) -> list[dict[str, Any]]:
    """accept_throughput, accept_p50_ms, accept_p99_ms: medians of `runs`, floors in turns with them."""
    hook_id, key = await _new_hook(admin_conninfo)
    bare: list[Load] = []
    whole: list[Load] = []
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as name:
        create_dev_certificates(Path(name), datetime.now(UTC))
        context = ssl.create_default_context(cafile=str(Path(name) / "ca.pem"))
        async with (
            server("bare", Path(name)) as bare_port,
            server("whole", Path(name), ingress_conninfo, redis_socket) as whole_port,
        ):
            for _ in range(runs):
                for port, loads in ((bare_port, bare), (whole_port, whole)):
                    loads.append(await load(port, context, hook_id, key, seconds, connections))
    return [
        _result("accept_throughput", "1/s", whole, bare, "per_s"),
        _result("accept_p50_ms", "ms", whole, bare, "p50_ms"),
        _result("accept_p99_ms", "ms", whole, bare, "p99_ms"),
    ]


def _result(
    name: str, unit: str, whole: list[Load], bare: list[Load], field: str
) -> dict[str, Any]:
    value = median(getattr(load, field) for load in whole)
    floor = median(getattr(load, field) for load in bare)
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
async def server(kind: str, tls: Path, *rest: str) -> AsyncIterator[int]:
    """A child with an inherited listening socket; it lives as long as the block."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    fd, port = listening.fileno(), listening.getsockname()[1]
    os.set_inheritable(fd, True)
    files = [str(tls / "server.pem"), str(tls / "server.key")]
    command = [sys.executable, "-m", "ops.bench.accept_server", kind, str(fd), *files, *rest]
    process = await asyncio.to_thread(subprocess.Popen, command, pass_fds=[fd])
    listening.close()
    try:
        yield port
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def load(
    port: int, context: ssl.SSLContext, hook_id: str, key: bytes, seconds: float, connections: int
) -> Load:
    """Each connection sends its next signal when the last was answered."""
    await _one_connection(port, context, hook_id, key, 0, 0)  # a handshake: the server is up
    begin = time.perf_counter() + WARM_UP_S
    times = await asyncio.gather(
        *(
            _one_connection(port, context, hook_id, key, begin, begin + seconds)
            for _ in range(connections)
        )
    )
    all_ms = [t * 1000 for one in times for t in one]
    cuts = quantiles(all_ms, n=100)
    return Load(len(all_ms) / seconds, cuts[49], cuts[98])


async def _one_connection(
    port: int, context: ssl.SSLContext, hook_id: str, key: bytes, begin: float, end: float
) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    times: list[float] = []
    while (started := time.perf_counter()) < end:
        writer.write(_request(hook_id, key))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"not a 202: {head[:40]!r} {body[:300]!r}")
        if started >= begin:
            times.append(time.perf_counter() - started)
    writer.transport.abort()
    return times


def _request(hook_id: str, key: bytes) -> bytes:
    message_id, at = secrets.token_hex(12), int(time.time())
    signed = b"%b.%d.%b" % (message_id.encode(), at, BODY)
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    head = (
        f"POST /v1/hooks/{hook_id} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"webhook-id: {message_id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: v1,{signature}\r\n"
        f"content-length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY
