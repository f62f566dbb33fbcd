"""A log's files, given out only where the signed checkpoint vouches for their bytes.

Whoever copies or restores a log uses this, so that rot and forgery stop where they are:

1. The right edge of the tree gives the signed root, else nothing is given out.
2. A full tile's root is the hash that its parent tile holds, up to the right edge.
3. A bundle's entries are the leaves that its tile of level 0 holds.

Standard library and this package's formats only.
"""

from __future__ import annotations

from hashlib import sha256

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.manifest import edge
from audit.tiles import ENTRIES, WIDTH, Read, Reader, Tile, encode_bundle


class Vouched:
    """The files of the tree under `head`. Raises Malformed, FileNotFoundError where its edge is not whole."""

    def __init__(self, read: Read, head: Checkpoint) -> None:
        self.head = head
        self._reader = Reader(read, head.size)
        self._known: dict[tuple[int, int], bytes] = {}
        if merkle.range_root(0, head.size, self._reader.node) != head.root:
            raise Malformed(f"the files do not give the signed root of size {head.size}")
        for tile in edge(head.size):
            if tile.level != ENTRIES:
                row = self._reader.hashes(tile.level, tile.n)
                self._known[tile.level, tile.n] = sha256(b"".join(row)).digest()

    def bytes_of(self, tile: Tile) -> bytes:
        """Exactly what the tile's file must hold. Raises Malformed, naming it, and FileNotFoundError."""
        if tile.level == ENTRIES:
            entries = self._reader.entries(tile.n)[: tile.width]
            hashes = self._hashes(0, tile.n)[: tile.width]
            for at, (entry, expected) in enumerate(zip(entries, hashes, strict=True)):
                if merkle.leaf_hash(entry) != expected:
                    raise Malformed(f"record {tile.n * WIDTH + at} is not the one that was signed")
            return encode_bundle(entries)
        return b"".join(self._hashes(tile.level, tile.n)[: tile.width])

    def check_extends(self, older: Checkpoint) -> None:
        """Raises Malformed where `older` is not a beginning of this tree."""
        new = self.head
        extends = 0 < older.size < new.size
        proof = merkle.consistency_proof(older.size, new.size, self._reader.node) if extends else []
        if not merkle.verify_consistency(older.size, new.size, older.root, new.root, proof):
            raise Malformed(f"the tree of {new.size} leaves does not extend that of {older.size}")

    def _hashes(self, level: int, n: int) -> list[bytes]:
        """Step 2, from the tile up to one that is known already."""
        found = row = self._reader.hashes(level, n)
        way: dict[tuple[int, int], bytes] = {}
        while self._known.get((level, n)) != (mark := sha256(b"".join(row)).digest()):
            if len(row) < WIDTH or (level, n) in self._known:
                raise Malformed(f"{Tile(level, n, len(row)).path()} changed while it was read")
            way[level, n] = mark
            above = self._reader.hashes(level + 1, n // WIDTH)
            if above[n % WIDTH] != merkle.perfect_root(row):
                raise Malformed(f"{Tile(level, n).path()} is not what was signed")
            level, n, row = level + 1, n // WIDTH, above
        self._known |= way
        return found
