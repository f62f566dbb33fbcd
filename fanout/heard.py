"""Under which span of another process a piece of work hangs: what a wake-up said of its trace.

Redis is not believed. What a wake-up says is a parent only for a row of the same trace, and only as
well formed as it must be; else, and where no wake-up was heard, the row's own text is the parent.
Of traces that nobody records nothing is kept here.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from uuid import UUID

from fanout.trace import is_sampled, trace_id
from fanout.wake import Kind, Wake

MOST = 2048
"""Wake-ups that were heard and whose work nobody has begun; the oldest is forgotten first."""

_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Heard:
    """The wake-ups of this worker's partitions."""

    def __init__(self) -> None:
        self._by: OrderedDict[tuple[Kind, UUID], str] = OrderedDict()

    def __repr__(self) -> str:
        return f"Heard({len(self._by)})"

    def note(self, told: Wake) -> None:
        """Remember it, where its trace is recorded."""
        if is_sampled(told.traceparent) and _TRACEPARENT.fullmatch(told.traceparent):
            self._by[told.kind, told.id] = told.traceparent
            if len(self._by) > MOST:
                self._by.popitem(last=False)

    def parent(self, kind: Kind, signal: UUID, kept: str) -> str:
        """The wake-up's span, where one of the trace that the row keeps was heard; else `kept`. Once."""
        said = self._by.pop((kind, signal), "")
        return said if said and trace_id(said) == trace_id(kept) else kept
