"""The WAL that a restore needs: which segments, whether they are all there, and copies that are checked.

A recovery takes the first record that it cannot read for the end of the WAL, and goes on from there as if
nothing were missing. So holes are looked for by name, damage by the sum of each whole segment, and
afterwards the point that was reached is held against what the archive is known to have had.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from ops.backup import sums
from ops.backup.layout import (
    Backup,
    Damaged,
    Flushed,
    Places,
    Repository,
    parse_lsn,
    read,
    segment_at,
    spell_lsn,
    start_of,
)

PARTIAL = ".partial"


class Wal(msgspec.Struct, frozen=True):
    """What is copied: whole segments, and the one that was being filled, if there is one."""

    whole: tuple[str, ...]
    partial: str | None
    histories: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.whole) + (self.partial is not None)


def needed(places: Places, backup: Backup, segment_bytes: int) -> Wal:
    """From the backup's first segment to the archive's end. Raises Damaged for a hole."""
    first, line = backup.start_segment, f"{backup.timeline:08X}"
    names = [path.name for path in places.wal.iterdir()] if places.wal.is_dir() else []
    whole = sorted(n for n in places.segments() if n >= first and n.startswith(line))
    partials = sorted(
        n.removesuffix(PARTIAL)
        for n in names
        if n.endswith(PARTIAL) and _size(places.wal / n) == segment_bytes
    )
    partial = partials[-1] if partials and partials[-1].startswith(line) else None
    if partial is not None and whole and partial <= whole[-1]:
        partial = None  # it was filled and renamed while we looked
    expected = start_of(first, segment_bytes)
    for name in [*whole, *([partial] if partial else [])]:
        if name < first:
            continue
        if name != segment_at(backup.timeline, expected, segment_bytes):
            lost = segment_at(backup.timeline, expected, segment_bytes)
            raise Damaged(f"the archive has no {lost}, and later ones are there: {places.wal}")
        expected += segment_bytes
    if expected <= parse_lsn(backup.end_lsn):
        raise Damaged(
            f"the archive in {places.wal} ends at {spell_lsn(expected)}, before the base backup does"
            f" ({backup.end_lsn})"
        )
    if partial is not None and partial < first:
        partial = None
    return Wal(tuple(whole), partial, tuple(sorted(n for n in names if n.endswith(".history"))))


def drop_unpadded(places: Places, segment_bytes: int) -> list[str]:
    """Remove a segment that pg_receivewal had only begun to fill with zeros when its disk was full; names.

    It pads a new segment before it writes any WAL into it, and afterwards refuses to go on from one of
    another size, for ever. Nothing was acknowledged by such a file. Raises Damaged where one holds more
    than zeros: somebody else wrote it.
    """
    gone = []
    for path in places.wal.glob("*" + PARTIAL):
        if _size(path) in (0, segment_bytes):
            continue
        if path.read_bytes().strip(b"\0"):
            raise Damaged(f"{path} has neither a segment's size nor only zeros: look at it")
        path.unlink()
        gone.append(path.name)
    return gone


def _size(path: Path) -> int:
    """0 for one that was just renamed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def copy(places: Places, wal: Wal, into: Path) -> int:
    """All of it into pg_wal, and each whole segment's sum checked; bytes copied. Raises Damaged, OSError."""
    if wrong := sums.wrong(places, list(wal.whole)):
        raise Damaged("; ".join(wrong[:5]) + _more(wrong))
    copied = 0
    for name in (*wal.whole, *wal.histories):
        shutil.copyfile(places.wal / name, into / name)
        copied += (into / name).stat().st_size
    if wal.partial is not None:
        copied += _copy_partial(places.wal, wal.partial, into)
    return copied


def _copy_partial(wal: Path, name: str, into: Path) -> int:
    """Under its whole name, which recovery looks for. It may be filled and renamed meanwhile."""
    try:
        shutil.copyfile(wal / (name + PARTIAL), into / name)
    except FileNotFoundError:
        shutil.copyfile(wal / name, into / name)
    return (into / name).stat().st_size


def flushed(places: Places) -> Flushed | None:
    """How far the archive was when its process last looked."""
    return read(places.flushed, Flushed) if places.flushed.exists() else None


def ended_early(
    reached: str, wal: Wal, known: Flushed | None, repository: Repository
) -> str | None:
    """Why a recovery to the archive's end did not reach it, in words; None: it did. Pure."""
    at = parse_lsn(reached)
    if known is not None and at < parse_lsn(known.lsn):
        return f"the WAL can be replayed to {reached} only, and the archive had {known.lsn}"
    if wal.whole:
        end = start_of(wal.whole[-1], repository.segment_bytes) + repository.segment_bytes
        if at < end and wal.partial is not None:
            return f"the WAL can be replayed to {reached} only, and the archive goes on after it"
    return None


def _more(found: list[str]) -> str:
    return f", and {len(found) - 5} more" if len(found) > 5 else ""
