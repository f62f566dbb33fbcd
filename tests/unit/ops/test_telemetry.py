"""A log line is one JSON object, knows its trace, and tells no secret."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from ops import telemetry
from ops.telemetry import AtTheDoor

SCRIPT = """
import logging, structlog
from opentelemetry import trace
from ops.settings import TelemetrySettings
from ops.telemetry import set_up
provider = set_up(TelemetrySettings(), process="worker", index=3)
with trace.get_tracer("t").start_as_current_span("s") as span:
    structlog.get_logger().info("placed", api_key="k-1", request={"Authorization": "k-2"}, pin="k-3", spinning=1)
    print(f"{span.get_span_context().trace_id:032x}")
logging.getLogger("library").warning("from a %s", "library")
try:
    raise ValueError("broken")
except ValueError:
    structlog.get_logger().exception("failed")
provider.shutdown()
"""


def lines() -> tuple[str, str, list[dict[str, object]]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr, [json.loads(line) for line in done.stderr.splitlines()]


def test_each_line_is_json_with_process_and_trace() -> None:
    trace_id, _, (placed, library, failed) = lines()
    assert placed["event"] == "placed"
    assert placed["process"] == "worker-3"
    assert placed["trace_id"] == trace_id
    assert library["event"] == "from a library"
    assert "ValueError: broken" in str(failed["exception"])


def test_fields_that_name_a_secret_are_masked() -> None:
    _, text, (placed, *_) = lines()
    assert "k-" not in text
    assert placed["spinning"] == 1


@pytest.mark.parametrize(("ratio", "sent_flag", "recorded"), [(1.0, 0, 1), (0.0, 1, 0)])
def test_whether_a_trace_is_recorded_is_ours_to_say_and_not_the_senders(
    ratio: float, sent_flag: int, recorded: int
) -> None:
    """What is decided at the door holds in the flags that every process after it reads."""
    kept, provider = (
        InMemorySpanExporter(),
        TracerProvider(sampler=AtTheDoor(ratio), shutdown_on_exit=False),
    )
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("test")

    def under(context: SpanContext, name: str, kind: SpanKind) -> SpanContext:
        parent = trace.set_span_in_context(NonRecordingSpan(context))
        with tracer.start_as_current_span(name, context=parent, kind=kind) as span:
            return span.get_span_context()

    theirs = SpanContext(7, 8, True, TraceFlags(sent_flag))
    ours = under(theirs, "hook", SpanKind.SERVER)
    within = under(ours, "plan", SpanKind.CONSUMER)
    assert (ours.trace_id, within.trace_id) == (7, 7)
    assert [int(ours.trace_flags), int(within.trace_flags)] == [recorded, recorded]
    assert [span.name for span in kept.get_finished_spans()] == ["hook", "plan"] * recorded


def test_a_collector_that_hangs_does_not_hold_up_the_end_of_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = threading.Event()

    class Hangs(SpanExporter):
        def shutdown(self) -> None:
            free.wait(30)

    monkeypatch.setattr(telemetry, "LAST_SPANS_S", 0.05)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Hangs()))
    begun = time.monotonic()
    telemetry.close(provider)
    took_s = time.monotonic() - begun
    free.set()
    assert took_s < 20
