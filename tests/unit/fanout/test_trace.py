"""Spans hang under the text that a row keeps, say ids alone, and are not made where nobody records."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fanout import trace
from fanout.heard import MOST, Heard
from fanout.wake import Wake
from tenancy.errors import Unavailable
from tenancy.ids import new_id
from tenancy.values import SignalID

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def test_a_span_hangs_under_the_text_of_a_row_and_what_follows_under_the_span(
    spans: InMemorySpanExporter,
):
    with trace.under(SAMPLED, "plan", {"signal_id": "s"}, begun_ns=7) as span:
        said = trace.current(SAMPLED)
        with trace.inside("order.submit"):
            pass
    submit, plan = spans.get_finished_spans()
    assert (plan.name, plan.start_time, parent_of(plan)) == ("plan", 7, 0xB7AD6B7169203331)
    assert said == f"00-{TRACE}-{span.get_span_context().span_id:016x}-01"
    assert parent_of(submit) == span.get_span_context().span_id
    assert otel.get_current_span() is otel.INVALID_SPAN


def test_where_nobody_records_there_is_the_trace_id_for_the_logs_and_nothing_else(
    spans: InMemorySpanExporter,
):
    with trace.under(UNSAMPLED, "plan") as span, trace.inside("order.submit") as within:
        assert not span.is_recording()
        assert not within.is_recording()
        assert trace.current("") == UNSAMPLED
    trace.told(UNSAMPLED, "outcome", {}, begun_ns=1)
    assert spans.get_finished_spans() == ()
    assert otel.get_current_span() is otel.INVALID_SPAN


def test_an_order_beyond_the_first_ones_has_no_span_and_nothing_under_it_has(
    spans: InMemorySpanExporter,
):
    with trace.under(SAMPLED, "order.send", wanted=False), trace.inside("order.submit"):
        assert trace.trace_id(trace.current("")) == TRACE
    assert spans.get_finished_spans() == ()


def test_an_error_is_its_code_and_its_text_stays_with_us(spans: InMemorySpanExporter):
    with pytest.raises(Unavailable), trace.under(SAMPLED, "plan"):
        raise Unavailable("account 1234 of Acme has 5 BTC")
    with pytest.raises(KeyError), trace.under(SAMPLED, "plan"), trace.inside("order.submit"):
        raise KeyError("Acme")
    for span in spans.get_finished_spans():
        assert "Acme" not in span.to_json()
    assert [span.status.description for span in spans.get_finished_spans()] == [
        "unavailable", "KeyError", "KeyError",
    ]  # fmt: skip


def test_ids_are_text_numbers_stay_and_what_is_not_known_is_left_out(spans: InMemorySpanExporter):
    name = uuid4()
    trace.told(SAMPLED, "x", {"id": name, "n": 3, "no": None}, begun_ns=1, error="rejected")
    (span,) = spans.get_finished_spans()
    assert span.attributes == {"id": str(name), "n": 3}
    assert (span.start_time, span.status.description) == (1, "rejected")


async def test_a_task_that_serves_many_names_none_of_them(spans: InMemorySpanExporter):
    async def named() -> bool:
        return otel.get_current_span().get_span_context().is_valid

    with trace.under(SAMPLED, "order.send"):
        assert await asyncio.create_task(named())
        assert not await asyncio.create_task(named(), context=trace.outside())
        assert await named()  # and it is still current here


@pytest.mark.parametrize("text", ["", "00", "nonsense", UNSAMPLED, SAMPLED + "1"])
def test_only_a_whole_text_with_its_flag_set_is_recorded(text: str):
    assert not trace.is_sampled(text)
    assert trace.is_sampled(SAMPLED)


OTHER = "00-" + "1" * 32 + "-00f067aa0ba902b7-01"
WAKE = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("said", "parent"),
    [
        (WAKE, WAKE),
        (OTHER, SAMPLED),
        (WAKE.upper(), SAMPLED),
        (WAKE + "\n", SAMPLED),
        ("", SAMPLED),
    ],
)
def test_a_wake_up_is_the_parent_for_a_row_of_its_own_trace_alone(said: str, parent: str):
    heard, signal = Heard(), SignalID(new_id())
    heard.note(Wake("signal", signal, 1, said))
    assert heard.parent("plan", signal, SAMPLED) == SAMPLED  # of another kind
    assert heard.parent("signal", signal, SAMPLED) == parent
    assert heard.parent("signal", signal, SAMPLED) == SAMPLED  # once


def test_wake_ups_that_nobody_follows_are_forgotten_oldest_first():
    heard = Heard()
    signals = [SignalID(new_id()) for _ in range(MOST + 1)]
    for signal in signals:
        heard.note(Wake("signal", signal, 1, WAKE))
    assert repr(heard) == f"Heard({MOST})"
    assert heard.parent("signal", signals[0], SAMPLED) == SAMPLED
    assert heard.parent("signal", signals[1], SAMPLED) == WAKE
