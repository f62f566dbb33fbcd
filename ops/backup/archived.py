"""The WAL that a restore needs: which segments, whether they are all there, and copies that are checked.

A recovery takes the first record that it cannot read for the end of the WAL, and goes on from there as if
nothing were missing. So holes are looked for by name, damage by the sum of each whole segment, and
afterwards the point that was reached is held against what the archive is known to have had.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ops.backup import sums, timelines
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
    """What is copied: whole segments, and the one that was being filled, if there is one.

    `timeline`: the newest that goes on from the backup's; a recovery is told to end on it.
    """

    whole: tuple[str, ...]
    partial: str | None
    histories: tuple[str, ...]
    timeline: int

    @property
    def count(self) -> int:
        return len(self.whole) + (self.partial is not None)


def needed(places: Places, backup: Backup, segment_bytes: int) -> Wal:
    """From the backup's first segment to the archive's end, over every failover. Raises Damaged for a hole."""
    names = [path.name for path in places.wal.iterdir()] if places.wal.is_dir() else []
    histories = {int(name[:8], 16): name for name in names if name.endswith(".history")}
    branches = timelines.way(
        backup.timeline, {of: (places.wal / name).read_text() for of, name in histories.items()}
    )
    whole, partial, end = _stretch(places, backup, branches, segment_bytes)
    if end <= parse_lsn(backup.end_lsn):
        raise Damaged(
            f"the archive in {places.wal} ends at {spell_lsn(end)}, before the base backup does"
            f" ({backup.end_lsn})"
        )
    last = branches[-1].timeline
    return Wal(whole, partial, tuple(histories[of] for of in sorted(histories) if of <= last), last)


def _stretch(
    places: Places, backup: Backup, branches: Sequence[timelines.Branch], segment_bytes: int
) -> tuple[tuple[str, ...], str | None, int]:
    """Whole segments without a hole, the one behind them that was being filled, and where it ends."""
    filling = {
        path.name.removesuffix(PARTIAL)
        for path in places.wal.glob("*" + PARTIAL)
        if _size(path) == segment_bytes
    }
    there = set(places.segments())  # after them: what was filled and renamed meanwhile is not lost

    def names(position: int) -> list[str]:
        found = timelines.candidates(branches, position, segment_bytes)
        return [segment_at(timeline, position, segment_bytes) for timeline in found]

    whole: list[str] = []
    partial = None
    end = start_of(backup.start_segment, segment_bytes)
    while (best := names(end)[0]) in there:
        whole.append(best)
        end += segment_bytes
    # What is behind them is being filled; or its timeline was left in it, and the next one's is not here yet.
    for name in names(end):
        if name in filling or name in there:
            partial = name if name in filling else None
            whole += [name] if partial is None else []
            end += segment_bytes
            break
    for name in sorted(there | filling):
        if (begins := start_of(name, segment_bytes)) >= end and name in names(begins):
            raise Damaged(f"the archive has no {best}, and later ones are there: {places.wal}")
    return tuple(whole), partial, end


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
