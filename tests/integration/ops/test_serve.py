"""Hypercorn as we run it: on a socket that somebody else opened, gone quickly, silent about itself."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops import serve
from ops.processes import listen
from ops.settings import Tls
from ops.tls import create_dev_certificates


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    create_dev_certificates(tmp_path, datetime.now(UTC))
    return Tls(certificate=tmp_path / "server.pem", key=tmp_path / "server.key")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 202, "headers": []})
    await send({"type": "http.response.body", "body": b"kept"})


async def request(port: int, tls: Tls, alpn: str) -> tuple[str | None, bytes, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=str(tls.certificate.parent / "ca.pem"))
    context.set_alpn_protocols([alpn])
    reader, writer = await asyncio.open_connection(
        "localhost", port, ssl=context, family=socket.AF_INET
    )
    chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    if alpn == "h2":
        return chosen, b"", writer
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return chosen, await reader.readuntil(b"kept"), writer


def test_an_idle_tls_client_does_not_hold_up_the_stop(tls: Tls) -> None:
    """Hypercorn alone waits 30 s for a close_notify that an idle client never sends."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    seen: dict[str, Any] = {}

    async def scene() -> int:
        stop = asyncio.Event()
        serving = asyncio.create_task(serve.serve(app, fd=listener.fileno(), tls=tls, stop=stop))
        idle = await asyncio.to_thread(silent_client, port, tls)
        seen["alpn"], seen["answer"], writer = await request(port, tls, "http/1.1")
        seen["h2"], _, writer2 = await request(port, tls, "h2")
        began = time.monotonic()
        stop.set()
        await asyncio.wait({serving}, timeout=6)
        seen["took"] = time.monotonic() - began
        for one in (writer, writer2):
            one.transport.abort()
        idle.close()
        await serving
        return 0

    assert serve.run(scene) == 0
    listener.detach()  # Hypercorn closed the descriptor that both of us named
    assert seen["answer"].startswith(b"HTTP/1.1 202")
    assert b"server:" not in seen["answer"].lower()
    assert (seen["alpn"], seen["h2"]) == ("http/1.1", "h2")
    assert seen["took"] < 5


def silent_client(port: int, tls: Tls) -> ssl.SSLSocket:
    """Connected, and then saying nothing and reading nothing, not even a goodbye."""
    context = ssl.create_default_context(cafile=str(tls.certificate.parent / "ca.pem"))
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"
    )


def test_a_port_that_is_taken_is_said_so() -> None:
    first = listen("127.0.0.1", 0)
    with pytest.raises(Exception, match="Another Portcullis may be running"):
        listen("127.0.0.1", first.getsockname()[1])
    first.close()
