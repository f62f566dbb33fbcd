"""uvicorn with httptools on a listening Unix socket that somebody else opened: HTTP/1.1 from this host's proxy.

What our Hypercorn does by itself and uvicorn does not, the proxy does before it: an end to a head that arrives
slowly, TLS, HTTP/2 (ansible/roles/haproxy). So it is for a socket alone.

- The cap on header bytes, which uvicorn has for h11 only, is ours.
- It logs nothing: the application logs each request, and what it raised is in its own log already.
- Signals stay with the process, which says by `stop` when it is time. uvicorn looks ten times a second.
- A connection without a request is closed by HAProxy after 50 s, here after 60, so that none is reused in the
  moment in which it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX_BYTES = 16 * 1024
KEEP_ALIVE_S = 60
GRACEFUL_S = 5
BACKLOG = 1024


class CappedHeads(HttpToolsProtocol):
    """400 for a request line and headers of more than HEAD_MAX_BYTES, whether or not they ever end."""

    _head_bytes: int | None = 0
    """Arrived of a head that is not over, with what came before it in the same piece. None within a body."""

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > HEAD_MAX_BYTES:
            self.send_400_response("too many header bytes")

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > HEAD_MAX_BYTES:
            raise ValueError(
                "too many header bytes"
            )  # httptools makes of it what uvicorn answers 400
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()


class StoppedByEvent(uvicorn.Server):
    """Ends when `stop` is set, and leaves the process' signals alone."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()


async def serve_uvicorn(app: Any, *, fd: int, stop: asyncio.Event) -> None:
    """Serve until `stop`; answer what is in flight for GRACEFUL_S more; close `fd`."""
    config = uvicorn.Config(
        app,
        http=CappedHeads,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACEFUL_S,
    )
    await StoppedByEvent(config, stop).serve([socket.socket(fileno=fd)])
