"""W3C Trace Context as it is kept in rows: one text from hook to broker."""

from __future__ import annotations

from functools import lru_cache

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()


def trace_id(traceparent: str) -> str:
    """The 32 hex digits of `00-<trace id>-<span id>-<flags>`."""
    return traceparent.split("-")[1] if traceparent.count("-") == 3 else ""


@lru_cache(maxsize=1024)
def parent(traceparent: str) -> Context:
    """The context in which a span continues that trace: all orders of a signal share it."""
    return _PROPAGATOR.extract({"traceparent": traceparent})


def current(fallback: str) -> str:
    """The traceparent of the span we are in; `fallback` where none is."""
    carrier: dict[str, str] = {}
    if trace.get_current_span().get_span_context().is_valid:
        _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", fallback)
