"""An OTLP/HTTP receiver: a real server that keeps the spans which the product's processes send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Seen(msgspec.Struct, frozen=True):
    """One span as it came. `parent_id` is empty of a root."""

    process: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begun_ns: int
    ended_ns: int
    said: dict[str, Any]


class Collector:
    """`url` is the OTLP endpoint; `spans` what has come."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Seen] = []
        self._more = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        batch = ExportTraceServiceRequest.FromString(await request.read())
        for resource in batch.resource_spans:
            process = _said(resource.resource.attributes)["service.instance.id"]
            self.spans += [
                Seen(
                    process, span.name, span.trace_id.hex(), span.span_id.hex(),
                    span.parent_span_id.hex(), span.start_time_unix_nano, span.end_time_unix_nano,
                    _said(span.attributes),
                )
                for scope in resource.scope_spans
                for span in scope.spans
            ]  # fmt: skip
        self._more.set()
        return web.Response()

    async def trace(
        self, trace_id: str, whole: Callable[[list[Seen]], bool], within_s: float = 15.0
    ) -> list[Seen]:
        """The spans of that trace, once `whole` says that they are all here; they travel in batches."""
        async with asyncio.timeout(within_s):
            while not whole(found := [span for span in self.spans if span.trace_id == trace_id]):
                self._more.clear()
                await self._more.wait()
        return found


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """A collector on a port of loopback."""
    made, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
        yield made
    finally:
        await runner.cleanup()


def _said(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in attributes}
