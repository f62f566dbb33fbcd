"""C2SP tlog-tiles: where the hashes and entries of a log lie, and how they are packed.

A tile is up to 256 consecutive hashes of one level (8 levels of the tree apart); a bundle is up
to 256 entries, each with a big-endian uint16 length before it. A partial tile `.p/<W>` is a file
of its own and is never rewritten; it may go once its full tile stands. Pure; standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from audit.malformed import Malformed
from audit.merkle import HASH_SIZE, Frontier, fold, perfect_root

WIDTH = 256
HEIGHT = 8
ENTRIES = -1
"""The level that stands for entry bundles."""
LARGEST_ENTRY = 0xFFFF

_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, order=True)
class Tile:
    """Tile `n` of `level` (ENTRIES for a bundle), `width` hashes or entries wide."""

    level: int
    n: int
    width: int = WIDTH

    @property
    def is_full(self) -> bool:
        return self.width == WIDTH

    def path(self) -> str:
        """The name below the log's prefix."""
        digits = f"{self.n % 1000:03}"
        rest = self.n // 1000
        while rest:
            digits = f"x{rest % 1000:03}/{digits}"
            rest //= 1000
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{digits}" + ("" if self.is_full else f".p/{self.width}")

    def full(self) -> Tile:
        return Tile(self.level, self.n)


def parse_path(path: str) -> Tile:
    """The tile of that name. Raises Malformed for anything but the one right spelling."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise Malformed(f"{path!r} is not a tile's name")
    level, high, low, width = match.groups()
    n = int(high.replace("x", "").replace("/", "") + low)
    tile = Tile(
        ENTRIES if level == "entries" else int(level), n, WIDTH if width is None else int(width)
    )
    if tile.level > 63 or not 0 < tile.width <= WIDTH or tile.path() != path:
        raise Malformed(f"{path!r} is not a tile's name")
    return tile


def tile_of(level: int, n: int, size: int) -> Tile | None:
    """Tile `n` of `level` as a tree of `size` leaves publishes it; None where it holds nothing."""
    hashes = size if level == ENTRIES else size >> (HEIGHT * level)
    width = min(WIDTH, hashes - n * WIDTH)
    return Tile(level, n, width) if width > 0 else None


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    parts = []
    for entry in entries:
        if len(entry) > LARGEST_ENTRY:
            raise Malformed(f"an entry of {len(entry)} bytes; at most {LARGEST_ENTRY} are allowed")
        parts += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(parts)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Exactly `width` entries and nothing after them. Raises Malformed."""
    entries, end = split_bundle(data, width)
    if len(entries) != width or end != len(data):
        raise Malformed(f"a bundle of {width} entries is cut short or has bytes after its end")
    return entries


def split_bundle(data: bytes, most: int) -> tuple[list[bytes], int]:
    """Up to `most` whole entries from the front, and where they end. Never raises."""
    entries: list[bytes] = []
    at = 0
    while len(entries) < most and at + 2 <= len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data):
            break
        entries.append(data[at + 2 : end])
        at = end
    return entries, at


def split_hashes(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


class Builder:
    """Grows the tiles of a tree. `edges[level]` are the hashes of the one tile not yet full.

    Entries are kept beside level 0, so that bundles come out with their tiles. `take_full()` hands
    out what became full since the last call; `partials()` the right edge as it stands.
    """

    def __init__(self) -> None:
        self.size = 0
        self.edges: list[list[bytes]] = [[]]
        self.entries: list[bytes] = []
        self._full: list[tuple[Tile, bytes]] = []

    @classmethod
    def resume(cls, reader: Reader) -> Builder:
        """The builder that wrote the reader's tree. Raises FileNotFoundError, Malformed."""
        builder = cls()
        builder.size = reader.size
        if reader.size % WIDTH:
            builder.entries = reader.entries(reader.size // WIDTH)
        builder.edges = []
        level = 0
        while reader.size >> (HEIGHT * level):
            hashes = reader.size >> (HEIGHT * level)
            row = list(reader.hashes(level, hashes // WIDTH)) if hashes % WIDTH else []
            builder.edges.append(row)
            level += 1
        builder.edges = builder.edges or [[]]
        return builder

    def append(self, entry: bytes, hash_of_leaf: bytes) -> None:
        self.entries.append(entry)
        self.edges[0].append(hash_of_leaf)
        self.size += 1
        if len(self.entries) == WIDTH:
            bundle = Tile(ENTRIES, (self.size - 1) // WIDTH)
            self._full.append((bundle, encode_bundle(self.entries)))
            self.entries = []
        self._carry(0)

    def append_full(self, root: bytes) -> None:
        """256 leaves at once, given the root over them; their own bundle and tile do not come out."""
        assert not self.edges[0], "only between two tiles"
        if len(self.edges) == 1:
            self.edges.append([])
        self.edges[1].append(root)
        self.size += WIDTH
        self._carry(1)

    def copy(self) -> Builder:
        """Another builder at the same place, with nothing full to hand out."""
        other = Builder()
        other.size, other.entries = self.size, list(self.entries)
        other.edges = [list(row) for row in self.edges]
        return other

    def _carry(self, level: int) -> None:
        while len(self.edges[level]) == WIDTH:
            row = self.edges[level]
            n = (self.size >> (HEIGHT * (level + 1))) - 1
            self._full.append((Tile(level, n), b"".join(row)))
            self.edges[level] = []
            if level + 1 == len(self.edges):
                self.edges.append([])
            self.edges[level + 1].append(perfect_root(row))
            level += 1

    def take_full(self) -> list[tuple[Tile, bytes]]:
        full, self._full = self._full, []
        return full

    def partials(self) -> list[tuple[Tile, bytes]]:
        """The right edge: one bundle and one tile per level, where not empty."""
        out = []
        if self.entries:
            bundle = Tile(ENTRIES, self.size // WIDTH, len(self.entries))
            out.append((bundle, encode_bundle(self.entries)))
        for level, row in enumerate(self.edges):
            if row:
                n = self.size >> (HEIGHT * (level + 1))
                out.append((Tile(level, n, len(row)), b"".join(row)))
        return out

    def root(self) -> bytes:
        """The root over all leaves so far."""
        return fold(self._peaks())

    def frontier(self) -> Frontier:
        """The same tree without its tiles."""
        return Frontier(self.size, self._peaks())

    def _peaks(self) -> list[bytes]:
        peaks: list[bytes] = []
        for row in reversed(self.edges):
            at = 0
            while at < len(row):
                step = 1 << ((len(row) - at).bit_length() - 1)
                peaks.append(perfect_root(row[at : at + step]))
                at += step
        return peaks


Read = Callable[[str], bytes | None]


class Reader:
    """The published tiles of a tree of `size` leaves, read by name from anywhere.

    `read` gives a file's bytes or None. Where a partial tile is gone because its full one stands,
    the full one's beginning is used, as tlog-tiles allows. Nothing read here is trusted: callers
    check what they compute against a signed root.
    """

    def __init__(self, read: Read, size: int) -> None:
        self.size = size
        self._read = read
        self.hashes = lru_cache(maxsize=256)(self._hashes)

    def _hashes(self, level: int, n: int) -> list[bytes]:
        tile = tile_of(level, n, self.size)
        if tile is None:
            raise Malformed(f"a tree of {self.size} leaves has no tile {n} at level {level}")
        data = self.bytes_of(tile)
        if len(data) < tile.width * HASH_SIZE:
            raise Malformed(f"{tile.path()} is shorter than {tile.width} hashes")
        return split_hashes(data[: tile.width * HASH_SIZE])

    def bytes_of(self, tile: Tile) -> bytes:
        """The file's bytes, or its full tile's. Raises FileNotFoundError, naming the tile."""
        data = self._read(tile.path())
        if data is None and not tile.is_full:
            data = self._read(tile.full().path())
        if data is None:
            raise FileNotFoundError(tile.path())
        return data

    def entries(self, n: int) -> list[bytes]:
        tile = tile_of(ENTRIES, n, self.size)
        if tile is None:
            raise Malformed(f"a tree of {self.size} leaves has no bundle {n}")
        entries, _ = split_bundle(self.bytes_of(tile), tile.width)
        if len(entries) != tile.width:
            raise Malformed(f"{tile.path()} is cut short")
        return entries

    def node(self, level: int, index: int) -> bytes:
        """merkle.Node over the tiles."""
        tile_level, inside = divmod(level, HEIGHT)
        first = index << inside
        n, at = divmod(first, WIDTH)
        return perfect_root(self.hashes(tile_level, n)[at : at + (1 << inside)])
