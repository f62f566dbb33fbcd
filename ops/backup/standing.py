"""How the archive stands against PostgreSQL: one look, and what it means. The look is SQL, the rest is pure."""

from __future__ import annotations

import math

import msgspec
import psycopg

from ops.backup import metrics
from ops.backup.settings import APPLICATION, SLOT

_LOOK = """
SELECT r.flush_lsn::text, r.sync_state,
       CASE WHEN s.slot_name IS NOT NULL THEN coalesce(s.wal_status, 'empty') END,
       pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint,
       pg_wal_lsn_diff(coalesce(r.flush_lsn, s.restart_lsn), '0/0')::bigint,
       (SELECT bool_and(source = 'command line') FROM pg_settings
        WHERE name IN ('cluster_name', 'wal_log_hints')),
       (SELECT coalesce(sourcefile LIKE '%%/postgresql.auto.conf', false) FROM pg_settings
        WHERE name = 'synchronous_standby_names')
FROM (SELECT 1) AS one
LEFT JOIN pg_replication_slots s ON s.slot_name = %(slot)s
LEFT JOIN pg_stat_replication r ON r.application_name = %(application)s AND r.state = 'streaming'"""


OVERRIDDEN = (
    "ALTER SYSTEM set synchronous_standby_names, which is Patroni's: commits wait for another standby than the one"
    " that it would promote, and a failover would lose what was acknowledged. On the primary, as postgres:"
    " ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();"
)
NOT_PATRONIS = (
    "commits do not wait for the archive, though the settings say `synchronous`: Patroni chooses whom they wait"
    " for. With standbys: `synchronous = false`. With one member alone, in Patroni's configuration:"
    f" synchronous_standby_names = 'FIRST 1 ({APPLICATION})' (role postgresql: postgresql_archive_synchronous)"
)


class Look(msgspec.Struct, frozen=True):
    """What PostgreSQL says of the archive. `flushed` None: nobody receives. `slot` None: it has no slot;
    `empty`: it keeps nothing yet.

    `written`: bytes of WAL on PostgreSQL's own disk, `archived`: in the archive as far as PostgreSQL knows,
    both since the cluster was made. `patroni`: Patroni runs it (nobody else gives these two settings on the
    command line). `altered`: synchronous_standby_names was set by ALTER SYSTEM, as far as we may see that.
    """

    flushed: str | None
    sync_state: str | None
    slot: str | None
    written: int
    archived: int | None
    patroni: bool = False
    altered: bool = False

    @property
    def behind_bytes(self) -> float:
        return math.inf if self.archived is None else max(0, self.written - self.archived)

    @property
    def synchronous(self) -> bool:
        return self.sync_state == "sync"

    @property
    def slot_lost(self) -> bool:
        return self.slot in (None, "lost")

    @property
    def overrides_patroni(self) -> bool:
        """Commits wait for another standby than the one that Patroni would promote."""
        return self.patroni and self.altered


def look(conn: psycopg.Connection) -> Look:
    """Raises psycopg.Error."""
    row = conn.execute(_LOOK, {"slot": SLOT, "application": APPLICATION}).fetchone()
    assert row is not None
    return Look(*row)


def why_not(found: Look, wanted: bool) -> str | None:
    """What an operator has to know of it; None: it is as the settings want it."""
    if found.overrides_patroni:
        return OVERRIDDEN
    if found.slot is None:
        return "PostgreSQL has no slot for the archive: `portcullis backup prepare`"
    if found.slot == "lost":
        return "PostgreSQL removed WAL that the archive never had: prepare it anew, and take a base backup"
    if found.flushed is None:
        return "PostgreSQL streams to no archive" + ("; commits wait for it" if wanted else "")
    if found.patroni:
        # Not wanted and synchronous all the same is Patroni's own doing: its standby is away, and '*' is whoever
        # streams. Commits then wait for the archive, which is the second copy.
        return NOT_PATRONIS if wanted and not found.synchronous else None
    if wanted and not found.synchronous:
        return (
            "commits do not wait for the archive, though the settings say `synchronous`:"
            " `portcullis backup synchronous on`"
        )
    if not wanted and found.synchronous:
        return (
            "commits wait for the archive, though the settings do not say `synchronous`:"
            " `portcullis backup synchronous off`"
        )
    return None


class Lag:
    """For how long the archive has not had what it lacks. Times are monotonic seconds, told from outside.

    Each look sets a goal: what PostgreSQL had written by then. The lag is the age of the oldest goal that
    is not reached, so a busy archive that is a little behind at every look does not lag.
    """

    def __init__(self) -> None:
        self._goal: tuple[int, float] | None = None

    def seconds(self, found: Look | None, now: float) -> float:
        """`found` None: PostgreSQL does not answer, so it writes nothing that could be missing either;
        what was missing before still is."""
        if found is not None:
            archived = 0 if found.archived is None else found.archived
            if self._goal is not None and archived >= self._goal[0]:
                self._goal = None
            if self._goal is None and archived < found.written:
                self._goal = found.written, now
        return 0.0 if self._goal is None else now - self._goal[1]


def publish(found: Look | None, lag_s: float) -> None:
    """Show one look."""
    metrics.RECEIVER_UP.set(found is not None and found.flushed is not None)
    metrics.SYNCHRONOUS.set(found is not None and found.synchronous)
    metrics.WAL_LAG_SECONDS.set(lag_s)
    if found is not None:
        metrics.WAL_LAG_BYTES.set(found.behind_bytes)
        metrics.SLOT_LOST.set(found.slot_lost)
        metrics.OVERRIDDEN.set(found.overrides_patroni)
