"""A whole ingress in this process: real PostgreSQL, real Redis, no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from redis.asyncio import Redis
from starlette.applications import Starlette

from gateway.hooks.accept import Acceptor
from gateway.hooks.listener import hooks_listener
from gateway.hooks.registry import Registry
from gateway.hooks.settings import HookSettings, RateSettings
from tenancy.clock import SystemClock
from tenancy.database import Database
from tests.fakes.hooks import BASE_URL, ReversingOpener

GENEROUS = RateSettings(per_minute=1_000_000, per_hour=1_000_000, redis_timeout_s=1.0)


class Ingress(msgspec.Struct):
    """The running parts."""

    app: Starlette
    acceptor: Acceptor
    registry: Registry
    opener: ReversingOpener


@asynccontextmanager
async def ingress(
    conninfo: str,
    redis_socket: str,
    settings: HookSettings | None = None,
    *,
    opener: ReversingOpener | None = None,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[Ingress]:
    redis = Redis(unix_socket_path=redis_socket)
    database = Database(conninfo, name="ingress", size=2, acquire_timeout_s=1.0)
    await database.open()
    opener = opener or ReversingOpener()
    async with hooks_listener(
        conninfo=conninfo,
        database=database,
        redis=redis,
        opener=opener,
        clock=SystemClock(),
        settings=settings or HookSettings(management_base_url=BASE_URL, rate=GENEROUS),
        poll_s=0.05,
        stop=stop,
    ) as listener:
        yield Ingress(listener.app, listener.acceptor, listener.registry, opener)
    await database.close()
    await redis.aclose()


class Reply(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes
    set_cookies: tuple[str, ...] = ()

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def http_scope(
    method: str, path: str, headers: dict[str, str], client: str = "192.0.2.7"
) -> dict[str, Any]:
    """What an ASGI server says of a request; `path` with its query."""
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "https",
        "http_version": "1.1",
        "server": ("localhost", 443),
        "client": (client, 4711),
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }


async def post(
    app: Any,
    path: str,
    headers: dict[str, str],
    body: bytes,
    *,
    method: str = "POST",
    client: str = "192.0.2.7",
    leaves: bool = False,
) -> Reply:
    """One request straight into the application.

    As a server does, it says `http.disconnect` only when the answer is complete: an answer that is
    streamed stops at that word. `leaves`: the client is gone as soon as the answer has begun; for
    answers that never end.
    """
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    over = asyncio.Event()

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        if whole or leaves:
            over.set()

    await app(http_scope(method, path, headers, client), receive, send)
    start = sent[0]
    return Reply(
        start["status"],
        {k.decode(): v.decode() for k, v in start["headers"]},
        b"".join(m.get("body", b"") for m in sent[1:]),
        tuple(v.decode() for k, v in start["headers"] if k == b"set-cookie"),
    )
