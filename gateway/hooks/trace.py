"""W3C Trace Context at the door: one trace id from the webhook to the broker's answer.

A sender's own traceparent is continued if it is valid, else a new trace begins. What is stored
with the signal is the context of our `hook` span, so that the worker's spans hang under it.
Source: W3C Trace Context level 1, section 3.2.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_tracer = trace.get_tracer(__name__)


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> SpanContext | None:
    """What the sender says of its trace; None where it says nothing, twice, or nonsense."""
    values = [value for name, value in headers if name == b"traceparent"]
    if len(values) != 1 or _TRACEPARENT.fullmatch(values[0]) is None:
        return None
    _, trace_id, span_id, flags = values[0].decode().split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))


def start_hook_span(parent: SpanContext | None) -> tuple[Span, SpanContext]:
    """The span of this request, and a context that is valid even where tracing is off."""
    context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
    span = _tracer.start_span("hook", context=context, kind=trace.SpanKind.SERVER)
    made = span.get_span_context()
    if made.is_valid and (parent is None or made.span_id != parent.span_id):
        return span, made
    trace_id = parent.trace_id if parent else int.from_bytes(secrets.token_bytes(16), "big") or 1
    span_id = int.from_bytes(secrets.token_bytes(8), "big") or 1
    flags = parent.trace_flags if parent else TraceFlags(0)
    return span, SpanContext(trace_id, span_id, False, flags)


def traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_id_of(traceparent_text: str) -> str:
    """The 32 hex characters between the first two dashes."""
    return traceparent_text.split("-")[1]
