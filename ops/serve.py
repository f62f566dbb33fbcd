"""Serve an ASGI application with Hypercorn on a listening socket that somebody else opened.

Its settings are gateway/listener.py's. One thing has no setting there: a TLS connection that is
asked to end gets half a second to say goodbye. asyncio's 30 s would let one idle client hold up
the stop of the process, so the loop that runs it gives every TLS server that limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from hypercorn.asyncio import serve as hypercorn_serve

from gateway.listener import hypercorn_config
from ops.settings import Tls

TLS_GOODBYE_S = 0.5


class ServingLoop(uvloop.Loop):
    """uvloop whose TLS servers do not wait 30 s for a client's close_notify."""

    async def create_server(self, *args: Any, **options: Any) -> Any:
        if options.get("ssl") is not None and options.get("ssl_shutdown_timeout") is None:
            options["ssl_shutdown_timeout"] = TLS_GOODBYE_S
        return await super().create_server(*args, **options)


async def serve(app: Any, *, fd: int, tls: Tls | None, stop: asyncio.Event) -> None:
    """Serve until `stop`, then answer what is in flight for a few seconds more."""
    certificate, key = (str(tls.certificate), str(tls.key)) if tls is not None else (None, None)
    config = hypercorn_config(f"fd://{fd}", certfile=certificate, keyfile=key)
    trigger: Callable[..., Awaitable[Any]] = stop.wait
    await hypercorn_serve(app, config, shutdown_trigger=trigger, mode="asgi")


def run(main: Callable[[], Awaitable[int]]) -> int:
    """Run one process' main on a ServingLoop; returns its exit status."""
    with asyncio.Runner(loop_factory=ServingLoop) as runner:
        return runner.run(_awaited(main))


async def _awaited(main: Callable[[], Awaitable[int]]) -> int:
    return await main()
