"""The server side of the accept benchmark, in a process of its own, on uvloop.

`bare` answers 202 to everything: Starlette and the server alone, the floor. `whole` is the public
listener with PostgreSQL and Redis; only the signer is left out: secrets are "opened" in process.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from hypercorn.asyncio import serve as hypercorn_serve
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import Route

from gateway.answers import Answer, Receive, Scope, Send, send_answer
from gateway.hooks.listener import hooks_listener
from gateway.hooks.settings import HookSettings, RateSettings
from gateway.listener import hypercorn_config
from ops.audit_keys import ring_of
from ops.bench.unsealed import OpensUnsealed
from ops.garbage import collect_garbage_rarely
from ops.listener_settings import Server, Tls
from ops.serve import run, serve
from ops.serve_uvicorn import serve_uvicorn
from tenancy.clock import SystemClock
from tenancy.database import Database


class Bare:
    """202, after the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send_answer(Answer(202, "accepted", b"{}"), send)


async def bare(fd: int, server: Server, tls: Tls | None) -> None:
    """Not as the product serves: nobody asks here whose request it is."""
    stop = asyncio.Event()
    app: Any = Starlette(routes=[Route("/v1/hooks/{hook_id}", Bare(), methods=["POST"])])
    if server == "uvicorn":
        await serve_uvicorn(app, fd=fd, stop=stop)
        return
    certificate, key = (str(tls.certificate), str(tls.key)) if tls is not None else (None, None)
    config = hypercorn_config(f"fd://{fd}", certfile=certificate, keyfile=key)
    await hypercorn_serve(app, config, shutdown_trigger=stop.wait)


async def whole(fd: int, server: Server, tls: Tls | None, conninfo: str, redis_socket: str) -> None:
    """Limits are out of the way, everything else is as shipped."""
    database = Database(conninfo, name="bench-ingress", size=2)
    await database.open()
    redis = Redis(unix_socket_path=redis_socket)
    rate = RateSettings(per_minute=10**9, per_hour=10**9, redis_timeout_s=1.0)
    settings = HookSettings(management_base_url="https://localhost", rate=rate)
    async with (
        ring_of(conninfo, "bench-ingress", OpensUnsealed(), None),
        hooks_listener(
            conninfo=conninfo, database=database, redis=redis, opener=OpensUnsealed(),
            clock=SystemClock(), settings=settings,
        ) as listener,
    ):  # fmt: skip
        await serve(listener.app, fd=fd, tls=tls, stop=asyncio.Event(), server=server)


async def main(kind: str, fd: int, server: Server, files: str, *stores: str) -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    tls = None
    if files != "-":
        tls = Tls(certificate=Path(files) / "server.pem", key=Path(files) / "server.key")
    if kind == "bare":
        await bare(fd, server, tls)
    else:
        await whole(fd, server, tls, *stores)
    return 0


if __name__ == "__main__":
    collect_garbage_rarely()
    kind, fd, server, files, *stores = sys.argv[1:]
    run(partial(main, kind, int(fd), server, files, *stores))  # type: ignore[arg-type]  # argv's text
