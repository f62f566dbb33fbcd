"""A log line is one JSON object, knows its trace, and tells no secret."""

from __future__ import annotations

import json
import subprocess
import sys

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
