"""Signed webhooks over kept connections, each sent when the one before was answered: what they took.

Written close to the wire, on uvloop, for what it measures answers in a few microseconds: a client library
would be most of what is measured.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
import time
from pathlib import Path
from statistics import quantiles
from typing import cast

import msgspec

BODY = b'{"ticker":"BTC_USDT","action":"buy","quantity":2,"extras":{"note":"benchmark"}}'
WARM_UP_S = 0.5
START_S = 20


class Load(msgspec.Struct, frozen=True):
    """What one turn measured."""

    per_s: float
    p50_ms: float
    p99_ms: float


class Door(msgspec.Struct, frozen=True):
    """A listener: a port of 127.0.0.1 with TLS, or a Unix socket without."""

    at: int | Path
    trust: ssl.SSLContext | None = None
    pid: int = 0
    """Of the process behind it."""


async def load(door: Door, hook_id: str, key: bytes, seconds: float, connections: int) -> Load:
    """`connections` at once for `seconds`, after WARM_UP_S that do not count. Raises RuntimeError at an
    answer that is no 202, and where the listener does not come up within START_S."""
    await _up(door)
    begin = time.perf_counter() + WARM_UP_S
    senders = [_Sender(hook_id, key, begin, begin + seconds) for _ in range(connections)]
    await asyncio.gather(*(_connected(door, sender) for sender in senders))
    await asyncio.gather(*(sender.done for sender in senders))
    all_ms = [t * 1000 for sender in senders for t in sender.times]
    cuts = quantiles(all_ms, n=100)
    return Load(len(all_ms) / seconds, cuts[49], cuts[98])


class _Sender(asyncio.Protocol):
    """One connection."""

    def __init__(self, hook_id: str, key: bytes, begin: float, end: float) -> None:
        self.times: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hook_id, self._key, self._begin, self._end = hook_id, key, begin, end
        self._name, self._sent = secrets.token_hex(8), 0
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by descent
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, over, body = self._answer.partition(b"\r\n\r\n")
        if not over:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        if not head.startswith(b"HTTP/1.1 202"):
            self._end_with(RuntimeError(f"not a 202: {head[:40]!r} {body[:300]!r}"))
            return
        if self._started >= self._begin:
            self.times.append(now - self._started)
        if now < self._end:
            self._send()
        else:
            self._end_with(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the listener closed a connection"))

    def _send(self) -> None:
        assert self._transport is not None
        self._answer, self._sent = b"", self._sent + 1
        self._started = time.perf_counter()
        self._transport.write(_request(self._hook_id, self._key, f"{self._name}-{self._sent}"))

    def _end_with(self, error: Exception | None) -> None:
        assert self._transport is not None
        if not self.done.done():
            self.done.set_exception(error) if error is not None else self.done.set_result(None)
        self._transport.abort()


async def _connected(door: Door, protocol: asyncio.Protocol) -> None:
    loop = asyncio.get_running_loop()
    if isinstance(door.at, Path):
        await loop.create_unix_connection(lambda: protocol, str(door.at))
    else:
        await loop.create_connection(lambda: protocol, "127.0.0.1", door.at, ssl=door.trust)


async def _up(door: Door) -> None:
    """Until the listener answers anything: its socket is open before its process is ready."""
    asked = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-portcullis-client: 127.0.0.1\r\nconnection: close\r\n\r\n"
    async with asyncio.timeout(START_S):
        if isinstance(door.at, Path):
            reader, writer = await asyncio.open_unix_connection(door.at)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.at, ssl=door.trust)
        writer.write(asked)
        await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


def _request(hook_id: str, key: bytes, message_id: str) -> bytes:
    at = int(time.time())
    signed = b"%b.%d.%b" % (message_id.encode(), at, BODY)
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    head = (
        f"POST /v1/hooks/{hook_id} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"x-portcullis-client: 192.0.2.7\r\n"
        f"webhook-id: {message_id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: v1,{signature}\r\n"
        f"content-length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY
