"""What the tests post with behaves as a server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.integration.gateway.ingress import post


async def _pieces() -> AsyncIterator[bytes]:
    for number in range(3):
        await asyncio.sleep(0.001)
        yield b"%d" % number


async def _stream(request: Request) -> StreamingResponse:
    assert await request.body() == b"asked"
    return StreamingResponse(_pieces())


async def _leave(request: Request) -> StreamingResponse:
    """As an endpoint that watches whether its client is still there."""
    await request.body()
    assert not await request.is_disconnected()
    return StreamingResponse(_pieces())


async def test_a_streamed_answer_comes_whole() -> None:
    app = Starlette(
        routes=[Route(f"/{f.__name__}", f, methods=["POST"]) for f in (_stream, _leave)]
    )
    for path in ("/_stream", "/_leave"):
        assert (await post(app, path, {}, b"asked")).body == b"012"
