"""Where things lie in a backup repository, and the one file that makes a backup whole.

    <directory>/repository.json          which installation's it is
    <directory>/wal/                     pg_receivewal's: whole segments, and the one being filled (.partial)
    <directory>/wal.sha256               a line per whole segment, as sha256sum writes it
    <directory>/flushed.json             how far the archive was durable when it was last looked at
    <directory>/base/<id>/               one base backup; <id> is when it began, UTC
        database/                        pg_basebackup's, with PostgreSQL's own backup_manifest
        settings/ worm/ hsm/             the rest (parts.py)
        backup.json                      written last, at once: without it, this is no backup
    <directory>/drills/<id>.json         reports
    <directory>/aside/<when>/            WAL and base backups of a branch that the cluster left (aside.py)

Everything is ours alone: directories 0700, files 0600.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from ops.stack.postgres import SUPERUSER
from tenancy.errors import UNREADABLE, ConfigurationError, Invalid

FORMAT = "portcullis-backup/v1"
MANIFEST = "backup.json"
BASE_ID = re.compile(r"\d{8}T\d{6}Z")
SEGMENT = re.compile(r"[0-9A-F]{24}")

T = TypeVar("T")


class Damaged(Invalid):
    """A backup, or the archive behind it, is not what was written: says which file, and what is wrong."""

    code = "backup_damaged"


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """repository.json. `system_identifier`: of the PostgreSQL cluster, from its initdb."""

    format: str
    installation: str
    system_identifier: str
    segment_bytes: int


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    """flushed.json: the archive had everything up to `lsn` when it was looked at, `at`.

    `synchronous`: whether commits waited for it then. It may have more by now, never less.
    """

    lsn: str
    at: datetime
    synchronous: bool


class PartFile(msgspec.Struct, frozen=True):
    """One file of a backup beside PostgreSQL's own."""

    sha256: str
    size: int


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """backup.json. LSNs as PostgreSQL writes them; `timeline` and `start_segment`: where the WAL that
    a restore needs begins. `files`: every file but those under database/, which backup_manifest names;
    backup_manifest itself is among them. `schema`: the last migration."""

    format: str
    backup_id: str
    installation: str
    release: str
    postgres: str
    system_identifier: str
    schema: int
    began_at: datetime
    ended_at: datetime
    start_lsn: str
    end_lsn: str
    timeline: int
    start_segment: str
    bytes: int
    without: tuple[str, ...]
    """What is not in it and has to be put in place by hand."""
    files: dict[str, PartFile]
    superuser: str = SUPERUSER
    """Who is above all others in this cluster: `initdb` named them."""


class Places(msgspec.Struct, frozen=True):
    """The paths in one repository; makes nothing."""

    root: Path

    @property
    def repository(self) -> Path:
        return self.root / "repository.json"

    @property
    def wal(self) -> Path:
        return self.root / "wal"

    @property
    def sums(self) -> Path:
        return self.root / "wal.sha256"

    @property
    def flushed(self) -> Path:
        return self.root / "flushed.json"

    @property
    def drills(self) -> Path:
        return self.root / "drills"

    def base(self, backup_id: str) -> Path:
        return self.root / "base" / backup_id

    def segments(self) -> list[str]:
        """Names of the whole segments, in order."""
        return sorted(name for name in _names(self.wal) if SEGMENT.fullmatch(name))

    def halves(self) -> list[Path]:
        """Base backups that were never finished, or are half removed: no backup.json."""
        return [path for path in self._bases() if not (path / MANIFEST).exists()]

    def backups(self) -> list[Backup]:
        """Every whole base backup, the oldest first. Raises Damaged for a manifest that is none."""
        whole = [path for path in self._bases() if (path / MANIFEST).exists()]
        return [read(path / MANIFEST, Backup) for path in whole]

    def backup(self, backup_id: str | None) -> Backup:
        """That one; None: the newest. Raises ConfigurationError, Damaged."""
        there = self.backups()
        chosen = [one for one in there if backup_id in (None, one.backup_id)]
        if not chosen:
            names = ", ".join(one.backup_id for one in there) or "none"
            wanted = "whole backup" if backup_id is None else f"whole backup {backup_id!r}"
            raise ConfigurationError(f"{self.root} holds no {wanted}; there are: {names}")
        return chosen[-1]

    def identity(self) -> Repository:
        """Raises ConfigurationError where this is no repository, Damaged."""
        if not self.repository.exists():
            raise ConfigurationError(
                f"{self.root} is no backup repository (or its disk is not mounted): "
                "`portcullis backup prepare` makes one"
            )
        return read(self.repository, Repository)

    def _bases(self) -> list[Path]:
        return sorted(
            self.root / "base" / name for name in _names(self.root / "base") if BASE_ID.match(name)
        )


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def read(path: Path, kind: type[T]) -> T:
    """A file of ours. Raises Damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except UNREADABLE as error:
        raise Damaged(f"{path} cannot be read: {error}") from None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from None


def write(path: Path, value: object) -> None:
    """Put a whole file in place, durably, or leave what was there: 0600."""
    fresh = path.with_name(path.name + ".new")
    data = msgspec.json.format(msgspec.json.encode(value))
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(fresh, path)
    flush_directory(path.parent)


def make_directories(path: Path) -> None:
    """Each that is missing on the way there, 0700 whatever the umask."""
    for directory in [*reversed(path.parents), path]:
        if not directory.exists():
            directory.mkdir(mode=0o700)


def flush_directory(path: Path) -> None:
    """Make the names in it durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> PartFile:
    """Hash and size of a file. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return PartFile(digest.hexdigest(), os.fstat(file.fileno()).st_size)


def below(directory: Path) -> Iterator[tuple[str, Path]]:
    """Every file under it: its relative name and its path, in order."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path.relative_to(directory).as_posix(), path


def parse_lsn(text: str) -> int:
    """`16/B374D848` as a number of bytes. Raises Damaged."""
    try:
        high, low = text.split("/")
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        raise Damaged(f"{text!r} is no position in the WAL") from None


def spell_lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment_at(timeline: int, position: int, segment_bytes: int) -> str:
    """The name of the segment that holds the byte at `position`."""
    number, per_id = position // segment_bytes, 0x100000000 // segment_bytes
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def start_of(segment: str, segment_bytes: int) -> int:
    """Where a segment begins, in bytes of WAL."""
    return (int(segment[8:16], 16) << 32) + int(segment[16:24], 16) * segment_bytes
