"""What strangers send, written byte by byte: through a real Hypercorn with TLS, and through uvicorn as
a proxy would hand it on. Both give the same answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psycopg
import pytest

from gateway.hooks.settings import HookSettings
from ops.listener_settings import Tls
from ops.serve import serve
from tests.fakes.hooks import BASE_URL, BODY, SeededHook, new_secret, seed_hook, signed
from tests.fixtures.postgres import Database
from tests.fixtures.tls import Certificate
from tests.integration.gateway.ingress import GENEROUS, Reply, ingress

pytestmark = pytest.mark.stack
MOST = 4096


class Server(msgspec.Struct):
    """A running listener and a hook of it. `at`: a port with TLS, or a Unix socket."""

    at: int | Path
    hook: SeededHook
    certificate: Any
    database: Database

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.at, Path):
            return await asyncio.open_unix_connection(self.at)
        context = self.certificate.client_context()
        return await asyncio.open_connection("127.0.0.1", self.at, ssl=context)

    async def raw(self, data: bytes, *more: bytes) -> Reply:
        """Write bytes, read one answer. `more` follows in pieces; a closed door is not an error."""
        reader, writer = await self.connect()
        if isinstance(self.at, Path):
            data = data.replace(b"\r\n", b"\r\nx-portcullis-client: 192.0.2.7\r\n", 1)
        try:
            for piece in (data, *more):
                writer.write(piece)
                await writer.drain()
            return await asyncio.wait_for(read_reply(reader), 10)
        finally:
            writer.transport.abort()

    async def send(self, headers: dict[str, str], body: bytes) -> Reply:
        return await self.raw(request(self.hook.path, headers, body))

    async def signed(self, body: bytes, secret: str | None = None) -> Reply:
        signature = signed_bytes(secret or self.hook.secret, body)
        return await self.send(signature, body)

    def kept(self) -> int:
        with psycopg.connect(self.database.superuser) as conn:
            row = conn.execute("SELECT count(*) FROM signals").fetchone()
        assert row is not None
        return int(row[0])


def signed_bytes(secret: str, body: bytes) -> dict[str, str]:
    """The package signs text; for bytes that are no text, sign their Latin-1 twin by hand."""
    try:
        return signed(secret, body)
    except UnicodeDecodeError:
        import base64
        import hmac
        import time

        at = str(int(time.time()))
        key = base64.b64decode(secret.removeprefix("whsec_"))
        mac = hmac.digest(key, b"msg_x." + at.encode() + b"." + body, "sha256")
        return {
            "content-type": "application/json",
            "webhook-id": "msg_x",
            "webhook-timestamp": at,
            "webhook-signature": "v1," + base64.b64encode(mac).decode(),
        }


def request(path: str, headers: dict[str, str], body: bytes, *, length: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length:
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in head[1:] if line]
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(int(head[0].split(" ")[1]), headers, body)


@pytest.fixture(params=["hypercorn", "uvicorn"])
async def server(
    request: pytest.FixtureRequest,
    database: Database,
    redis_server: str,
    certificate: Certificate,
    tmp_path: Path,
) -> AsyncIterator[Server]:
    hook = seed_hook(database.superuser)
    settings = HookSettings(
        management_base_url=BASE_URL, rate=GENEROUS, max_body_bytes=MOST, body_timeout_s=1.0
    )
    at: int | Path
    if request.param == "uvicorn":
        at, tls = tmp_path / "ingress.sock", None
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(at))
        listening.listen()
    else:
        tls = Tls(certificate=Path(certificate.certfile), key=Path(certificate.keyfile))
        listening = socket.create_server(("127.0.0.1", 0))
        at = listening.getsockname()[1]
    fd, stop = listening.detach(), asyncio.Event()  # the server closes it
    async with ingress(database.conninfo("ingress"), redis_server, settings) as running:
        task = asyncio.create_task(
            serve(running.app, fd=fd, tls=tls, stop=stop, server=request.param)
        )
        yield Server(at, hook, certificate, database)
        stop.set()
        await task


def problem_code(reply: Reply) -> str:
    assert reply.headers["content-type"] == "application/problem+json", reply
    assert reply.headers["portcullis-trace-id"] == reply.json()["trace_id"]
    code: str = reply.json()["code"]
    return code


async def test_a_good_signal_passes(server: Server) -> None:
    assert (await server.signed(BODY)).status == 202
    assert server.kept() == 1


async def test_a_declared_oversize_is_refused_before_it_is_read(server: Server) -> None:
    head = request(server.hook.path, {"content-length": str(10**12)}, b"", length=False)
    reply = await server.raw(head)
    assert (reply.status, problem_code(reply)) == (413, "too_large")


async def test_an_undeclared_oversize_is_refused_at_the_limit(server: Server) -> None:
    """Chunked, no length, far more than the limit: the answer comes while it is still sent."""
    head = request(server.hook.path, {"transfer-encoding": "chunked"}, b"", length=False)
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    reply = await server.raw(head, *[chunk] * 8)
    assert (reply.status, problem_code(reply)) == (413, "too_large")


async def test_a_chunked_signal_is_as_good_as_any(server: Server) -> None:
    headers = {**signed(server.hook.secret, BODY), "transfer-encoding": "chunked"}
    chunks = b"".join(b"1\r\n" + BODY[n : n + 1] + b"\r\n" for n in range(len(BODY)))
    reply = await server.raw(
        request(server.hook.path, headers, b"", length=False), chunks + b"0\r\n\r\n"
    )
    assert reply.status == 202


async def test_a_body_that_never_ends_is_given_up(server: Server) -> None:
    head = request(server.hook.path, {"content-length": "100"}, b"{", length=False)
    reply = await server.raw(head)
    assert (reply.status, problem_code(reply)) == (408, "request_timeout")


async def test_length_and_chunks_together_are_refused(server: Server) -> None:
    """Request smuggling (RFC 9112 section 6.1): what two parsers read differently is not read."""
    headers = {
        **signed(server.hook.secret, BODY),
        "transfer-encoding": "chunked",
        "content-length": "4",
    }
    data = request(server.hook.path, headers, b"0\r\n\r\n", length=False)
    reply = await server.raw(data)
    assert reply.status in (400, 401)
    assert server.kept() == 0


async def test_huge_headers_are_refused(server: Server) -> None:
    headers = {**signed(server.hook.secret, BODY), "x-much": "a" * 70_000}
    try:
        reply = await server.send(headers, BODY)
        assert reply.status in (400, 431)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the door was closed while we still talked
    assert server.kept() == 0


async def test_a_head_that_never_ends_is_refused(server: Server) -> None:
    """One header whose value goes on and on: what arrived is not kept for it."""
    try:
        reply = await server.raw(
            f"POST {server.hook.path} HTTP/1.1\r\nhost: localhost\r\nx-much: ".encode(),
            *[b"a" * 1024] * 64,
        )
        assert reply.status in (400, 431)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # as above
    assert (await server.signed(BODY)).status == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"ticker":"T","action":"buy","quantitty":1}', "$.quantitty"),
        (b'{"ticker":"T","action":"buy","stopLoss":{"percnt":1}}', "$.stopLoss.percnt"),
        (b'{"action":"buy"}', "$.ticker"),
        (b'{"ticker":"T","action":"by"}', "$.action"),
        (b'{"ticker":"T","action":"buy","quantity":"NaN"}', "$.quantity"),
        (b'{"ticker":"T","action":"buy","quantity":1e999}', "$.quantity"),
        (b'{"ticker":"T","action":"buy","quantity":-1}', "$.quantity"),
        (b'{"ticker":"T","action":"buy","quantity":0}', "$.quantity"),
        (b"[]", "$"),
        (b"null", "$"),
    ],
)
async def test_what_is_wrong_is_named(server: Server, body: bytes, field: str) -> None:
    reply = await server.signed(body)
    assert (reply.status, problem_code(reply)) == (422, "invalid_signal")
    assert reply.json()["field"] == field
    assert server.kept() == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"ticker":"\xc3\x28","action":"buy"}',
        b'{"ticker":"\xed\xa0\x80","action":"buy"}',
        b'{"ticker":"T","action":"buy","quantity":NaN}',
        b'{"ticker":"T","action":"buy","quantity":Infinity}',
        b"[" * 4000,
        b'\xef\xbb\xbf{"ticker":"T","action":"buy"}',
    ],
)
async def test_what_is_not_json_is_refused(server: Server, body: bytes) -> None:
    reply = await server.signed(body)
    assert (reply.status, problem_code(reply)) == (422, "invalid_signal")
    assert server.kept() == 0


async def test_deep_nesting_costs_nothing_but_its_own_answer(server: Server) -> None:
    """How deep is too deep is the interpreter's business; it is never a 500, nor the process."""
    body = b'{"ticker":"T","action":"buy","extras":{"a":' + b"[" * 1900 + b"]" * 1900 + b"}}"
    reply = await server.signed(body)
    assert reply.status in (202, 422)
    assert (await server.signed(BODY)).status == 202


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json; charset=utf-16", "application/jsonx", ""]
)
async def test_another_content_type_is_refused(server: Server, kind: str) -> None:
    reply = await server.send({**signed(server.hook.secret, BODY), "content-type": kind}, BODY)
    assert (reply.status, problem_code(reply)) == (415, "unsupported_media_type")


async def test_an_unknown_hook_and_a_wrong_secret_get_the_same_answer(server: Server) -> None:
    wrong = signed(new_secret(), BODY)
    other = server.hook.hook_id[::-1]
    known = await server.send(wrong, BODY)
    unknown = await server.raw(request(f"/v1/hooks/{other}", wrong, BODY))
    assert known.status == unknown.status == 401
    ours, theirs = known.json(), unknown.json()
    for body in (ours, theirs):
        del body["instance"], body["trace_id"]
    assert ours == theirs
    assert known.headers.keys() == unknown.headers.keys()


async def test_fifty_signatures_are_refused_at_once(server: Server) -> None:
    headers = signed(server.hook.secret, BODY)
    headers["webhook-signature"] = " ".join([headers["webhook-signature"]] * 50)
    reply = await server.send(headers, BODY)
    assert (reply.status, problem_code(reply)) == (401, "malformed_header")


@pytest.mark.parametrize(
    "path", ["/", "/v1/hooks/", "/v1/hooks/a/b/c", "/v1/hooks/../../admin", "/healthz"]
)
async def test_there_is_nothing_else_on_this_listener(server: Server, path: str) -> None:
    reply = await server.raw(request(path, {}, BODY))
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")
    assert "server" not in reply.headers


async def test_a_get_is_told_what_is_allowed(server: Server) -> None:
    reply = await server.raw(f"GET {server.hook.path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["code"] == "method_not_allowed"


async def test_a_senders_trace_is_continued_and_nonsense_is_not(server: Server) -> None:
    theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
    good = {**signed(server.hook.secret, BODY), "traceparent": f"00-{theirs}-00f067aa0ba902b7-01"}
    assert (await server.send(good, BODY)).headers["portcullis-trace-id"] == theirs
    for bad in (f"00-{'0' * 32}-00f067aa0ba902b7-01", f"01-{theirs}-x-01", "a" * 55):
        headers = {**signed(server.hook.secret, BODY), "traceparent": bad}
        reply = await server.send(headers, BODY)
        assert reply.status == 202
        assert reply.headers["portcullis-trace-id"] not in (theirs, "0" * 32)


async def test_many_at_once_over_kept_connections(server: Server) -> None:
    """Sixty signals on eight connections."""
    if isinstance(server.at, Path):
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(str(server.at), limit=8)
        origin = "http://hooks.example"
    else:
        context = server.certificate.client_context()
        connector = aiohttp.TCPConnector(ssl=context, limit=8)
        origin = f"https://127.0.0.1:{server.at}"
    told = {"x-portcullis-client": "192.0.2.7"}
    async with aiohttp.ClientSession(connector=connector, headers=told) as session:

        async def one() -> int:
            url = f"{origin}{server.hook.path}"
            async with session.post(url, data=BODY, headers=signed(server.hook.secret, BODY)) as r:
                return r.status

        statuses = await asyncio.gather(*(one() for _ in range(60)))
    assert statuses == [202] * 60
    assert server.kept() == 60
