"""The audit record of a refusal, itself rate-limited: so many a second for each hook.

What is not recorded is counted, and the next record of the hook says how many there were. Only
hooks that exist come here, so the table is as bounded as the hooks are.
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

    def tell(self, hook: Hook, trace_id: str, facts: dict[str, Any]) -> None:
        """Record or count. Never waits, never raises."""
        now = self._clock.monotonic()
        last = self._last.get(hook.hook_id)
        if last is not None and now - last < self._gap_s:
            self._count(hook)
            return
        note = refused(
            hook,
            facts=facts,
            suppressed=self._suppressed.get(hook.hook_id, 0),
            trace_id=trace_id,
            at_ns=self._clock.now_ns(),
        )
        if not self._note(note):
            self._count(hook)
            return
        self._last[hook.hook_id] = now
        self._suppressed.pop(hook.hook_id, None)
        log.info("signal_refused", trace_id=trace_id, **facts)

    def _count(self, hook: Hook) -> None:
        metrics.REFUSALS_UNRECORDED.inc()
        self._suppressed[hook.hook_id] = self._suppressed.get(hook.hook_id, 0) + 1
