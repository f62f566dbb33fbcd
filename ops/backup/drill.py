"""Prove that everything acknowledged comes back: restore into a second directory, and count by name.

1. Note the hour, and which signals were acknowledged until now: those that a sender was told of, read from
   its own notes, and those that the living database shows, where it answers.
2. Restore the newest backup and the archive as they are at this moment (restore.py). Nothing of the living
   installation is used: not its disk, not its database, not its tokens.
3. Start that PostgreSQL alone (no process of ours: a drill must not trade) and look for each name.
4. Take the directory away again, unless it shall stay; keep the report in the repository.

What was acknowledged after step 1 may be there or not, and is counted apart.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg

from ops.backup import archived
from ops.backup.layout import Backup, Places, write
from ops.backup.report import Report, Restored, Step
from ops.backup.restore import Target, check_empty, restore
from ops.backup.restored import RestoredPostgres
from ops.paths import places as host_places
from ops.stack.postgres import Postgres
from tenancy.clock import Clock
from tenancy.errors import Invalid

EXAMPLES = 20

_ALL = "SELECT signal_id FROM signals"
_WHICH = """
SELECT w.id FROM unnest(%s::uuid[]) AS w (id)
WHERE NOT EXISTS (SELECT FROM signals s WHERE s.signal_id = w.id)"""
_BEYOND = "SELECT count(*) FROM signals WHERE signal_id <> ALL(%s::uuid[])"


class Told(msgspec.Struct, frozen=True):
    """Signals acknowledged before the drill: by a sender's notes, and by the living database."""

    by_sender: frozenset[UUID]
    by_database: frozenset[UUID]

    @property
    def all(self) -> frozenset[UUID]:
        return self.by_sender | self.by_database


def read_told(lines: Iterable[str]) -> frozenset[UUID]:
    """A sender's notes: one signal id a line, as the 202 gave it; blank lines are none. Raises Invalid."""
    found = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.add(UUID(line.strip()))
        except ValueError:
            raise Invalid(
                f"line {number} is no signal id: {line.strip()[:80]!r}; one id a line is needed"
            ) from None
    return frozenset(found)


def shown(conninfo: str | None) -> frozenset[UUID]:
    """What the living database shows to its superuser; nothing where it does not answer (or is lost)."""
    if conninfo is None:
        return frozenset()
    try:
        with psycopg.connect(conninfo, connect_timeout=3) as conn:
            return frozenset(row[0] for row in conn.execute(_ALL))
    except psycopg.OperationalError:
        return frozenset()


def drill(
    places: Places, backup: Backup, into: Path, told: Told, clock: Clock, *, keep: bool
) -> Report:
    """Steps 2 to 4. `told` was noted just now. Raises as restore(); the directory is then taken away too."""
    began_at, began_s = clock.now(), clock.monotonic()
    where = host_places(into)
    check_empty(where)  # from here on what is there is ours, to be taken away
    try:
        outcome = restore(places, backup, into, Target(), apart=True)
        missing, beyond, restored = count(RestoredPostgres(where, backup.superuser), told)
        report = _report(
            began_at, clock.monotonic() - began_s, told, missing, beyond, restored, outcome, places
        )
    finally:
        if not keep:
            shutil.rmtree(where.var, ignore_errors=True)
            shutil.rmtree(where.runtime, ignore_errors=True)
    places.drills.mkdir(mode=0o700, exist_ok=True)
    name = began_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    write(places.drills / f"{name}.json", report)
    return report


def count(postgres: Postgres, told: Told) -> tuple[list[UUID], int, int]:
    """Which of the told are not there, how many others are, and how many there are at all."""
    postgres.start()
    try:
        with psycopg.connect(postgres.superuser()) as conn:
            names = sorted(told.all)
            missing = [row[0] for row in conn.execute(_WHICH, (names,))]
            beyond = conn.execute(_BEYOND, (names,)).fetchone()
            total = conn.execute("SELECT count(*) FROM signals").fetchone()
    finally:
        postgres.stop()
    assert beyond is not None
    assert total is not None
    return sorted(missing), beyond[0], total[0]


def _report(
    began_at: datetime, took_s: float, told: Told, missing: Sequence[UUID], beyond: int, restored: int,
    outcome: Restored, places: Places,
) -> Report:  # fmt: skip
    known = archived.flushed(places)
    return Report(
        began_at=began_at,
        backup_id=outcome.backup_id,
        told=len(told.all),
        told_by_sender=len(told.by_sender),
        restored=restored,
        missing=len(missing),
        examples=tuple(map(str, missing[:EXAMPLES])),
        beyond=beyond,
        recovery_point_s=recovery_point_s(missing, began_at),
        recovery_time_s=round(took_s, 3),
        synchronous=known is not None and known.synchronous,
        outcome=msgspec.structs.replace(
            outcome, steps=(*outcome.steps, Step("count", round(took_s - outcome.took_s, 3)))
        ),
    )


def recovery_point_s(missing: Sequence[UUID], began_at: datetime) -> float:
    """How long before `began_at` the oldest of `missing` was made: a signal's id tells (UUIDv7, ms). Pure."""
    if not missing:
        return 0.0
    made_s = min(name.int >> 80 for name in missing) / 1000
    return max(0.0, round(began_at.timestamp() - made_s, 3))
