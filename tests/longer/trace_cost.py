"""`python -m tests.longer.trace_cost`: what spans cost a hook and an order, recorded and not. CPU time, µs."""

from __future__ import annotations

import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Sequence

import click
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from fanout.trace import inside, now_ns, say, under, within
from gateway.trace import start_server_span
from ops.telemetry import QUEUE_MOST, AtTheDoor

ROUNDS, REPEATS = 5000, 9
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"


class Nowhere(SpanExporter):
    """Takes every span and sends none."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def hook() -> None:
    """As gateway/hooks/app.py does it."""
    with within(start_server_span("hook", None)), inside("keep"):
        pass


def order(text: str, *, wanted: bool = True) -> Callable[[], None]:
    """As lanes, carrier, adapter and learner do it for one order that is filled at once."""

    def one() -> None:
        ids = {"signal_id": 1, "account_id": 2, "cl_ord_id": "a.1", "broker": "b", "attempt": 1}
        with under(text, "order.send", ids, wanted=wanted) as span:
            now_ns()
            with inside("order.submit", {"cl_ord_id": "a.1", "broker": "b"}):
                with inside("hsm.sign", {"scheme": "x"}):
                    pass
                with inside("broker.request", {"method": "POST"}):
                    pass
            now_ns()
            with inside("order.learn"):
                pass
            say(span, {"state": "filled"})

    return one


@click.command()
@click.option("--recorded/--unrecorded", default=None, help="Only one of the two, in this process.")
def main(recorded: bool | None) -> None:
    """Two processes, for a process has one provider."""
    if recorded is None:
        for flag in ("--unrecorded", "--recorded"):
            subprocess.run([sys.executable, "-m", "tests.longer.trace_cost", flag], check=True)
        return
    provider = TracerProvider(
        sampler=AtTheDoor(1.0) if recorded else ALWAYS_OFF, shutdown_on_exit=False
    )
    if recorded:
        provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=QUEUE_MOST))
    otel.set_tracer_provider(provider)
    text = TRACE + str(int(recorded))
    for name, what in (
        ("hook", hook),
        ("order", order(text)),
        ("order beyond the first 100", order(text, wanted=False)),
    ):
        taken = timeit.repeat(what, number=ROUNDS, repeat=REPEATS, timer=time.process_time)
        print(
            f"{'recorded' if recorded else 'not recorded':13} {name:27} {min(taken) / ROUNDS * 1e6:6.1f} µs"
        )
    provider.shutdown()


if __name__ == "__main__":
    main()
