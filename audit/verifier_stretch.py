"""One stretch of a log, read and checked: 64 bundles of entries beside their tiles of leaf hashes.

What a process of its own can do without knowing the rest: steps 3, 5 and 6 of audit/verifier.py for
the bundles and the tiles of level 0. Returns the hashes over each 256 records, from which the caller
builds everything above. Standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from audit import merkle, tiles
from audit.tiles import ENTRIES, WIDTH, Tile, tile_of
from audit.verdict import INCOMPLETE, TAMPERED, Verdict
from audit.verifier_files import Source
from audit.verifier_story import Account, Listener

BUNDLES = 64
"""Bundles in a stretch: 16,384 records, some 8 MB and a fifth of a second."""

Spot = tuple[int, int]
"""A tile's level and number: its partial widths lie beside it."""


@dataclass(frozen=True)
class Task:
    """The bundles from `first` on, at most BUNDLES of them, of a log of `size` records.

    `widths`: which files lie there, by spot, where the source could be listed. `wanted`: the
    numbers of bundles whose leaf hashes the caller needs one by one.
    """

    source: Source
    origin: str
    size: int
    first: int
    widths: Mapping[Spot, Collection[int]] | None
    wanted: frozenset[int] = frozenset()


@dataclass
class Stretch:
    """What was found. `found` always counts; `differing` only where the signed root is reached."""

    found: Verdict = field(default_factory=Verdict)
    differing: Verdict = field(default_factory=Verdict)
    roots: list[bytes] = field(default_factory=list)
    edge: list[bytes] = field(default_factory=list)
    hashes: dict[int, list[bytes]] = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    first_bad: int | None = None
    missing: bool = False


def read_stretch(task: Task) -> Stretch:
    """Steps 3, 5 and 6 for these bundles; stops at the first one that is not whole."""
    out = Stretch()
    listener = Listener(task.origin)
    out.account = listener.account
    last = min(task.first + BUNDLES, (task.size + WIDTH - 1) // WIDTH)
    for n in range(task.first, last):
        _read_bundle(task, out, listener, n)
        if out.missing:
            break
    return out


def _read_bundle(task: Task, out: Stretch, listener: Listener, n: int) -> None:
    bundle, tile = tile_of(ENTRIES, n, task.size), tile_of(0, n, task.size)
    assert bundle is not None
    assert tile is not None
    files = Memory(task.source, out.found)
    entries, data = _entries(files, out.found, bundle)  # step 3
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    beside = tiles.split_hashes(files.read(tile) or files.read(tile.full()) or b"")
    if out.first_bad is None and hashes != beside[: len(hashes)]:
        pairs = enumerate(zip(hashes, beside, strict=False))
        at = next((k for k, (ours, theirs) in pairs if ours != theirs), None)
        out.first_bad = None if at is None else n * WIDTH + at
    for at, (entry, digest) in enumerate(zip(entries, hashes, strict=True)):
        listener.hear(out.found, entry, digest, n * WIDTH + at)  # step 6
    if n in task.wanted:
        out.hashes[n] = hashes
    if len(entries) < bundle.width:
        out.missing, out.edge = True, hashes
        if out.first_bad is None:
            out.first_bad = n * WIDTH + len(entries)
        return
    if bundle.is_full:
        out.roots.append(merkle.perfect_root(hashes))
    else:
        out.edge = hashes
    rebuilt = ((bundle, data), (tile, b"".join(hashes)))
    for one, wanted in rebuilt:  # step 5
        compare(files, out.differing, one, wanted, widths_of(task.widths, one, files))


def widths_of(
    widths: Mapping[Spot, Collection[int]] | None, tile: Tile, files: Memory
) -> Collection[int]:
    """Which widths of this tile are there to be compared."""
    if widths is not None:
        return widths.get((tile.level, tile.n), ())
    # Not listed: the published width, or the full tile that has taken its place.
    return [w for w in {tile.width, WIDTH} if files.read(Tile(tile.level, tile.n, w)) is not None]


def _entries(files: Memory, verdict: Verdict, tile: Tile) -> tuple[list[bytes], bytes]:
    """Step 3: as many entries of the bundle as can be read, and the bytes that hold just them."""
    first = tile.n * WIDTH
    data, whole = files.read(tile), tile
    if data is None and not tile.is_full:
        data, whole = files.read(tile.full()), tile.full()
    if data is None:
        verdict.find(INCOMPLETE, f"{tile.path()} is missing", first)
        return [], b""
    entries, end = tiles.split_bundle(data, tile.width)
    if len(entries) < tile.width or (whole == tile and end != len(data)):
        bad = first + len(entries)
        verdict.find(TAMPERED, f"{whole.path()} does not hold whole records", bad)
    return entries, data[:end]


def compare(
    files: Memory, verdict: Verdict, tile: Tile, data: bytes, widths: Collection[int]
) -> None:
    """Step 5: each file of this tile, partial ones of any width too, against what it must be."""
    if not any(width >= tile.width for width in widths):
        first = tile.n * WIDTH ** (tile.level + 1) if tile.level >= 0 else tile.n * WIDTH
        verdict.find(INCOMPLETE, f"{tile.path()} is missing", first)
    for width in widths:
        _compare_one(files, verdict, Tile(tile.level, tile.n, width), tile, data)


def _compare_one(files: Memory, verdict: Verdict, file: Tile, tile: Tile, data: bytes) -> None:
    found = files.read(file) or b""
    if file.width > tile.width:  # written for a checkpoint that is not out yet
        same = found.startswith(data)
    elif file.width == tile.width:
        same = found == data
    elif file.level == ENTRIES:
        entries, _ = tiles.split_bundle(data, file.width)
        same = found == tiles.encode_bundle(entries)
    else:
        same = found == data[: file.width * merkle.HASH_SIZE]
    if not same:
        span = 1 if file.level == ENTRIES else WIDTH**file.level
        at = _first_difference(found, data) // merkle.HASH_SIZE if file.level >= 0 else 0
        first = (tile.n * WIDTH + min(at, tile.width - 1)) * span
        verdict.find(TAMPERED, f"{file.path()} is not what the records give", first)


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


class Memory:
    """A source whose few files at one place are read once each; what cannot be read is not there."""

    def __init__(self, source: Source, verdict: Verdict) -> None:
        self._source, self._verdict = source, verdict
        self._seen: dict[Tile, bytes | None] = {}

    def read(self, tile: Tile) -> bytes | None:
        if tile not in self._seen:
            try:
                self._seen[tile] = self._source.read(tile.path())
            except OSError as error:
                first = tile.n * WIDTH ** (max(tile.level, 0) + 1)
                what = f"{tile.path()} cannot be read: {error.strerror or error}"
                self._verdict.find(INCOMPLETE, what, first)
                self._seen[tile] = None
        return self._seen[tile]
