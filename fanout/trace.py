"""W3C Trace Context as it is kept in rows, and spans that cost next to nothing where nobody records them.

One text leads from hook to broker: `00-<trace id>-<span id>-<flags>`. Whether a trace is recorded is
decided once, at the hook (ops/telemetry.py), and stands in the flags: every process after it reads
them there, and asks nobody. Where they say no, a span is no more than the trace id for the logs.

- `under`   a span that hangs under a text: of a row, or of another process.
- `inside`  a span under the one that is current; nothing where none is recorded.
- `told`    a span after the fact, where only its end says whether it is worth one.

A span says ids and codes. It says no price, no quantity, no symbol, no body and no error's text, for
who reads traces need not be who may read a customer's data. Of one signal's orders the first
`ORDERS_TRACED` have spans of their own, and beyond them those that did not go well: a fan-out to ten
thousand accounts stays a trace that a person can open. Source: W3C Trace Context level 1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import Context as TaskContext
from contextvars import copy_context
from functools import lru_cache
from types import TracebackType

from opentelemetry import context as current_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ORDERS_TRACED = 100
"""Orders of one signal with spans of their own, in fan-out order."""
ASKS_TRACED = 5
"""Questions about one order in doubt that have spans; it may be asked about for days."""

Attributes = Mapping[str, object]

_PROPAGATOR = TraceContextTextMapPropagator()
_SET = frozenset("13579bdf")  # the last hex digit of flags whose lowest bit, `sampled`, is set
_tracer = trace.get_tracer("portcullis")


def trace_id(traceparent: str) -> str:
    """The 32 hex digits of `00-<trace id>-<span id>-<flags>`."""
    return traceparent.split("-")[1] if traceparent.count("-") == 3 else ""


def is_sampled(traceparent: str) -> bool:
    """Whether somebody records this trace."""
    return traceparent[54:] in _SET


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


def outside() -> TaskContext:
    """The context for a task that serves many traces: it must not name the one that began it."""
    made = copy_context()
    made.run(current_context.attach, Context())
    return made


def now_ns() -> int:
    """When it is, as spans say it: nanoseconds since 1970."""
    return time.time_ns()


class under:
    """A span under `traceparent`, current within the block; not recorded: its trace id for the logs.

    `begun_ns`: where it began before it was known whose trace it is. `wanted`: False records nothing.
    """

    __slots__ = (
        "_attributes",
        "_begun_ns",
        "_kind",
        "_name",
        "_span",
        "_token",
        "_traceparent",
        "_wanted",
    )

    def __init__(
        self,
        traceparent: str,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        begun_ns: int | None = None,
        wanted: bool = True,
    ) -> None:
        self._traceparent = traceparent
        self._name = name
        self._attributes = attributes
        self._kind = kind
        self._begun_ns = begun_ns
        self._wanted = wanted

    def __enter__(self) -> Span:
        context = parent(self._traceparent)
        self._span: Span | None = None
        if self._wanted and is_sampled(self._traceparent):
            self._span = _tracer.start_span(
                self._name, context, self._kind, _plain(self._attributes), start_time=self._begun_ns
            )
            context = trace.set_span_in_context(self._span, context)
        self._token = current_context.attach(context)
        return self._span or trace.get_current_span(context)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        current_context.detach(self._token)
        if self._span is not None:
            _end(self._span, error)


class within:
    """A span that began elsewhere, current within the block; it ends with it."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token = current_context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        current_context.detach(self._token)
        if self._span.is_recording():
            _end(self._span, error)


class inside:
    """A span under the current one, current within the block; nothing where that is not recorded."""

    __slots__ = ("_attributes", "_kind", "_name", "_span", "_token")

    def __init__(
        self, name: str, attributes: Attributes | None = None, *, kind: SpanKind = SpanKind.INTERNAL
    ) -> None:
        self._name = name
        self._attributes = attributes
        self._kind = kind

    def __enter__(self) -> Span:
        around = trace.get_current_span()
        self._span: Span | None = None
        if not around.is_recording():
            return trace.INVALID_SPAN
        self._span = _tracer.start_span(
            self._name, kind=self._kind, attributes=_plain(self._attributes)
        )
        self._token = current_context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._span is not None:
            current_context.detach(self._token)
            _end(self._span, error)


def unseen(traceparent: str) -> under:
    """The trace id for the logs, and no span for anything within."""
    return under(traceparent, "", wanted=False)


def told(
    traceparent: str,
    name: str,
    attributes: Attributes,
    *,
    begun_ns: int,
    kind: SpanKind = SpanKind.INTERNAL,
    error: str = "",
) -> None:
    """A span that began at `begun_ns` and ends now; `error`: the code of what went wrong."""
    if not is_sampled(traceparent):
        return
    span = _tracer.start_span(
        name, parent(traceparent), kind, _plain(attributes), start_time=begun_ns
    )
    if error:
        span.set_status(Status(StatusCode.ERROR, error))
    span.end()


def say(span: Span, attributes: Attributes | None) -> None:
    """Set these, ids as text; None is left out. Costs nothing where the span is not recorded."""
    if attributes is not None and span.is_recording():
        span.set_attributes(_plain(attributes))


def _plain(attributes: Attributes | None) -> dict[str, bool | int | float | str]:
    return {
        name: value if isinstance(value, bool | int | float) else str(value)
        for name, value in (attributes or {}).items()
        if value is not None
    }


def _end(span: Span, error: BaseException | None) -> None:
    """What was raised is a code here: its text may say what belongs to the customer alone."""
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, getattr(error, "code", type(error).__name__)))
    span.end()
