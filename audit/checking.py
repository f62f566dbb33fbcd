"""Does a log in PostgreSQL say what its files say, and both what was signed? Decided purely.

`Walk` goes through a log from its first record to its last signed one, a few bundles at a time, and
compares at each index the row, the row's hash, its place in its order's story, its payload's being
there, and what each copy of the files holds. It grows the tree from what it read and compares it
with every tile above, with every checkpoint that was kept, and with every copy's own.

Where a row and a file differ, the signed root decides which of them is wrong: whichever the inclusion
proof leads to the root from is right, and the walk goes on with it, so that one change is one finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from audit import merkle, record, tiles
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.logs import Log, Signed
from audit.malformed import Malformed
from audit.tiles import ENTRIES, WIDTH, Builder, Read, Reader, Tile, tile_of

DATABASE = "database"


class Row(msgspec.Struct, frozen=True):
    """One leaf of the database, with what belongs to it.

    `before`: hash of the row before it in its order. `head`, `head_n`: of its order, where this is
    the order's last row; None, 0 elsewhere.
    """

    i: int
    leaf: bytes
    leaf_hash: bytes
    oid: str | None
    tenant_id: UUID
    has_payload: bool
    before: bytes | None
    is_last: bool
    head_n: int | None
    head: bytes | None


class Difference(msgspec.Struct, frozen=True):
    """Something that contradicts. `index`: the first record it concerns. `where`: `database` or a copy's name."""

    index: int
    where: str
    what: str

    def __str__(self) -> str:
        return f"index {self.index}: {self.where}: {self.what}"


class CopyAway(Exception):
    """A copy cannot be asked now, which says nothing of what it holds. Raised by its `read`."""

    def __init__(self, name: str, why: object) -> None:
        super().__init__(f"copy {name} cannot be asked: {why}")
        self.name = name


class Copy(msgspec.Struct, frozen=True):
    """One copy of the log's files: `head` is what its own checkpoint says, None where it has none."""

    name: str
    read: Read
    head: Checkpoint | None

    @property
    def size(self) -> int:
        return 0 if self.head is None else self.head.size


class State(msgspec.Struct):
    """Between two steps: the tree's right edge at a bundle's end, and the largest sizes ever seen."""

    edges: list[list[bytes]] = []
    size: int = 0
    seen: dict[str, int] = {}

    def builder(self) -> Builder:
        builder = Builder()
        builder.size = self.size
        builder.edges = [[], *([*row] for row in self.edges)]
        return builder


def open_copy(log: Log, name: str, read: Read) -> tuple[Copy, Difference | None]:
    """The copy as it stands, and what is wrong with its checkpoint. Raises CopyAway."""
    try:
        note = read("checkpoint")
        head = None if note is None else open_checkpoint(note, *log.known)
    except (Malformed, OSError) as error:
        return Copy(name, read, None), Difference(0, name, f"its checkpoint: {error}")
    return Copy(name, read, head), None


def compare_heads(
    state: State, copies: Sequence[Copy], kept: Signed | None, rows: int
) -> list[Difference]:
    """Sizes alone: nothing that was ever published may be above what is there now.

    `rows`: how many leaves the database has. `kept` must have been read after the copies.
    """
    out = []
    size = 0 if kept is None else kept.size
    if rows < size:
        out.append(
            Difference(rows, DATABASE, f"{rows} rows, but a checkpoint over {size} was kept")
        )
    for copy in copies:
        if copy.size > size:
            what = f"its last checkpoint is over {size} records, copy {copy.name} shows {copy.size}"
            out.append(Difference(min(size, rows), DATABASE, what))
    for name, now in {DATABASE: size, **{copy.name: copy.size for copy in copies}}.items():
        before = state.seen.get(name, 0)
        if now < before:
            out.append(Difference(now, name, f"showed {before} records before, and {now} now"))
        state.seen[name] = max(now, before)
    return out


class Walk:
    """A step of the way: `take()` the rows of one bundle after the other, then `save()`."""

    def __init__(
        self, log: Log, state: State, copies: Sequence[Copy], kept: Signed,
        checkpoints: Mapping[int, Signed], tail: int,
    ) -> None:  # fmt: skip
        """`checkpoints`: those kept within this step, by size. `tail`: how many rows there are."""
        self._tail = tail
        self._is_cut = tail < max(kept.size, *(copy.size for copy in copies), 0)
        self.found: list[Difference] = []
        self._log, self._copies, self._kept = log, copies, kept
        self._checkpoints = checkpoints
        self._builder = state.builder()
        self._frontier = self._builder.frontier()
        self._heads = [copy for copy in copies if copy.head is not None]
        self._said: set[tuple[str, str]] = set()

    @property
    def size(self) -> int:
        return self._builder.size

    def take(self, rows: Sequence[Row]) -> None:
        """The rows of the next bundle, as far as they are under the kept checkpoint."""
        n = self._builder.size // WIDTH
        start = n * WIDTH
        width = min(WIDTH, self._kept.size - start)
        by_index = {row.i: row for row in rows}
        copies = [
            (copy, self._bundle(copy, n, width), self._hashes(copy, n)) for copy in self._heads
        ]
        hashes = []
        for index in range(start, start + width):
            digest = self._record(by_index.get(index), index, index - start, copies)
            hashes.append(digest)
            self._frontier.append(digest)
            self._compare_signed(self._frontier.size)
        for digest in hashes:
            self._builder.append(b"", digest)
        self._compare_tiles(self._builder.take_full())

    def end(self) -> None:
        """After the last bundle under the kept checkpoint: the tiles of the right edge."""
        self._compare_tiles(self._builder.partials())

    def save(self, state: State) -> State:
        """The state from which the next step goes on; only between two bundles."""
        assert not self._builder.edges[0]
        return State(self._builder.edges[1:], self._builder.size, state.seen)

    def _record(
        self, row: Row | None, index: int, at: int,
        copies: Sequence[tuple[Copy, list[bytes], list[bytes]]],
    ) -> bytes:  # fmt: skip
        """Compare one record everywhere, and say its right hash."""
        mine = None if row is None else merkle.leaf_hash(row.leaf)
        right = mine
        for copy, entries, hashes in copies:
            if index >= copy.size:
                continue
            theirs = merkle.leaf_hash(entries[at]) if at < len(entries) else None
            if theirs is None:
                self._find(index, copy.name, "its entry bundle does not hold the record")
            elif theirs != mine:
                right = self._decide(index, copy, mine, theirs)
            if theirs is not None and (at >= len(hashes) or hashes[at] != theirs):
                self._find(index, copy.name, "its leaf hash is not that of its entry")
        if row is None:
            self._find(index, DATABASE, "there is no row")
        else:
            wrong = self._wrong_row(row, index)
            if wrong:
                self._find(index, DATABASE, wrong)
            self._compare_head(row)
        return right if right is not None else bytes(merkle.HASH_SIZE)

    def _decide(self, index: int, copy: Copy, mine: bytes | None, theirs: bytes) -> bytes | None:
        """Row and file differ: the signed roots tell which is wrong, and say so twice in a fork."""
        theirs_is_signed = _proven(copy, index, theirs)
        if mine is not None and any(_proven(one, index, mine) for one in self._heads):
            how = "was signed too: a fork" if theirs_is_signed else "is not the one that was signed"
            self._find(index, copy.name, f"its record {how}")
            return mine
        if mine is not None:
            self._find(index, DATABASE, f"the row is not the record in copy {copy.name}")
        if not theirs_is_signed:
            self._find(index, copy.name, "its entry is not proven by its checkpoint")
            return mine
        return theirs

    def _wrong_row(self, row: Row, index: int) -> str | None:
        if row.leaf_hash != merkle.leaf_hash(row.leaf):
            return "the row's hash is not that of its leaf"
        try:
            leaf = record.glance(row.leaf)
        except Malformed as error:
            return f"the row's leaf: {error}"
        if (leaf.i, leaf.log) != (index, self._log.origin):
            return f"the row's leaf says number {leaf.i} of log {leaf.log}"
        if (leaf.oid, self._log.tenant_id) != (row.oid, row.tenant_id):
            return "the row's order or tenant is not its leaf's"
        # An anchor's leaf commits to the logs' heads, and has no payload.
        if not (row.has_payload or self._log.is_anchor):
            return "the record's payload is gone"
        if leaf.op != (None if row.before is None else row.before.hex()):
            return f"the row does not continue order {row.oid}"
        return None

    def _compare_head(self, row: Row) -> None:
        """An order's head against its last row; where the tail was cut off, that is what is missing."""
        if not row.is_last or row.oid is None:
            return
        try:
            number = record.glance(row.leaf).on
        except Malformed:
            return
        if (row.head_n, row.head) == (number, row.leaf_hash):
            return
        index = self._tail if self._is_cut else row.i
        self._find(index, DATABASE, f"the head of order {row.oid} is not its last record")

    def _compare_signed(self, size: int) -> None:
        """The tree so far against every checkpoint that was given out over exactly so many records."""
        kept = self._checkpoints.get(size)
        copies = [copy for copy in self._heads if copy.size == size]
        if kept is None and not copies:
            return
        root = self._frontier.root()
        if kept is not None and kept.root != root:
            self._fork(size, DATABASE, "was kept")
        if kept is not None:
            try:
                head = open_checkpoint(kept.note, *self._log.known)
                if (head.size, head.root) != (kept.size, kept.root):
                    raise Malformed("row and note differ")
            except Malformed as error:
                self._find(size - 1, DATABASE, f"the checkpoint over {size} records: {error}")
        for copy in copies:
            if copy.head is not None and copy.head.root != root:
                self._fork(size, copy.name, "it shows")

    def _fork(self, size: int, where: str, which: str) -> None:
        if not any(one.where == where for one in self.found):  # else it is that, once more
            what = f"the checkpoint over {size} records that {which} is not of this log"
            self._find(size - 1, where, what)

    def _compare_tiles(self, rebuilt: Sequence[tuple[Tile, bytes]]) -> None:
        for tile, data in rebuilt:
            for copy in self._heads if tile.level > 0 else ():
                self._compare_tile(copy, tile, data)

    def _compare_tile(self, copy: Copy, tile: Tile, data: bytes) -> None:
        published = tile_of(tile.level, tile.n, copy.size)
        if published is None:
            return
        width = min(tile.width, published.width)
        found = _there(copy, published)
        wanted = data[: width * merkle.HASH_SIZE]
        if found is not None and found[: len(wanted)] == wanted:
            return
        at = 0 if found is None else _first_difference(found, wanted) // merkle.HASH_SIZE
        first = (tile.n * WIDTH + min(at, width - 1)) * WIDTH**tile.level
        what = "is missing" if found is None else "is not what the records give"
        self._find(first, copy.name, f"{published.path()} {what}")

    def _bundle(self, copy: Copy, n: int, width: int) -> list[bytes]:
        tile = tile_of(ENTRIES, n, copy.size)
        data = None if tile is None else _there(copy, tile)
        return tiles.split_bundle(data or b"", width)[0]

    def _hashes(self, copy: Copy, n: int) -> list[bytes]:
        tile = tile_of(0, n, copy.size)
        data = None if tile is None else _there(copy, tile)
        return tiles.split_hashes(data or b"")

    def _find(self, index: int, where: str, what: str) -> None:
        """The first of its like: a tail that was cut off is one finding, not one for each record."""
        if (where, what) not in self._said:
            self._said.add((where, what))
            self.found.append(Difference(index, where, what))


def _there(copy: Copy, tile: Tile) -> bytes | None:
    """The tile's file, or its full one's that has taken its place; None where neither can be read."""
    try:
        data = copy.read(tile.path())
        return copy.read(tile.full().path()) if data is None and not tile.is_full else data
    except OSError:
        return None


def _proven(copy: Copy, index: int, digest: bytes) -> bool:
    """Whether the copy's tiles lead from this hash at this index to the root that was signed."""
    if copy.head is None or index >= copy.head.size:
        return False
    reader = Reader(copy.read, copy.head.size)
    try:
        proof = merkle.inclusion_proof(index, copy.head.size, reader.node)
    except (Malformed, OSError):
        return False
    return merkle.verify_inclusion(digest, index, copy.head.size, proof, copy.head.root)


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def to_json(state: State) -> dict[str, Any]:
    """For PostgreSQL: hashes as base64."""
    made: dict[str, Any] = msgspec.to_builtins(state)
    return made


def from_json(value: Any) -> State:
    """The inverse. Raises ValueError."""
    return msgspec.convert(value, State)
