"""All parts of the public listener put together, started and stopped in the right order.

1. The hooks are loaded (PostgreSQL must answer once; the signer need not).
2. The waker and the writer start.
3. `app` may be served.

Stopping: the server first lets its requests end, then the writer commits what waits, then the
waker tells what it still has, then the registry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import Redis
from starlette.applications import Starlette

from fanout.waker import Waker
from gateway.hooks.accept import Acceptor
from gateway.hooks.app import HookEndpoint, hooks_app
from gateway.hooks.registry import Registry, SecretOpener
from gateway.hooks.settings import HookSettings
from gateway.hooks.waiting import Waiting
from gateway.rate import Rates
from tenancy.clock import Clock
from tenancy.database import Database

STALE_HOOKS_S = 10.0


class HooksListener:
    """The running parts. `app` is what Hypercorn serves."""

    def __init__(self, app: Starlette, acceptor: Acceptor, registry: Registry) -> None:
        self.app = app
        self.acceptor = acceptor
        self.registry = registry

    def checks(self) -> Mapping[str, Callable[[], Awaitable[str]]]:
        """For readyz: each says a detail, or raises."""
        return {"keep": self._keep_check, "hooks": self._hooks_check}

    async def _keep_check(self) -> str:
        if not self.acceptor.connected:
            raise RuntimeError("no database connection to keep signals with")
        return repr(self.acceptor)

    async def _hooks_check(self) -> str:
        checked_at = self.registry.checked_at
        if checked_at is None or time.monotonic() - checked_at > STALE_HOOKS_S:
            raise RuntimeError(f"the hooks were not compared for {STALE_HOOKS_S:g} s")
        return repr(self.registry)


@asynccontextmanager
async def hooks_listener(
    *,
    conninfo: str,
    database: Database,
    redis: Redis,
    opener: SecretOpener,
    clock: Clock,
    settings: HookSettings,
    poll_s: float = 0.5,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[HooksListener]:
    """`conninfo` and the open `database` connect as portcullis_ingress. Raises Unavailable.

    `stop`: the process ends; senders that wait for an outcome are answered.
    """
    rate = settings.rate
    rates = Rates(redis, redis_timeout_s=rate.redis_timeout_s, redis_pause_s=rate.redis_pause_s)
    registry = Registry(database, opener, rate=rate, poll_s=poll_s)
    waker = Waker(redis, settings.wake)
    acceptor = Acceptor(conninfo, wake=waker.wake, settings=settings.keep)
    waiting = Waiting(database, settings.wait, stop)
    endpoint = HookEndpoint(registry, rates, acceptor, waiting, clock=clock, settings=settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(waiting.stop)
        for part in (registry, waker, acceptor):
            stack.push_async_callback(part.stop)
            await part.start()
        yield HooksListener(hooks_app(endpoint), acceptor, registry)
