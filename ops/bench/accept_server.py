"""The server side of the accept benchmark, in a process of its own, on uvloop with TLS.

`bare` answers 202 to everything: Starlette and Hypercorn alone, the floor. `whole` is the public
listener with PostgreSQL and Redis; only the signer is left out: secrets are "opened" in process.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import structlog
import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config
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
from tenancy.clock import SystemClock
from tenancy.database import Database


class Bare:
    """202, after the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send_answer(Answer(202, "accepted", b"{}"), send)


async def whole(config: Config, conninfo: str, redis_socket: str) -> None:
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
        app: Any = listener.app  # Hypercorn types its own scopes
        await serve(app, config, shutdown_trigger=asyncio.Event().wait)


async def main(kind: str, fd: str, certfile: str, keyfile: str, *rest: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    config = hypercorn_config(f"fd://{fd}", certfile=certfile, keyfile=keyfile)
    if kind == "bare":
        app: Any = Starlette(routes=[Route("/v1/hooks/{hook_id}", Bare(), methods=["POST"])])
        await serve(app, config, shutdown_trigger=asyncio.Event().wait)
    else:
        await whole(config, *rest)


if __name__ == "__main__":
    collect_garbage_rarely()
    uvloop.run(main(*sys.argv[1:]))
