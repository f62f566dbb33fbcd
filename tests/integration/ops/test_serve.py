"""Our servers as we run them: on a socket that somebody else opened, gone quickly, silent about itself."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops import serve
from ops.listener_settings import ListenerSettings, Server, Tls
from ops.processes import listen, open_listener
from ops.tls import create_dev_certificates
from tenancy.errors import ConfigurationError


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


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
def test_behind_a_proxy_it_is_served_on_a_unix_socket_to_whom_the_proxy_says(
    tmp_path: Path, server: Server
) -> None:
    at = ListenerSettings(base_url="https://hooks.example", socket=tmp_path / "ingress.sock")
    listener = open_listener(at)
    seen: dict[str, Any] = {}

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.update(client=scope["client"], scheme=scope["scheme"])
        await app(scope, receive, send)

    async def scene() -> int:
        stop = asyncio.Event()
        serving = asyncio.create_task(
            serve.serve(asked, fd=listener.fileno(), tls=None, stop=stop, server=server)
        )
        way = httpx.AsyncHTTPTransport(uds=str(at.socket))
        async with httpx.AsyncClient(transport=way, base_url="http://hooks.example") as proxy:
            said = {"X-Portcullis-Client": "203.0.113.9"}
            seen["well"] = (await proxy.post("/", headers=said)).status_code
            seen["untold"] = (await proxy.post("/")).status_code
        stop.set()
        await serving
        return 0

    assert serve.run(scene) == 0
    listener.detach()
    assert seen["client"] == ("203.0.113.9", 0)
    assert (seen["scheme"], seen["well"], seen["untold"]) == ("https", 202, 500)
    assert stat.S_IMODE((tmp_path / "ingress.sock").stat().st_mode) == 0o660


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
def test_what_is_in_flight_at_the_stop_is_answered(tmp_path: Path, server: Server) -> None:
    at = ListenerSettings(base_url="https://hooks.example", socket=tmp_path / "ingress.sock")
    listener = open_listener(at)
    seen: dict[str, Any] = {}

    async def scene() -> int:
        stop, asked, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                asked.set()
                await go_on.wait()
            await app(scope, receive, send)

        serving = asyncio.create_task(
            serve.serve(slow, fd=listener.fileno(), tls=None, stop=stop, server=server)
        )
        reader, writer = await asyncio.open_unix_connection(at.socket)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Portcullis-Client: 192.0.2.7\r\n\r\n")
        await asked.wait()
        before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
        stop.set()
        await asyncio.sleep(0.5)
        with pytest.raises(OSError):
            await asyncio.open_unix_connection(at.socket)
        go_on.set()
        seen["answer"] = await reader.read()
        writer.close()
        await serving
        assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
        return 0

    signal.signal(signal.SIGTERM, theirs := lambda *_: None)
    try:
        assert serve.run(scene) == 0
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        listener.detach()
    assert seen["answer"].startswith(b"HTTP/1.1 202")
    assert b"kept" in seen["answer"]


def test_uvicorn_is_not_spoken_to_without_a_proxy(tls: Tls) -> None:
    listener = listen("127.0.0.1", 0)

    async def scene() -> int:
        with pytest.raises(ConfigurationError, match="behind a proxy"):
            await serve.serve(
                app, fd=listener.fileno(), tls=tls, stop=asyncio.Event(), server="uvicorn"
            )
        return 0

    assert serve.run(scene) == 0
    listener.close()


def test_plain_http_is_not_spoken_on_a_network() -> None:
    listener = listen("127.0.0.1", 0)

    async def scene() -> int:
        with pytest.raises(ConfigurationError, match="only a Unix socket"):
            await serve.serve(app, fd=listener.fileno(), tls=None, stop=asyncio.Event())
        return 0

    assert serve.run(scene) == 0
    listener.close()


def test_a_port_that_is_taken_is_said_so() -> None:
    first = listen("127.0.0.1", 0)
    with pytest.raises(Exception, match="Another Portcullis may be running"):
        listen("127.0.0.1", first.getsockname()[1])
    first.close()
