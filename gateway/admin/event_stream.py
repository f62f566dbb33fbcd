"""One listener's stream of server-sent events (WHATWG HTML, section 9.2), from a place in the log to its own end.

1. Read what is between the given place and now, batch by batch; join the tenant's feed there.
2. Tell what comes; every HEARTBEAT_S without anything a comment, with the number reached, so that one who
   listens for rare kinds does not come back from far behind.
3. Every RECHECK_S ask again whether the caller may still hear this. No, or nobody can say: the stream ends.

It ends when the process stops, when the listener is too slow, and when a piece is not taken within SEND_MAX_S.
However it ends, the next one resumes with `Last-Event-ID`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

import msgspec
import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway import metrics
from gateway.admin.event_feed import BATCH, Event, Feed, Heard, Listener
from gateway.admin.event_kinds import Group
from gateway.listener import GUARDED
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.scope import TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

HEARTBEAT_S = 15.0
RECHECK_S = 10.0
TICK_S = 1.0
SEND_MAX_S = 30.0
STREAMS_MAX = 20
"""Streams of one tenant in one process."""

RETRY = b"retry: 2000\n\n"
Recheck = Callable[[], Awaitable[frozenset[str]]]
"""What the caller may do now. Raises a PortcullisError where that is nothing, or nobody can say."""


class TooManyStreams(PortcullisError):
    """The tenant has as many streams as it may have."""

    code = "too_many_streams"


class Hub:
    """The feeds of one process, one for each tenant that somebody listens to."""

    def __init__(self, stop: asyncio.Event | None = None) -> None:
        """`stop` is set when the process ends: then every stream does."""
        self.stop = stop or asyncio.Event()
        self._feeds: dict[TenantID, Feed] = {}
        self._streams: dict[TenantID, int] = {}

    def check(self, tenant: TenantID) -> None:
        """Raises TooManyStreams. What is checked at once may exceed the limit by as many."""
        if self._streams.get(tenant, 0) >= STREAMS_MAX:
            raise TooManyStreams(f"this tenant has {STREAMS_MAX} streams open already: close one")

    def enter(self, database: Database, scope: TenantScope) -> Feed:
        tenant = scope.tenant_id
        self._streams[tenant] = self._streams.get(tenant, 0) + 1
        metrics.EVENT_STREAMS.inc()
        return self._feeds.setdefault(tenant, Feed(database, scope))

    def leave(self, tenant: TenantID) -> None:
        metrics.EVENT_STREAMS.dec()
        self._streams[tenant] -= 1
        if not self._streams[tenant]:
            del self._streams[tenant], self._feeds[tenant]


class Stream:
    """The bytes of one listener's answer. close() whatever happened; it may be closed twice."""

    def __init__(
        self,
        hub: Hub,
        database: Database,
        scope: TenantScope,
        *,
        after: int,
        groups: Collection[Group],
        actions: frozenset[str],
        recheck: Recheck,
    ) -> None:
        self._hub, self._database, self._scope = hub, database, scope
        self._at = after
        self._groups = frozenset(groups)
        self._actions = actions
        self._recheck = recheck
        self._feed: Feed | None = None
        self._listener: Listener | None = None
        self._checked_at = self._told_at = time.monotonic()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._feed = self._hub.enter(self._database, self._scope)
        yield RETRY
        try:
            async for piece in self._past(self._feed):
                yield piece
            async for piece in self._live():
                yield piece
            yield self._goodbye("the server stops" if self._hub.stop.is_set() else "too slow")
        except PortcullisError as error:  # not allowed any more, or the past cannot be read
            log.info("event_stream_ended", why=error.code)
            yield self._goodbye(error.code)

    def close(self) -> None:
        if self._feed is None:
            return
        if self._listener is not None:
            self._feed.leave(self._listener)
        self._feed = self._listener = None
        self._hub.leave(self._scope.tenant_id)

    async def _past(self, feed: Feed) -> AsyncIterator[bytes]:
        """Step 1. Ends with the listener joined, or when the process stops."""
        while not self._hub.stop.is_set():
            await self._check()
            records = await feed.read(self._at)
            for one in records:
                self._at = one.id
                if piece := self._piece(one):
                    yield piece
            # No await between the last look and joining: nothing can come between.
            if len(records) < BATCH:
                self._listener = feed.join(self._at)
                if self._listener is not None:
                    return

    async def _live(self) -> AsyncIterator[bytes]:
        """Steps 2 and 3, until the process stops or the listener was too slow."""
        listener = self._listener
        while listener is not None and not self._hub.stop.is_set():
            await self._check()
            if listener.waiting:
                one = listener.waiting.popleft()
                self._at = one.id
                if piece := self._piece(one):
                    yield piece
                continue
            if listener.too_slow:
                metrics.EVENT_STREAMS_DROPPED.inc()
                return
            self._at = listener.at
            if time.monotonic() - self._told_at >= HEARTBEAT_S:
                self._told_at = time.monotonic()
                yield b": alive\nid: %d\n\n" % self._at
            listener.news.clear()
            try:
                async with asyncio.timeout(TICK_S):
                    await listener.news.wait()
            except TimeoutError:
                pass

    async def _check(self) -> None:
        """Step 3, when it is time. Raises what the question raised."""
        if time.monotonic() - self._checked_at >= RECHECK_S:
            self._actions = await self._recheck()
            self._checked_at = time.monotonic()

    def _piece(self, one: Heard) -> bytes | None:
        """The event's bytes; None where it is not asked for, or not for this caller."""
        event = one.event
        if event is None or one.action not in self._actions:
            return None
        if self._groups and not self._groups.intersection(event.groups):
            return None
        self._told_at = time.monotonic()
        return encoded(event)

    def _goodbye(self, why: str) -> bytes:
        return b": %s; resume with Last-Event-ID\nid: %d\n\n" % (why.encode(), self._at)


def encoded(event: Event) -> bytes:
    """`id`, `event`, `data`: JSON on one line, for JSON has no raw line feeds."""
    data = msgspec.json.encode(event)
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.kind.encode(), data)


class LiveResponse(StreamingResponse):
    """A Stream as an answer: no piece waits longer than SEND_MAX_S for a client that does not read."""

    def __init__(self, stream: Any) -> None:
        headers = {**GUARDED, "cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(stream, media_type="text/event-stream", headers=headers)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Any) -> None:
            async with asyncio.timeout(SEND_MAX_S):
                await send(message)

        try:
            if scope["method"] == "HEAD":  # the headers of what would never end
                await sent(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                await sent({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await super().__call__(scope, receive, sent)
        except TimeoutError:
            metrics.EVENT_STREAMS_DROPPED.inc()
            log.info("event_stream_stalled", limit_s=SEND_MAX_S)
        finally:
            if isinstance(self._stream, Stream):
                self._stream.close()
