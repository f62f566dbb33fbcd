"""The simulator on a port: the venue and its control API behind HTTP.

Plain requests are read by `connection`, the others by aiohttp; both come to the same answer. A WebSocket's
handshake goes to ws/.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from loadtest.exchanges.gateio.connection import Connection
from loadtest.exchanges.gateio.control import PREFIX as CONTROL_PREFIX
from loadtest.exchanges.gateio.control import Control
from loadtest.exchanges.gateio.exchange import Exchange
from loadtest.exchanges.gateio.gateway import Answer, Cut, Gateway, HalfOpen, Request
from loadtest.exchanges.gateio.ws.wire import Sockets, WebSocket

STOP_TIMEOUT_S = 0.5
TICK_S = 0.02


class Simulator:
    """A venue listening on a port of its own."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self.exchange = exchange or Exchange()
        self.gateway = Gateway(self.exchange)
        self.control = Control(self.gateway)
        self.sockets = Sockets(self.gateway)
        self.url = ""
        self._connections: set[Connection] = set()

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns the URL. Port 0 takes a free one."""
        aiohttp_server = web.Server(self._through_aiohttp, access_log=None)
        self._aiohttp_server = aiohttp_server

        def fallback(head: bytes) -> asyncio.Protocol:
            return WebSocket(self.sockets) if self.sockets.wanted(head) else aiohttp_server()

        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._serve, fallback, self._connections),
            host,
            port,
            backlog=4096,
        )
        self._clock = asyncio.create_task(self._tick())
        address = self._listener.sockets[0].getsockname()
        self.url = f"http://{address[0]}:{address[1]}"
        return self.url

    async def stop(self) -> None:
        """Close the listener and all connections; what is under way is dropped."""
        self._clock.cancel()
        self._listener.close()
        for connection in list(self._connections):
            connection.close()
        for socket in list(self.sockets.open):
            socket.cut()
        await self._aiohttp_server.shutdown(STOP_TIMEOUT_S)
        await self._listener.wait_closed()

    async def _tick(self) -> None:
        """What the venue does by its clock, and not because somebody asked."""
        while True:
            await asyncio.sleep(TICK_S)
            self.exchange.tick()
            self.sockets.tick(asyncio.get_running_loop().time())

    async def _serve(self, request: Request) -> Answer:
        if request.path.startswith(CONTROL_PREFIX):
            return self.control.answer(request)
        return await self.gateway.answer(request)

    async def _through_aiohttp(self, http: web.BaseRequest) -> web.StreamResponse:
        path, _, query = http.raw_path.partition("?")
        request = Request(
            method=http.method,
            path=path,
            query=query,
            headers=http.headers,
            body=await http.read(),
            peer=http.remote or "",
        )
        try:
            answer = await self._serve(request)
        except Cut:
            if http.transport is not None:
                http.transport.abort()
            return web.Response(status=500)  # goes nowhere: the connection is gone
        except HalfOpen:
            await asyncio.Event().wait()  # for ever, or until the client goes away
            raise
        return web.Response(
            status=answer.status,
            body=answer.body,
            headers=answer.headers,
            content_type=answer.content_type,
        )
