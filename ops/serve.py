"""Serve an ASGI application on a listening socket that somebody else opened: with Hypercorn, or, behind
a proxy and where the settings say so, with uvicorn (ops/serve_uvicorn.py).

Hypercorn's settings are gateway/listener.py's. Two things have no setting there:

- A TLS connection that is asked to end gets half a second to say goodbye. asyncio's 30 s would let
  one idle client hold up the stop of the process, so the loop that runs it gives every TLS server
  that limit.
- Hypercorn tells an application nothing of the client's certificate. The class that it builds for
  each connection is replaced by one that puts the certificate's SHA-256 into that connection's
  state. Should a later Hypercorn build another class, no certificate is seen and mutual TLS refuses
  everybody; `check_hypercorn` says so at the start rather than then.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from hypercorn.asyncio import run as hypercorn_run
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, LifespanState

from gateway.admin.client_certificates import STATE_KEY, fingerprint
from gateway.listener import hypercorn_config
from gateway.proxied import Proxied
from ops.listener_settings import Server, Tls
from ops.serve_uvicorn import serve_uvicorn
from tenancy.errors import ConfigurationError

TLS_GOODBYE_S = 0.5


class ServingLoop(uvloop.Loop):
    """uvloop whose TLS servers do not wait 30 s for a client's close_notify."""

    async def create_server(self, *args: Any, **options: Any) -> Any:
        if options.get("ssl") is not None and options.get("ssl_shutdown_timeout") is None:
            options["ssl_shutdown_timeout"] = TLS_GOODBYE_S
        return await super().create_server(*args, **options)


class CertifiedServer(TCPServer):
    """Hypercorn's handler of one connection, which knows the client's certificate. Its handshake is
    over when it is built, and TLS has verified what the client showed."""

    def __init__(
        self,
        app: AppWrapper,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        tls = writer.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True) if tls is not None else None
        if shown is not None:
            state = LifespanState({**state, STATE_KEY: fingerprint(shown)})
        super().__init__(app, loop, config, context, state, reader, writer)


def check_hypercorn() -> None:
    """Raises ConfigurationError where Hypercorn does not build its connections as we know it."""
    if getattr(hypercorn_run, "TCPServer", None) not in (TCPServer, CertifiedServer):
        raise ConfigurationError(
            "this Hypercorn is not one that client certificates can be had from: take 0.18,"
            " or leave client_ca out"
        )


async def serve(
    app: Any,
    *,
    fd: int,
    tls: Tls | None,
    stop: asyncio.Event,
    client_ca: Path | None = None,
    endless: bool = False,
    server: Server = "hypercorn",
) -> None:
    """Serve until `stop`, then answer what is in flight for a few seconds more, and close `fd`.

    With `client_ca` clients may show certificates that it signed. `endless`: some answers never end,
    while their client says nothing. Without `tls` the socket is a Unix socket with a proxy behind it.
    Raises ConfigurationError, also where plain HTTP would be spoken on a network, or uvicorn without a proxy.
    """
    if server == "uvicorn" and tls is not None:
        raise ConfigurationError("uvicorn is for a Unix socket, behind a proxy that ends TLS")
    if tls is None:
        if not _is_unix(fd):
            raise ConfigurationError(
                "without tls only a Unix socket is listened on, behind a proxy that ends TLS:"
                " see `socket` in the settings"
            )
        app = Proxied(app)
        if server == "uvicorn":
            await serve_uvicorn(app, fd=fd, stop=stop)
            return
    certificate, key = (str(tls.certificate), str(tls.key)) if tls is not None else (None, None)
    config = hypercorn_config(
        f"fd://{fd}", certfile=certificate, keyfile=key,
        client_ca=str(client_ca) if client_ca is not None else None,
        read_timeout_s=None if endless else 60,
    )  # fmt: skip
    if client_ca is not None:
        check_hypercorn()
        setattr(hypercorn_run, "TCPServer", CertifiedServer)  # noqa: B010  mypy takes it for private
    trigger: Callable[..., Awaitable[Any]] = stop.wait
    await hypercorn_serve(app, config, shutdown_trigger=trigger, mode="asgi")


def _is_unix(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as seen:
        return seen.family == socket.AF_UNIX


def run(main: Callable[[], Awaitable[int]]) -> int:
    """Run one process' main on a ServingLoop; returns its exit status."""
    with asyncio.Runner(loop_factory=ServingLoop) as runner:
        return runner.run(_awaited(main))


async def _awaited(main: Callable[[], Awaitable[int]]) -> int:
    return await main()
