"""Take one base backup. It is whole when its last file stands, and nothing before that looks like one.

1. See that the server is the repository's own. Take the lock; remove what an interrupted backup left.
2. Copy the log's manifests: before the database, so that the database is never behind them.
3. pg_basebackup.                      *Crash: a directory without backup.json; step 1 removes it.*
4. Copy settings and the tokens' encrypted copy.   *Crash: the same.*
5. Read everything back: pg_verifybackup, and our own files' hashes.
6. Write backup.json, at once.         *Crash before: the same. After: the backup is whole.*
7. Remove the oldest beyond `keep`, each one's backup.json first, then the WAL that none of the others
   needs.   *Crash: a directory without backup.json; WAL that is not needed, removed with the next.*
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
import psycopg

from ops.backup import parts, tools
from ops.backup.cluster import check_server
from ops.backup.layout import (
    FORMAT,
    MANIFEST,
    Backup,
    PartFile,
    Places,
    Repository,
    below,
    flush_directory,
    parse_lsn,
    read,
    segment_at,
    sha256_of,
    write,
)
from ops.backup.prepare import wanted
from ops.migrate import read_migrations
from ops.settings import Settings
from tenancy.errors import ConfigurationError, Unavailable

DATABASE = "database"
PG_MANIFEST = f"{DATABASE}/backup_manifest"
BOOTSTRAP_OID = 10
"""Of initdb's superuser, in every cluster (pg_authid.dat)."""


class WalRange(msgspec.Struct, frozen=True):
    """The WAL that a base backup needs to be consistent; words of PostgreSQL's backup_manifest."""

    timeline: int = msgspec.field(name="Timeline")
    start_lsn: str = msgspec.field(name="Start-LSN")
    end_lsn: str = msgspec.field(name="End-LSN")


class PgManifest(msgspec.Struct, frozen=True):
    """What we read of backup_manifest."""

    wal_ranges: list[WalRange] = msgspec.field(name="WAL-Ranges")


def take(settings: Settings, file: Path, now: datetime) -> Backup:
    """One base backup, and the retention after it.

    Raises BackupFailed, ConfigurationError, Damaged, Unavailable."""
    backup = wanted(settings)
    places = Places(backup.directory)
    repository = places.identity()
    check_server(backup.database, places)
    with only_one(places):
        for half in places.halves():
            shutil.rmtree(half)
        backup_id = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        target = places.base(backup_id)
        try:
            target.mkdir(mode=0o700)
        except FileExistsError:
            raise ConfigurationError(f"{target} exists: one backup a second at most") from None
        parts.copy_worm(settings.recorder.store, target / parts.WORM)
        tools.base_backup(backup.database, target / DATABASE, f"portcullis {backup_id}")
        parts.copy_settings(settings, file, target / parts.SETTINGS)
        parts.copy_tokens(backup.tokens, target / parts.HSM)
        tools.verify_base(target / DATABASE)
        made = _described(settings, file, repository, target, now)
        flush_directory(target)
        write(target / MANIFEST, made)
        forget_oldest(places, backup.keep)
    return made


@contextmanager
def only_one(places: Places) -> Iterator[None]:
    """One backup or retention at a time. Raises ConfigurationError where another is under way."""
    handle = os.open(places.root / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"another backup into {places.root} is under way") from None
        yield
    finally:
        os.close(handle)


def forget_oldest(places: Places, keep: int) -> list[str]:
    """Step 7: the ids that were removed."""
    there = places.backups()
    gone, stay = there[:-keep], there[-keep:]
    for old in gone:
        directory = places.base(old.backup_id)
        (directory / MANIFEST).unlink()
        flush_directory(directory)
        shutil.rmtree(directory)
    if gone:
        tools.drop_old_wal(places.wal, min(one.start_segment for one in stay))
    return [old.backup_id for old in gone]


def _described(
    settings: Settings, file: Path, repository: Repository, target: Path, began: datetime
) -> Backup:
    """Step 5's second half, and the manifest."""
    wal = read(target / PG_MANIFEST, PgManifest).wal_ranges[-1]
    files = {name: sha256_of(path) for name, path in _own_files(target)}
    start = parse_lsn(wal.start_lsn)
    return Backup(
        format=FORMAT,
        backup_id=target.name,
        installation=repository.installation,
        release=version("portcullis"),
        postgres=(target / DATABASE / "PG_VERSION").read_text().strip(),
        system_identifier=repository.system_identifier,
        schema=max(one.number for one in read_migrations()),
        began_at=began,
        ended_at=datetime.now(UTC),
        start_lsn=wal.start_lsn,
        end_lsn=wal.end_lsn,
        timeline=wal.timeline,
        start_segment=segment_at(wal.timeline, start, repository.segment_bytes),
        bytes=sum(path.stat().st_size for _, path in below(target)),
        without=parts.without(settings, file),
        files=files,
        superuser=_superuser(wanted(settings).database),
    )


def _superuser(conninfo: str) -> str:
    """Whom initdb named: a restored server is asked under that name. Raises Unavailable."""
    try:
        with psycopg.connect(conninfo) as conn:
            row = conn.execute(
                "SELECT rolname FROM pg_roles WHERE oid = %s", (BOOTSTRAP_OID,)
            ).fetchone()
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}") from error
    assert row is not None
    return str(row[0])


def _own_files(target: Path) -> Iterator[tuple[str, Path]]:
    """All but the database's own, which backup_manifest names."""
    yield PG_MANIFEST, target / PG_MANIFEST
    for part in (parts.SETTINGS, parts.WORM, parts.HSM):
        for name, path in below(target / part):
            yield f"{part}/{name}", path


def check_own_files(target: Path, files: dict[str, PartFile]) -> list[str]:
    """What differs from a backup's manifest, in words; empty where nothing does."""
    wrong = []
    there = {name: path for name, path in _own_files(target) if path.exists()}
    for name, said in files.items():
        if name not in there:
            wrong.append(f"{name} is missing")
        elif sha256_of(there[name]) != said:
            wrong.append(f"{name} is not what was written: its SHA-256 differs")
    return wrong + [f"{name} was not written by the backup" for name in there if name not in files]
