"""W3C Trace Context at the two doors: one trace id from the webhook to the broker's answer.

A sender's own traceparent is continued if it is valid, else a new trace begins. Its `sampled` flag is
not asked: what is recorded is for the operator to say (ops/telemetry.py), and not for who sends. What is
stored with the signal is the context of our `hook` span, so that the worker's spans hang under it.

Every answer names its trace (`Portcullis-Trace-Id`): the public listener's by its own code, which has
a repeat name the first one's; the management listener's by `Traced`, which is around all of it.
Source: W3C Trace Context level 1, section 3.2.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from opentelemetry import trace
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanout.trace import within

HEADER = b"portcullis-trace-id"
QUIET = ("/healthz", "/readyz", "/metrics", "/console/static/")
"""What machines ask all day, and files: no spans."""

_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_tracer = trace.get_tracer("portcullis")


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> SpanContext | None:
    """What the sender says of its trace; None where it says nothing, twice, or nonsense."""
    values = [value for name, value in headers if name == b"traceparent"]
    if len(values) != 1 or _TRACEPARENT.fullmatch(values[0]) is None:
        return None
    _, trace_id, span_id, flags = values[0].decode().split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))


def start_server_span(name: str, parent: SpanContext | None) -> Span:
    """The span of this request; its context is valid even where tracing was never set up."""
    context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
    span = _tracer.start_span(name, context=context, kind=SpanKind.SERVER)
    made = span.get_span_context()
    if made.is_valid and (parent is None or made.span_id != parent.span_id):
        return span
    trace_id = parent.trace_id if parent else int.from_bytes(secrets.token_bytes(16), "big") or 1
    span_id = int.from_bytes(secrets.token_bytes(8), "big") or 1
    return NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(0)))


def traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_id_of(traceparent_text: str) -> str:
    """The 32 hex characters between the first two dashes."""
    return traceparent_text.split("-")[1]


class Traced:
    """An ASGI application, each request of which has a span, and a header that names its trace.

    Of an answer that goes on for hours (live events) the span ends with the first byte.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(QUIET):
            await self._app(scope, receive, send)
            return
        span = start_server_span(self._name, parent_of(scope["headers"]) or _around())
        named = f"{span.get_span_context().trace_id:032x}".encode()

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, named)]
                _answered(span, message["status"])
            await send(message)

        with within(span):
            await self._app(scope, receive, tell)


def _around() -> SpanContext | None:
    """The span that we are in already: a page of the console asks operations in its own process."""
    current = trace.get_current_span().get_span_context()
    return current if current.is_valid else None


def _answered(span: Span, status: int) -> None:
    """The status, and then it is over. Which operation it was, the pipeline says."""
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
    span.end()
