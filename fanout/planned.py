"""What became of the attempt to plan a signal."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from fanout.intend import Begun
from fanout.plan import Plan


class Planned(msgspec.Struct, frozen=True):
    """A plan that was made just now, and the trace that goes on with it."""

    plan: Plan
    traceparent: str
    due_at: datetime
    mine: list[int]
    """Of its partitions those that we held when it was kept."""
    begun: Begun


class NotPlanned(Enum):
    """Why there is no new plan."""

    NOTHING_TO_DO = "planned or refused already"
    MUST_WAIT = "orders of an earlier signal are not in the book yet"
    LOOK_AGAIN = "another strategy has come to share an account: its turn is needed as well"
