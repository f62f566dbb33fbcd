"""One client connection, read by hand where the request is plain, given to aiohttp where it is not.

aiohttp's server costs 60–80 µs a request, more than the whole venue behind it; the simulator must
not be what limits a load test. Plain is: HTTP/1.1, a Content-Length or no body, nothing asked of
the connection but keep-alive or close. Anything else hands the connection, with what was read of it,
over for good: the handshake of a WebSocket to ws/wire.py, the rest (chunked bodies, Expect, malformed
or oversized heads) to aiohttp.

Requests on one connection are answered one after the other, in order. A client that goes away does
not stop the request that is under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

from loadtest.exchanges.gateio.gateway import Answer, Cut, HalfOpen, Request

HEAD_MAX_BYTES = 16_384
BODY_MAX_BYTES = 1_048_576
_UNUSUAL = frozenset({"transfer-encoding", "expect", "upgrade"})

_log = logging.getLogger(__name__)

Serve = Callable[[Request], Awaitable[Answer]]
Fallback = Callable[[bytes], asyncio.Protocol]
"""Of the connection's unread bytes."""


class NotPlain(Exception):
    """A request for aiohttp to read."""


class Connection(asyncio.Protocol):
    """`serve` answers a request or raises Cut or HalfOpen; `fallback` makes the protocol that takes over."""

    def __init__(self, serve: Serve, fallback: Fallback, open_ones: set[Connection]) -> None:
        self._serve = serve
        self._fallback = fallback
        self._open_ones = open_ones
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self._dead = False  # half open: it takes everything and says nothing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by shape only
        peer = transport.get_extra_info("peername")
        self._peer: str = peer[0] if peer else ""
        self._loop = asyncio.get_running_loop()
        self._open_ones.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self._task is None:
            self._open_ones.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._dead:
            return
        self._buffer += data
        if self._task is None:
            self._next()

    def eof_received(self) -> bool:
        return False

    def close(self) -> None:
        """End at once, with what is under way."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()
        self._open_ones.discard(self)

    def _next(self) -> None:
        try:
            found = _read(self._buffer, self._peer)
        except NotPlain:
            self._hand_over()
            return
        if found is not None:
            request, lasting, used = found
            self._buffer = self._buffer[used:]
            self._task = self._loop.create_task(self._answer(request, lasting))

    async def _answer(self, request: Request, lasting: bool) -> None:
        try:
            answer = await self._serve(request)
        except Cut:
            self._transport.abort()
        except HalfOpen:
            self._dead = True
            self._buffer = b""
        except Exception:
            _log.exception("the simulator failed on %s %s", request.method, request.path)
            self._transport.abort()
        else:
            if not self._transport.is_closing():
                self._transport.write(_bytes(answer, lasting))
                if not lasting:
                    self._transport.close()
        self._task = None
        if self._transport.is_closing():
            self._open_ones.discard(self)
        elif self._buffer:
            self._next()

    def _hand_over(self) -> None:
        successor = self._fallback(self._buffer)
        self._open_ones.discard(self)
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        successor.data_received(self._buffer)
        self._buffer = b""


def _read(data: bytes, peer: str) -> tuple[Request, bool, int] | None:
    """The first request in `data`, whether the connection lasts, and the bytes it took.

    None where more must come first. Raises NotPlain.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > HEAD_MAX_BYTES:
            raise NotPlain
        return None
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    try:
        method, target, version = first.split(" ")
    except ValueError:
        raise NotPlain from None
    if version != "HTTP/1.1" or not target.startswith("/"):
        raise NotPlain
    headers = _headers(lines)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > BODY_MAX_BYTES:
        raise NotPlain
    used = end + 4 + int(length)
    if len(data) < used:
        return None
    path, _, query = target.partition("?")
    request = Request(
        method=method,
        path=path,
        query=query,
        headers=headers,
        body=data[end + 4 : used],
        peer=peer,
    )
    return request, headers.get("connection", "").lower() != "close", used


def _headers(lines: list[str]) -> dict[str, str]:
    """By lower-case name. Raises NotPlain for what needs a real parser, repeated names included."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name in headers or name in _UNUSUAL or name != name.strip():
            raise NotPlain
        headers[name] = value.strip(" \t")
    return headers


_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}


def _bytes(answer: Answer, lasting: bool) -> bytes:
    head = _STATUS_LINES[answer.status]
    for name, value in answer.headers.items():
        head += f"{name}: {value}\r\n"
    if not lasting:
        head += "Connection: close\r\n"
    head += f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n\r\n"
    return head.encode("ascii") + answer.body
