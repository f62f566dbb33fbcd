"""Bring an installation back into a directory of its own: `portcullis restore`, and the first half of a drill.

1. Refuse a directory that holds anything: a restore never goes over what is there.
2. Check the backup's own files against backup.json, the archive for holes and wrong sums.
3. Copy the base backup; pg_verifybackup checks the copy, file by file. Copy the WAL.
4. Run PostgreSQL until it has replayed all of it (or to the point asked for), over every failover that
   the archive has, and holds a new timeline; see that it came as far as the archive was known to be.
5. Halt everything in the restored database (halted.py).
6. Make the audit log's files again, and check them against signature and manifest (tree.py).
7. Put the other files in place; `portcullis.toml` last: where it stands, 1 to 6 are complete.

A crash anywhere leaves a directory without portcullis.toml: nothing can be started there, and the next
restore asks for it to be removed. Nothing of the repository is changed.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg

from ops.backup import archived, halted, parts, prepare, tools, tree
from ops.backup.layout import Backup, Damaged, Flushed, Places, Repository, make_directories
from ops.backup.relocate import moved, without_table
from ops.backup.report import Restored, Step
from ops.backup.restored import RestoredPostgres
from ops.backup.take import DATABASE, check_own_files
from ops.paths import Places as HostPlaces
from ops.paths import make_private
from ops.paths import places as host_places
from ops.settings import Settings, decode_settings
from ops.stack.postgres import Postgres
from ops.tls import write_private
from tenancy.errors import ConfigurationError, Unavailable

REPLAY_LIMIT_S = 7 * 86_400.0
SETTINGS_FILE = "portcullis.toml"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """How far: at most one of them; neither is the archive's end."""

    time: datetime | None = None
    lsn: str | None = None

    @property
    def is_end(self) -> bool:
        return self.time is None and self.lsn is None

    def __str__(self) -> str:
        if self.time is not None:
            return self.time.isoformat()
        return self.lsn or "the end of the archive"

    @property
    def recovery(self) -> dict[str, str]:
        """PostgreSQL's settings. All WAL lies in pg_wal already, so there is nothing to fetch."""
        found = {"restore_command": "false", "hot_standby": "off", "synchronous_standby_names": ""}
        if self.time is not None:
            found["recovery_target_time"] = self.time.astimezone(UTC).isoformat()
        if self.lsn is not None:
            found["recovery_target_lsn"] = self.lsn
        return found if self.is_end else {**found, "recovery_target_action": "promote"}


class Watch:
    """Steps and how long each took."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps.append(Step(name, round(time.monotonic() - began, 3)))


def restore(
    places: Places, backup: Backup, var: Path, target: Target, *, apart: bool = False
) -> Restored:
    """Into `var`, which must be empty or absent; nothing runs there afterwards. `apart`: nothing is
    looked at or written elsewhere, also where the settings name a store of the log outside `var`.

    Raises ConfigurationError for a directory in use; Damaged, saying which file; Unavailable where
    PostgreSQL does not come up, with the end of its log.
    """
    where, watch = host_places(var), Watch()
    check_empty(where)
    repository = places.identity()
    source = places.base(backup.backup_id)
    with watch("check the backup"):
        if wrong := check_own_files(source, backup.files):
            raise Damaged(f"the backup {backup.backup_id} is damaged: {'; '.join(wrong[:5])}")
        wal = archived.needed(places, backup, repository.segment_bytes)
        known = archived.flushed(places)
    settings = relocated(source, where)
    make_private(where.var)
    make_private(where.runtime)
    where.log.mkdir(mode=0o700, exist_ok=True)
    line = {"recovery_target_timeline": str(wal.timeline)}
    postgres = RestoredPostgres(where, backup.superuser, {**target.recovery, **line})
    postgres.start_timeout_s = REPLAY_LIMIT_S
    with watch("copy the database"):
        shutil.copytree(source / DATABASE, postgres.data)
        tools.verify_base(postgres.data)
    with watch("copy the WAL"):
        copied = archived.copy(places, wal, postgres.data / "pg_wal")
        (postgres.data / "recovery.signal").touch(mode=0o600)
        postgres.adopt()
    with watch("replay"):
        _replay(postgres, target)
    try:
        with psycopg.connect(postgres.superuser(), autocommit=True) as conn:
            reached, last_commit_at = _reached(conn, postgres.data)
            if target.is_end:
                _check_end(reached, wal, known, repository)
            prepare.set_synchronous(conn, False)
            why = f"restored from the backup {backup.backup_id} to {target}, WAL {reached}"
            stopped = halted.halt_everything(conn, why, datetime.now(UTC))
        with watch("make the audit log's files"):
            store = store_of(settings, where, apart)
            records, findings = _make_tree(postgres, store, source)
    finally:
        postgres.stop()
    if findings:
        raise Damaged(f"the restored audit log is not what was signed: {'; '.join(findings[:5])}")
    with watch("put settings in place"):
        put_settings(source, where)
    return Restored(
        backup_id=backup.backup_id, var=str(where.var), reached_lsn=reached,
        last_commit_at=last_commit_at, bytes=copied + backup.bytes, segments=wal.count,
        records=records, halted=stopped, steps=tuple(watch.steps), by_hand=backup.without,
    )  # fmt: skip


def check_empty(where: HostPlaces) -> None:
    """Step 1. Raises ConfigurationError."""
    if where.settings.exists():
        raise ConfigurationError(
            f"{where.var} holds an installation: a restore never goes over one. Restore into another"
            " directory, or move this one away"
        )
    if where.var.exists() and any(where.var.iterdir()):
        raise ConfigurationError(
            f"{where.var} is not empty (an interrupted restore leaves such a directory): remove it,"
            " or name another"
        )


def relocated(source: Path, where: HostPlaces) -> Settings:
    """The backup's settings as they will be there. Raises ConfigurationError."""
    file = settings_file(source)
    return decode_settings(_text(file, where, source).encode(), str(file))


def settings_file(source: Path) -> Path:
    """The backup's settings: of `var`, or of where a dedicated host has its settings. Raises Damaged."""
    inside = source / parts.SETTINGS / "var" / SETTINGS_FILE
    outside = sorted((source / parts.SETTINGS / parts.OUTSIDE).rglob(SETTINGS_FILE))
    for file in (inside, *outside):
        if file.exists():
            return file
    raise Damaged(
        f"{source} has no {SETTINGS_FILE}: the backup was not made by `portcullis backup`"
    )


def put_settings(source: Path, where: HostPlaces) -> None:
    """Step 7: everything that lay below var, moved to the new one, and the settings. What else a dedicated host
    has in its settings' directory, its roles write again."""
    root, last = source / parts.SETTINGS / "var", settings_file(source)
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path != last):
        target = where.var / path.relative_to(root)
        make_directories(target.parent)
        write_private(target, _text(path, where, source).encode())
    write_private(where.settings, _text(last, where, source).encode())


def _text(path: Path, where: HostPlaces, source: Path) -> str:
    """One settings file with its paths moved."""
    said = msgspec.toml.decode(settings_file(source).read_bytes())
    old = {
        Path(said["instance"]["runtime"]): where.runtime,
        Path(said["instance"]["var"]): where.var,
    }
    return without_table(moved(path.read_text(), old), "backup")


def _replay(postgres: Postgres, target: Target) -> None:
    try:
        postgres.start()
    except Unavailable as error:
        raise Damaged(f"the WAL could not be replayed to {target}: {error}") from None


def _reached(conn: psycopg.Connection, data: Path) -> tuple[str, datetime | None]:
    """Where the old timeline was left, as the new one's history says, and the last transaction's time."""
    history = max((data / "pg_wal").glob("*.history"))
    last = [line.split("\t") for line in history.read_text().splitlines() if line.strip()][-1]
    row = conn.execute("SELECT pg_last_xact_replay_timestamp()").fetchone()
    return last[1], row[0] if row else None


def _check_end(
    reached: str, wal: archived.Wal, known: Flushed | None, repository: Repository
) -> None:
    why = archived.ended_early(reached, wal, known, repository)
    if why is not None:
        raise Damaged(
            f"{why}: something in between is damaged. To take what there is, restore with"
            f" --to-lsn {reached}"
        )


def store_of(settings: Settings, where: HostPlaces, apart: bool) -> Path:
    """Where the log's files are made again. Pure."""
    store = settings.recorder.store
    return where.var / "audit" if apart and not store.is_relative_to(where.var) else store


def _make_tree(postgres: Postgres, store: Path, source: Path) -> tuple[int, list[str]]:
    """Step 6. A store that is there already (another disk that lived on) is not touched: the recorder
    compares it with the database before it signs."""
    if store.exists() and any(store.iterdir()):
        return 0, []
    return asyncio.run(tree.rebuild(postgres.superuser(), store, source / parts.WORM))
