"""Gate.io's WebSocket as its documentation has it, in this process: it checks who subscribes, and does what
a test tells it to. Written from https://www.gate.com/docs/developers/futures/ws alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

SECRET = b"secret"


class FakeStream:
    """`silent`: answers nothing more, but stays; `refuse`: says no to subscriptions; `shut`: lets nobody in."""

    def __init__(self) -> None:
        self.url = ""
        self.silent = False
        self.refuse = False
        self.shut = False
        self.connections = 0
        self.most_at_once = 0
        self.subscribed: list[tuple[str, list[str], str]] = []
        self.pings = 0
        self._open: set[web.WebSocketResponse] = set()
        self.seen = asyncio.Condition()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self.shut:
            await self._tell()
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._open.add(socket)
        self.most_at_once = max(self.most_at_once, len(self._open))
        await self._tell()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._answer(socket, json.loads(message.data))
                    await self._tell()
        finally:
            self._open.discard(socket)
        return socket

    async def _tell(self) -> None:
        async with self.seen:
            self.seen.notify_all()

    async def _answer(self, socket: web.WebSocketResponse, said: dict[str, Any]) -> None:
        channel = said["channel"]
        if self.silent:
            return
        if channel.endswith(".ping"):
            self.pings += 1
            await _send(socket, channel=channel.replace("ping", "pong"), event="", error=None)
            return
        error = self._refusal(said)
        self.subscribed.append((channel, said["payload"], said["auth"]["KEY"]))
        await _send(
            socket,
            channel=channel,
            event=said["event"],
            error=error,
            result=None if error else {"status": "success"},
        )

    def _refusal(self, said: dict[str, Any]) -> dict[str, Any] | None:
        text = f"channel={said['channel']}&event={said['event']}&time={said['time']}"
        sign = hmac.new(SECRET, text.encode(), hashlib.sha512).hexdigest()
        if said["auth"] != {"method": "api_key", "KEY": said["auth"]["KEY"], "SIGN": sign}:
            return {"code": 2, "message": "invalid sign"}
        return {"code": 4, "message": "permission denied"} if self.refuse else None

    async def update(self, channel: str, *rows: dict[str, Any]) -> None:
        for socket in self._open:
            await _send(socket, channel=channel, event="update", error=None, result=list(rows))

    async def raw(self, text: str) -> None:
        for socket in self._open:
            await socket.send_str(text)

    async def cut(self) -> None:
        """As a network does: no goodbye."""
        for socket in list(self._open):
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()


async def _send(socket: web.WebSocketResponse, **said: Any) -> None:
    await socket.send_str(json.dumps({"time": 1} | said))


@asynccontextmanager
async def fake_stream() -> AsyncIterator[FakeStream]:
    fake = FakeStream()
    app = web.Application()
    app.router.add_get("/v4/ws/usdt", fake.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    fake.url = f"ws://127.0.0.1:{port}/v4/ws/usdt"
    try:
        yield fake
    finally:
        await runner.cleanup()
