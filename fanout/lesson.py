"""What was learned of one attempt, and what follows from it: the vocabulary between lanes and book."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fanout.doubt_rows import Decision
from fanout.order import Order, OrdState
from fanout.ports import Report


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """One fact about one attempt. Either the broker's report, or our own word with `state`.

    `successor` is the next attempt, to be made an intent in the same transaction: only with
    ABSENT, and only inside the order's deadline.
    """

    order: Order
    learned_at: datetime
    report: Report | None = None
    state: OrdState | None = None
    code: str = ""
    text: str = ""
    raw: bytes = b""
    credential_failed: bool = False
    """The broker refused not the order but whoever asked: nothing of this account goes through."""
    sent_at: datetime | None = None
    left: bool = False
    """Bytes left for the broker at `sent_at`, or may have."""
    acked_at: datetime | None = None
    successor: Order | None = None
    intervention_id: UUID | None = None
    """The act of the kill switch that denied it."""
    in_doubt: bool = False
    """A person may have been shown the attempt as in doubt, or as stuck."""
    decision: Decision | None = None
    """A person's, which this lesson carries out."""
    epoch: int | None = None
    """Worth nothing unless the partition is still ours under this epoch when it is written: with
    `successor`, and where the broker's book died with its process (Caps.remembers)."""


class Consequence(msgspec.Struct, frozen=True, kw_only=True):
    """Where the attempt stands after the commit, and what may be sent next."""

    order: Order
    sends: Order | None = None  # the successor, or the second leg of a flip, now an intent
    denied: Order | None = None  # the second leg, when the first did not close the position
    cancel: bool = False  # somebody wants the order cancelled
    news: bool = True  # False: somebody else had written it, and has what follows from it
    watch: tuple[str, ...] = ()
    """Held orders that were written, changed or ended with it: the stop engine reads them again."""
    cancels: tuple[Order, ...] = ()
    """Stops and targets at the broker that are not wanted any more."""
