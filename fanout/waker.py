"""Tell the workers that something waits, without making anybody wait for it.

A bounded queue and one task. A Redis that fails or is slow opens a circuit for a pause, and
what comes meanwhile is dropped and counted: every worker's sweep finds the signal ≤ 1 s later.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
import structlog
from opentelemetry.trace import SpanKind
from redis.asyncio import Redis
from redis.exceptions import RedisError

from fanout import metrics
from fanout.trace import current, is_sampled, under
from fanout.wake import STREAM, Wake, publish

log = structlog.get_logger()


class WakeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, and numbers of wake-ups."""

    timeout_s: float = 0.25
    pause_s: float = 1.0
    queue_max: int = 10_000
    batch_max: int = 256


class Waker:
    """`wake()` never blocks and never raises."""

    def __init__(self, redis: Redis, settings: WakeSettings) -> None:
        self._redis = redis
        self._settings = settings
        self._queue: deque[Wake] = deque()
        self._something = asyncio.Event()
        self._closed_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="waker")

    async def stop(self) -> None:
        """Tell what waits, ≤ `timeout_s`. (No cancellation: redis-py has been seen to swallow it.)"""
        self._stopping = True
        self._something.set()
        if self._task is not None:
            await self._task

    def wake(self, items: Sequence[Wake]) -> None:
        if time.monotonic() < self._closed_until:
            metrics.WAKE_DROPPED.inc(len(items))
            return
        room = self._settings.queue_max - len(self._queue)
        self._queue.extend(items[:room])
        metrics.WAKE_DROPPED.inc(max(0, len(items) - room))
        self._something.set()

    async def _run(self) -> None:
        while not self._stopping:
            await self._something.wait()
            self._something.clear()
            while self._queue:
                size = min(self._settings.batch_max, len(self._queue))
                await self._tell([self._queue.popleft() for _ in range(size)])

    async def _tell(self, items: Sequence[Wake]) -> None:
        try:
            with ExitStack() as spans:
                async with asyncio.timeout(self._settings.timeout_s):
                    await publish(self._redis, [_begun(item, spans) for item in items])
        except (RedisError, OSError, TimeoutError) as error:
            metrics.WAKE_FAILURES.inc(len(items))
            metrics.WAKE_DROPPED.inc(len(self._queue))
            self._queue.clear()
            self._closed_until = time.monotonic() + self._settings.pause_s
            log.warning("wake_failed", error=repr(error), pause_s=self._settings.pause_s)


def _begun(item: Wake, spans: ExitStack) -> Wake:
    """The wake-up with a span of its own, under which the woken worker's hang; it ends with `spans`."""
    if not is_sampled(item.traceparent):
        return item
    said = {"messaging.system": "redis", "messaging.destination.name": STREAM, "wakes": item.kind}
    spans.enter_context(under(item.traceparent, "wake", said, kind=SpanKind.PRODUCER))
    return msgspec.structs.replace(item, traceparent=current(item.traceparent))
