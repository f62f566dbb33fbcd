"""What a restore or a drill found: figures for people and programs, and whether it proved anything."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Step(msgspec.Struct, frozen=True):
    """One step of a restore and how long it took, in seconds."""

    name: str
    took_s: float


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A restored installation. `reached_lsn`: the last WAL that was replayed; `last_commit_at`: the time of
    the last transaction in it. `records`: leaves of the audit log, of all logs; `halted`: logs that do
    not sign until people lift it. `by_hand`: what has to be put in place before a start."""

    backup_id: str
    var: str
    reached_lsn: str
    last_commit_at: datetime | None
    bytes: int
    segments: int
    records: int
    halted: int
    steps: tuple[Step, ...]
    findings: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()

    @property
    def took_s(self) -> float:
        return round(sum(step.took_s for step in self.steps), 3)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A drill. `told`: signals that a sender was told were accepted, and that the living database showed,
    before the drill began; `missing`: of those, how many the restored database lacks, `examples` the first
    of them. `recovery_point_s`: how long before the drill the oldest missing one was accepted, 0 where
    none is missing. `recovery_time_s`: from the first byte copied until the restored database answered
    and its log was verified. `beyond`: signals accepted after the drill began, restored all the same.
    """

    began_at: datetime
    backup_id: str
    told: int
    told_by_sender: int
    restored: int
    missing: int
    examples: tuple[str, ...]
    beyond: int
    recovery_point_s: float
    recovery_time_s: float
    synchronous: bool
    outcome: Restored

    @property
    def proved(self) -> bool:
        """Nothing is missing, and nothing was found."""
        return not self.missing and not self.outcome.findings and self.told > 0
