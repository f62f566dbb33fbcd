"""HTTP for the gateway and the control API on one port: aiohttp's low-level server, no router.

No access log, no middleware, no Application: the simulator must not be what limits a load test.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.http import HttpVersion11

from loadtest.exchanges.gateio.control import PREFIX as CONTROL_PREFIX
from loadtest.exchanges.gateio.control import Control
from loadtest.exchanges.gateio.exchange import Exchange
from loadtest.exchanges.gateio.gateway import Answer, Cut, Gateway, Request


class Simulator:
    """A venue listening on a port of its own."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self.exchange = exchange or Exchange()
        self.gateway = Gateway(self.exchange)
        self.control = Control(self.gateway)
        self._server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.5)
        self.url = ""

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns the URL. Port 0 takes a free one."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=4096)
        await site.start()
        address = self._runner.addresses[0]
        self.url = f"http://{address[0]}:{address[1]}"
        return self.url

    async def stop(self) -> None:
        """Close the listener and all connections."""
        await self._runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        assert http.version <= HttpVersion11
        path, _, query = http.raw_path.partition("?")
        request = Request(
            method=http.method,
            path=path,
            query=query,
            headers=http.headers,
            body=await http.read() if http.body_exists else b"",
            peer=http.remote or "",
        )
        if path.startswith(CONTROL_PREFIX):
            return _response(self.control.answer(request))
        try:
            return _response(await self.gateway.answer(request))
        except Cut:
            if http.transport is not None:
                http.transport.abort()
            return web.Response(status=500)  # goes nowhere: the connection is gone


def _response(answer: Answer) -> web.Response:
    return web.Response(
        status=answer.status,
        body=answer.body,
        headers=answer.headers,
        content_type="application/json",
    )
