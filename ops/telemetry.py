"""Logs, traces and metrics of one process, set up once before anything else runs.

Logs are JSON lines on stderr with the trace id of the span they were written under. Spans go out
by OTLP/HTTP in batches, from their own thread, where an endpoint is set; otherwise trace ids are
made and carried on, and nothing is sent. An exporter that is away loses spans, never an order: what
waits for it is bounded.

Whether a trace is recorded is decided where it comes in, by the operator's `sample_ratio`; from there
on by what that decision says in the traceparent, in every process that continues it.
A field whose name speaks of a secret is masked: that is the second fence, not the first.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ops.settings import TelemetrySettings

Event = MutableMapping[str, Any]

SECRET_WORDS = ("secret", "password", "passwd", "pin", "api_key", "authorization", "private_key")
EXPORT_TIMEOUT_S = 5
LAST_SPANS_S = 2.0
"""How long an ending process waits for its exporter: a collector that is away holds up no restart."""
QUEUE_MOST = 8192
"""Spans that wait for the exporter; beyond, the oldest are lost. About 2 kB each."""


class AtTheDoor(Sampler):
    """Our own word where a request comes in, whatever its sender's traceparent says; within, its flag."""

    def __init__(self, ratio: float) -> None:
        self._door = TraceIdRatioBased(ratio)
        self._within = ParentBased(self._door)

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: SpanKind | None = None,
        *more: Any, **named: Any,
    ) -> SamplingResult:  # fmt: skip
        asked = self._door if kind is SpanKind.SERVER else self._within
        return asked.should_sample(parent_context, trace_id, name, kind, *more, **named)

    def get_description(self) -> str:
        return f"AtTheDoor({self._door.rate:g})"


def set_up(settings: TelemetrySettings, *, process: str, index: int = 0) -> TracerProvider:
    """Configure the whole process. The caller ends with `close`, which sends what waits."""
    set_up_logging(settings.log_level, process=process, index=index)
    sent = settings.otlp_endpoint is not None
    provider = TracerProvider(
        # What nobody receives is not recorded: ids are made all the same (7 µs a span, not 19).
        sampler=AtTheDoor(settings.sample_ratio) if sent else ALWAYS_OFF,
        resource=Resource.create(
            {
                "service.name": "portcullis",
                "service.namespace": process,
                "service.instance.id": f"{process}-{index}",
                "process.pid": os.getpid(),
            }
        ),
        shutdown_on_exit=False,
    )
    if settings.otlp_endpoint is not None:
        exporter = OTLPSpanExporter(settings.otlp_endpoint, timeout=EXPORT_TIMEOUT_S)
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE_MOST))
    trace.set_tracer_provider(provider)
    set_global_textmap(TraceContextTextMapPropagator())
    return provider


def close(provider: TracerProvider) -> None:
    """Send what waits, for at most LAST_SPANS_S; the exporter's thread ends with the process."""
    last = threading.Thread(target=provider.shutdown, daemon=True)
    last.start()
    last.join(LAST_SPANS_S)


def set_up_logging(level: str, *, process: str, index: int = 0) -> None:
    """structlog and the standard library's loggers, both as JSON lines on stderr."""
    number = logging.getLevelName(level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_process(process, index),
        _with_trace_id,
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(default=str)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def mask_secrets(_: Any, __: str, event: Event) -> Event:
    """Mask what a name gives away, one level deep in dicts too."""
    for key, value in event.items():
        if _names_a_secret(key):
            event[key] = "[masked]"
        elif isinstance(value, dict):
            event[key] = {k: "[masked]" if _names_a_secret(str(k)) else v for k, v in value.items()}
    return event


def _names_a_secret(key: str) -> bool:
    words = key.lower()
    return words == "pin" or any(word in words for word in SECRET_WORDS if word != "pin")


def _with_process(process: str, index: int) -> Any:
    name, pid = f"{process}-{index}", os.getpid()

    def add(_: Any, __: str, event: Event) -> Event:
        event.setdefault("process", name)
        event.setdefault("pid", pid)
        return event

    return add


def _with_trace_id(_: Any, __: str, event: Event) -> Event:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", f"{context.trace_id:032x}")
    return event
