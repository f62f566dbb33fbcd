"""A SHA-256 for each whole WAL segment of the archive, in one file that sha256sum understands.

A record's own CRC shows damage as the end of the WAL, and a recovery would stop there without a word.
With the sum a restore says which file is not what was written. A segment is summed once it is whole;
what a crash left unsummed is summed at the next look.
"""

from __future__ import annotations

import os
from pathlib import Path

from ops.backup.layout import SEGMENT, Damaged, Places, sha256_of


def known(places: Places) -> dict[str, str]:
    """By segment. A last line that a crash cut short is none. Raises Damaged for any other."""
    try:
        text = places.sums.read_text()
    except FileNotFoundError:
        return {}
    whole, _, _ = text.rpartition("\n")
    found = {}
    for line in whole.split("\n") if whole else []:
        digest, _, name = line.partition("  ")
        if not SEGMENT.fullmatch(name) or len(digest) != 64:
            raise Damaged(f"{places.sums} has a line that is none: {line[:80]!r}")
        found[name] = digest
    return found


def add_new(places: Places) -> list[str]:
    """Sum what is whole and has no sum yet; the names. Raises Damaged, OSError."""
    there = known(places)
    new = [name for name in places.segments() if name not in there]
    if new:
        lines = [f"{sha256_of(places.wal / name).sha256}  {name}\n" for name in new]
        _append(places.sums, "".join(lines))
    return new


def _append(path: Path, text: str) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "rb+") as out:
        end = out.seek(0, os.SEEK_END)
        while end and _byte(out.fileno(), end - 1) != b"\n":  # what a crash cut short
            end -= 1
        out.truncate(end)
        out.seek(end)
        out.write(text.encode())
        out.flush()
        os.fsync(out.fileno())


def _byte(descriptor: int, at: int) -> bytes:
    return os.pread(descriptor, 1, at)


def wrong(places: Places, names: list[str]) -> list[str]:
    """Which of these segments are not what was written, in words. Raises Damaged, OSError."""
    there = known(places)
    return [
        f"wal/{name} is not what was written: its SHA-256 differs"
        for name in names
        if name in there and sha256_of(places.wal / name).sha256 != there[name]
    ]
