"""An order's spans in the worker: each step once, under the right one, also where it went wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fanout import lanes

pytestmark = pytest.mark.stack

DONE = "SELECT count(*) FROM signal_outcomes WHERE done_at IS NOT NULL"


def links(kept: InMemorySpanExporter) -> Counter[tuple[str, str]]:
    """How often which kind of span hangs under which; `row`: under the text that the signal's row keeps."""
    found = kept.get_finished_spans()
    names = {span.context.span_id: span.name for span in found if span.context}
    above = [(span.name, span.parent.span_id if span.parent else 0) for span in found]
    return Counter((name, names.get(parent, "row")) for name, parent in above)


async def test_a_rejected_order_has_each_step_once(bench: Any, spans: InMemorySpanExporter):
    await bench.set_up(1)
    bench.broker.faults.append("reject")
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(DONE, 1)
    assert links(spans) == {
        ("plan", "row"): 1,
        ("intend", "plan"): 1,
        ("order.send", "intend"): 1,
        ("order.submit", "order.send"): 1,
        ("order.learn", "order.send"): 1,
        ("outcome", "row"): 1,
    }
    said = {span.name: dict(span.attributes or {}) for span in spans.get_finished_spans()}
    assert said["plan"]["found_by"] == "sweep"
    assert said["order.submit"]["outcome"] == "Rejected"
    assert said["order.send"]["state"] == "rejected"
    assert said["outcome"]["accounts.failed"] == 1


async def test_beyond_the_first_orders_only_what_went_wrong_has_a_span(
    bench: Any, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lanes, "ORDERS_TRACED", 1)
    await bench.set_up(3)
    bench.broker.faults += ["reject"] * 3
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(DONE, 1)
    seen = links(spans)
    assert seen["order.send", "intend"] == 1
    assert seen["order.submit", "order.send"] == 1
    assert seen["order.submit", "intend"] == 2
