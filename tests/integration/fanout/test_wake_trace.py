"""The trace goes through Redis: what a worker hears hangs its work under the wake-up's own span."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis

from fanout.heard import Heard
from fanout.wake import STREAM, Wake, read
from fanout.waker import Waker, WakeSettings
from tenancy.ids import new_id
from tenancy.values import SignalID

pytestmark = pytest.mark.stack

KEPT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = KEPT[:-1] + "0"


async def test_a_wake_up_carries_its_span_and_the_worker_finds_it(
    redis_client: Redis, spans: InMemorySpanExporter
):
    first, second = SignalID(new_id()), SignalID(new_id())
    waker = Waker(redis_client, WakeSettings())
    await waker.start()
    waker.wake([Wake("signal", first, 3, KEPT), Wake("plan", second, 4, UNSAMPLED)])
    while len(entries := await redis_client.xrange(STREAM)) < 2:
        await redis_client.xread({STREAM: entries[-1][0] if entries else "0"}, block=1000)
    await waker.stop()
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert (span.name, span.parent.span_id) == ("wake", 0xB7AD6B7169203331)
    heard = Heard()
    told = [read(fields) for _, fields in entries]
    assert [(wake.id, wake.part) for wake in told if wake] == [(first, 3), (second, 4)]
    for wake in told:
        assert wake is not None
        heard.note(wake)
    assert heard.parent("signal", first, KEPT) == f"{KEPT[:36]}{span.context.span_id:016x}-01"
    assert heard.parent("plan", second, UNSAMPLED) == UNSAMPLED
    assert b"traceparent" not in entries[1][1]  # nothing more travels where nobody records


async def test_a_wake_up_that_redis_did_not_take_is_an_error_in_the_trace(
    spans: InMemorySpanExporter,
):
    waker = Waker(Redis(unix_socket_path="/nobody/listens/here"), WakeSettings(timeout_s=0.2))
    await waker.start()
    waker.wake([Wake("signal", SignalID(new_id()), 3, KEPT)])
    for _ in range(1000):
        if found := spans.get_finished_spans():
            break
        await asyncio.sleep(0.01)
    await waker.stop()
    assert [span.status.is_ok for span in found] == [False]
