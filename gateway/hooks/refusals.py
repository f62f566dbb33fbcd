"""The audit record and the log line of a refusal, rate-limited: so many a second for each hook.

What is not recorded is counted, and the next record and line of the hook say how many there were. A
request to no hook of ours has a line and no record, and all of these share one place in the table,
which is therefore as bounded as the hooks are. What failed here (5xx) has a line each: those are
signals that somebody else will ask about, and the load on them is bounded by the quotas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from gateway import metrics
from gateway.hooks.records import Note, refused
from gateway.hooks.registry import Hook
from tenancy.clock import Clock

log = structlog.get_logger()


class Refusals:
    """`note` takes a note without waiting, and says whether it did."""

    def __init__(self, note: Callable[[Note], bool], clock: Clock, *, per_s: float) -> None:
        self._note = note
        self._clock = clock
        self._gap_s = 1 / per_s
        self._last: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def tell(
        self, hook: Hook | None, trace_id: str, facts: dict[str, Any], line: dict[str, Any]
    ) -> None:
        """Record and log, or count. `line`: what the log says more. Never waits, never raises."""
        name = hook.hook_id if hook is not None else ""
        now = self._clock.monotonic()
        last = self._last.get(name)
        if last is not None and now - last < self._gap_s:
            self._count(name)
            return
        suppressed = self._suppressed.get(name, 0)
        if hook is not None:
            note = refused(
                hook,
                facts=facts,
                suppressed=suppressed,
                trace_id=trace_id,
                at_ns=self._clock.now_ns(),
            )
            if not self._note(note):
                self._count(name)
                return
        self._last[name] = now
        self._suppressed.pop(name, None)
        log.info("signal_refused", trace_id=trace_id, suppressed=suppressed, **facts, **line)

    def failed(self, trace_id: str, facts: dict[str, Any], line: dict[str, Any]) -> None:
        """The line of what failed here. It has no record: the store may be what failed."""
        log.warning("signal_failed", trace_id=trace_id, **facts, **line)

    def _count(self, name: str) -> None:
        if name:
            metrics.REFUSALS_UNRECORDED.inc()
        self._suppressed[name] = self._suppressed.get(name, 0) + 1
