"""A customer's receiver of webhooks: a real HTTPS server that does as it is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from tests.fixtures.tls import Certificate

Mood = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Arrival(msgspec.Struct):
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)


class Receiver:
    """`moods` are used up one a request; afterwards every answer is 204."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.moods: list[Mood | int] = []
        self.always: Mood | int = 204
        self.url = ""

    @property
    def ids(self) -> list[str]:
        return [arrival.id for arrival in self.arrivals]

    async def take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.arrivals.append(Arrival(headers, await request.read()))
        mood = self.moods.pop(0) if self.moods else self.always
        return (
            web.Response(status=mood, text="so be it")
            if isinstance(mood, int)
            else await mood(request)
        )

    async def wait_for(self, count: int, within_s: float = 10.0) -> list[Arrival]:
        async with asyncio.timeout(within_s):
            while True:
                if len(self.arrivals) >= count:
                    return self.arrivals
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiver(certificate: Certificate | None) -> AsyncIterator[Receiver]:
    """Without a certificate it speaks plain HTTP."""
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certfile, certificate.keyfile)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"{'http' if certificate is None else 'https'}://localhost:{port}/in"
    try:
        yield made
    finally:
        await runner.cleanup()
