"""How the recorder stands, over all its sessions: what is halted, published and behind."""

from __future__ import annotations

import time
from uuid import UUID

import msgspec
import structlog

from audit import metrics
from audit.logs import Log

log_event = structlog.get_logger()


class Stats(msgspec.Struct, frozen=True):
    """How the recorder stands; ages in seconds."""

    inbox_age_s: float
    unpublished_age_s: float
    records_total: int
    checkpoint_sizes: dict[UUID, int]
    halted: dict[UUID, str]


class Standing:
    """Kept in one process; what must outlive it is in rows (audit/halts.py) and files."""

    def __init__(self) -> None:
        self.halted: dict[UUID, str] = {}
        self.refused: set[UUID] = set()  # of those, by a row that people lift
        self.records = 0
        self.sizes: dict[UUID, int] = {}
        self.inbox_age_s = 0.0
        self._unpublished_since: dict[UUID, float] = {}

    def stats(self) -> Stats:
        now = time.monotonic()
        oldest = min(self._unpublished_since.values(), default=now)
        return Stats(
            self.inbox_age_s, now - oldest, self.records, dict(self.sizes), dict(self.halted)
        )

    def halt(self, log: Log, why: str) -> None:
        self.halted[log.log_id] = why
        self._unpublished_since.pop(log.log_id, None)
        metrics.HALTED.set(len(self.halted))
        log_event.error("audit_log_halted", log_id=str(log.log_id), why=why)

    def begin_anew(self) -> None:
        """Another session: each log is opened again, and halted again where it still contradicts itself."""
        self.halted = {log: why for log, why in self.halted.items() if log in self.refused}
        metrics.HALTED.set(len(self.halted))

    def resume(self, log_id: UUID) -> None:
        """Two people lifted the halt: the log is opened again in this round."""
        self.refused.discard(log_id)
        self.halted.pop(log_id, None)
        metrics.HALTED.set(len(self.halted))
        log_event.warning("audit_log_goes_on", log_id=str(log_id))

    def published(self, log: Log, size: int, tail: int) -> None:
        """`size` leaves are under a published checkpoint, of `tail` that are sequenced."""
        self.sizes[log.log_id] = size
        metrics.CHECKPOINT_SIZE.set(sum(self.sizes.values()))
        if size == tail:
            self._unpublished_since.pop(log.log_id, None)

    def behind(self, log: Log) -> None:
        """It has leaves that no published checkpoint covers; since now, if not known before."""
        self._unpublished_since.setdefault(log.log_id, time.monotonic())
