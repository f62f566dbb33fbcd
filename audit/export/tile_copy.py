"""Which tiles prove a record, and their copies: a part of the log that any tlog-tiles reader can use.

The proof of an export is not a format of ours. It is the checkpoint and, byte for byte as the log
published them, those tiles that lead from the exported records to the signed root: for each record
the tiles above it, and the right edge of the tree, without which no root can be computed. Adjoining
records share nearly all of them (32 bytes for each record of a whole range; a lone record needs one
tile of each level, 8 KiB at most each). Pure but for `Copier`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from audit.tiles import HEIGHT, Reader, Tile, tile_of


def edge(size: int) -> list[Tile]:
    """The tiles, not all of them partial, in which a tree of that size ends."""
    tiles, level = [], 0
    while size >> (HEIGHT * level):
        last = ((size >> (HEIGHT * level)) - 1) >> HEIGHT
        tile = tile_of(level, last, size)
        assert tile is not None
        tiles.append(tile)
        level += 1
    return tiles


def above(index: int, size: int) -> Iterator[Tile]:
    """The tiles over one record, from the leaves up."""
    level = 0
    while (tile := tile_of(level, index >> (HEIGHT * (level + 1)), size)) is not None:
        yield tile
        level += 1


class Copier:
    """Copies the tiles of ascending records into a directory, each once."""

    def __init__(self, tree: Reader, into: Path, wrote: Callable[[str, bytes], None]) -> None:
        """`wrote(name, bytes)` is told of each file."""
        self._tree, self._into, self._wrote = tree, into, wrote
        self._done: dict[int, int] = {}
        self._edge = set(edge(tree.size))
        for tile in sorted(self._edge):
            self._copy(tile)

    def take(self, index: int) -> None:
        """The record's tiles. Raises FileNotFoundError where the store has lost one."""
        level = 0
        while (n := index >> (HEIGHT * (level + 1))) != self._done.get(level):
            tile = tile_of(level, n, self._tree.size)
            if tile is None:
                return
            self._done[level] = n
            if tile not in self._edge:
                self._copy(tile)
            level += 1

    def _copy(self, tile: Tile) -> None:
        # A partial tile may be gone because its full one stands: its beginning is what it was.
        data = self._tree.bytes_of(tile)[: tile.width * 32]
        path = self._into / tile.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._wrote(tile.path(), data)
