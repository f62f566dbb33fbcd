"""HTTP for the gateway and the control API on one port: aiohttp's low-level server, no router.

No access log, no middleware, no Application: the simulator must not be what limits a load test.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

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
            return _Ready(self.control.answer(request))
        try:
            return _Ready(await self.gateway.answer(request))
        except Cut:
            if http.transport is not None:
                http.transport.abort()
            return web.Response(status=500)  # goes nowhere: the connection is gone


class _Ready(web.StreamResponse):
    """A whole answer, written as one piece.

    aiohttp's own Response spends about 40 µs on headers, Date, Server and payload
    machinery that this server has no use for; this one writes status line, headers and body.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer
        self._lasting = True

    @property
    def keep_alive(self) -> bool | None:
        return self._lasting

    async def prepare(self, request: web.BaseRequest) -> None:
        self._lasting = request.keep_alive
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client has gone")
        request.transport.write(_bytes(self._answer, lasting=self._lasting))

    async def write_eof(self, data: bytes = b"") -> None:
        """All was written by prepare()."""


_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}


def _bytes(answer: Answer, *, lasting: bool) -> bytes:
    head = _STATUS_LINES[answer.status]
    for name, value in answer.headers.items():
        head += f"{name}: {value}\r\n"
    if not lasting:
        head += "Connection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(answer.body)}\r\n\r\n"
    return head.encode("ascii") + answer.body
