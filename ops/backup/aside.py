"""`portcullis backup aside`: WAL of a branch that the cluster left, and that its archive had followed further.

Each promotion begins a timeline (ops/backup/timelines.py). After a restore to an older point, or a failover to
a standby that lacked a whole segment, the archive has WAL that the running cluster's history knows nothing of;
pg_receivewal would go on behind it, and is refused for ever. What was left is moved to
`aside/<when>/`, never removed: it is the only proof of what was lost.

1. The server is asked for its own history, and whether it is the repository's cluster.
2. What the archive is known to have had (flushed.json) ends where the cluster's own timeline begins: a
   restore would otherwise miss what was left.
3. Moved: segments with anything behind the point at which their timeline was left, segments and histories of
   timelines that are none of its ancestors, base backups that end behind such a point.
   *Crash meanwhile: run it again, what is left goes too.*

Then pg_receivewal goes on from the last segment that counts. A base backup has to be taken where the newest went.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec
import psycopg
from psycopg.pq import ExecStatus

from ops.backup import timelines
from ops.backup.archived import PARTIAL, flushed
from ops.backup.cluster import CONNECT_S
from ops.backup.layout import (
    SEGMENT,
    Backup,
    Places,
    flush_directory,
    make_directories,
    parse_lsn,
    spell_lsn,
    start_of,
    write,
)
from ops.backup.timelines import Branch
from tenancy.errors import ConfigurationError, Unavailable

HISTORY = ".history"


def set_aside(conninfo: str, places: Places, now: datetime) -> list[str]:
    """All steps; the names of what was moved. Raises ConfigurationError for another cluster, Unavailable."""
    identity = places.identity()
    way = history_of(conninfo, identity.system_identifier)
    names = [path.name for path in places.wal.iterdir()]
    wal = left_behind(names, way, identity.segment_bytes)
    bases = [one.backup_id for one in places.backups() if is_left_behind(one, way)]
    if not wal and not bases:
        return []
    _forget_what_was_left(places, way[-1].begins)
    there = places.root / "aside" / f"{now:%Y%m%dT%H%M%SZ}"
    for part in ("wal", "base"):
        make_directories(there / part)
    for name in wal:
        (places.wal / name).rename(there / "wal" / name)
    for name in bases:
        places.base(name).rename(there / "base" / name)
    for directory in (places.wal, places.root / "base", there / "wal", there / "base"):
        flush_directory(directory)
    return [*wal, *bases]


def _forget_what_was_left(places: Places, at: int) -> None:
    """Step 2."""
    known = flushed(places)
    if known is not None and parse_lsn(known.lsn) > at:
        write(places.flushed, msgspec.structs.replace(known, lsn=spell_lsn(at)))


def left_behind(names: Iterable[str], way: Sequence[Branch], segment_bytes: int) -> list[str]:
    """Which files of `wal/` the cluster's own history has not, or not all of. Pure.

    Of the segment in which a timeline was left the whole file goes, for pg_receivewal would go on behind it; one
    that was being filled stays, for it is begun anew.
    """
    left_at = _left_at(way)
    found = []
    for name in sorted(names):
        segment = name.removesuffix(PARTIAL)
        if name.endswith(HISTORY):
            is_left = int(name[:8], 16) not in left_at
        elif SEGMENT.fullmatch(segment):
            at = left_at.get(int(segment[:8], 16), 0)
            begins = start_of(segment, segment_bytes)
            ends = begins + segment_bytes
            is_left = at is not None and (begins >= at if segment != name else ends > at)
        else:
            continue
        if is_left:
            found.append(name)
    return found


def is_left_behind(backup: Backup, way: Sequence[Branch]) -> bool:
    """Whether it ends where the cluster's history does not go. Pure."""
    at = _left_at(way).get(backup.timeline, 0)
    return at is not None and parse_lsn(backup.end_lsn) > at


def _left_at(way: Sequence[Branch]) -> dict[int, int | None]:
    """Of each timeline where it was left; None: it goes on."""
    left: dict[int, int | None] = {one.timeline: later.begins for one, later in pairwise(way)}
    return {**left, way[-1].timeline: None}


def history_of(conninfo: str, system_identifier: str) -> tuple[Branch, ...]:
    """The timelines of the server that answers, its own last.

    Source: PostgreSQL, Streaming Replication Protocol, IDENTIFY_SYSTEM and TIMELINE_HISTORY.
    Raises ConfigurationError where it is another cluster's, Unavailable.
    """
    try:
        with psycopg.connect(
            conninfo, autocommit=True, connect_timeout=CONNECT_S, replication="true"
        ) as conn:
            there, timeline = _ask(conn, "IDENTIFY_SYSTEM")[:2]
            text = _ask(conn, f"TIMELINE_HISTORY {timeline}")[1] if timeline != "1" else ""
    except psycopg.Error as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}") from error
    if there != system_identifier:
        raise ConfigurationError(
            f"the PostgreSQL cluster {there} answers, and the repository is that of {system_identifier}: nothing"
            " is moved for it"
        )
    if not text.strip():
        return timelines.way(int(timeline), {})
    return timelines.way(int(text.split("\t", 1)[0]), {int(timeline): text})


def _ask(conn: psycopg.Connection, command: str) -> list[str]:
    """One row of the replication protocol, which psycopg has no cursor for."""
    result = conn.pgconn.exec_(command.encode())
    if result.status != ExecStatus.TUPLES_OK:
        raise psycopg.OperationalError(f"{command}: {result.error_message.decode()}")
    values = (result.get_value(0, column) for column in range(result.nfields))
    return [(value or b"").decode() for value in values]
