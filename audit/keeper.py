"""One log in one store: bring it to what is published, make that permanent, enter it in the manifest.

A further store is brought up from the first one, and nothing is written to it that the signed head
does not vouch for (audit/vouched.py):

1. Write the full bundles and tiles that it lacks.   *Crash: files that no checkpoint there names.*
2. Write the partial ones of the head.               *Crash: the same; the same bytes come again.*
3. Write `vkey`, where it grew.                      *Crash: a key that has signed nothing there yet.*
4. Replace `checkpoint`.                             *Crash: old partial tiles stay until the next start.*
5. Remove partial tiles whose full tile now stands.

In every store, the first too, what is under its checkpoint is then kept:

6. keep() the new full files: permanent, read back.  *Crash: kept files that the manifest lacks.*
7. Write the manifest's next segment, keep it.       *Crash: the next one goes on after it.*

Start-up and repair are this same way: a store that is new, or was away for a year, lacks more. Where
two signed heads contradict each other (Forked) nothing is written any more: that is no fault of a
store, it is a log of which somebody has another version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.integrator import CHECKPOINT, VKEY
from audit.logs import Log
from audit.malformed import Malformed
from audit.manifest import (
    START,
    File,
    Segment,
    digest,
    edge,
    full_between,
    last_segment,
    path_of,
    segments,
    utc_seconds,
)
from audit.merkle import EMPTY_ROOT
from audit.tiles import WIDTH, Tile, parse_path, tile_of
from audit.vouched import Vouched
from audit.worm.port import NotKept, Store
from tenancy.clock import Clock
from tenancy.errors import PortcullisError

FILES_AT_ONCE = 64
LEAVES_IN_SEGMENT_MOST = 65_536
"""Bounds a segment's size (513 lines), and what is kept but not yet listed."""

T = TypeVar("T")


class Forked(PortcullisError):
    """A store holds a signed head of this log that is ahead of the first store's, or of another tree."""

    code = "audit_store_forked"


class Keeper:
    """See the module. `first` is the store to follow, `store` itself where that is the first;
    `keep_for`: how long from now the files must stay, at least."""

    def __init__(
        self, log: Log, store: Store, first: Store, clock: Clock, keep_for: timedelta
    ) -> None:
        self.log = log
        self.store = store
        self.first = first
        self._clock = clock
        self._term_days = -(-keep_for // timedelta(days=1))
        self._last: tuple[Segment, str] | None = None
        self._partial: list[Tile] = []

    def open(self) -> None:
        """Find where the manifest ends; remove partial tiles that a crash left. Raises as the store."""
        self._last = last_segment(self.store.read)
        if self._last is not None:
            self._term_days = max(self._term_days, self._last[0].term_days)
        self._partial = [
            tile for name in self.store.names() if not (tile := parse_path(name)).is_full
        ]
        self._prune(self.head().size)

    def head(self) -> Checkpoint:
        """The store's own checkpoint; of size 0 where it has none. Raises Malformed, OSError."""
        note = self.store.read(CHECKPOINT)
        if note is None:
            return Checkpoint(self.log.origin, 0, EMPTY_ROOT)
        return open_checkpoint(note, *self.log.known)

    def follow(self) -> Checkpoint:
        """Steps 1 to 5: what the first store has published is here on return.

        Raises Forked; Malformed where the first store's files are not what was signed, Conflict
        where this one's are not; OSError, NotKept: call again.
        """
        note = self.first.read(CHECKPOINT)
        here = self.head()
        if note is None:
            if here.size:
                raise Forked(f"log {self.log.log_id}: the first store has no checkpoint any more")
            return here
        head = open_checkpoint(note, *self.log.known)
        self._check(head, here)
        if head.size > here.size:
            self._copy(head, here)
        shown = self.first.read(VKEY)
        if shown is not None and shown != self.store.read(VKEY):
            self.store.replace(VKEY, shown)
        if note != self.store.read(CHECKPOINT):
            self.store.replace(CHECKPOINT, note)
        self._prune(head.size)
        return head

    def enter(self) -> int:
        """Steps 6 and 7, up to this store's own head; how many segments were written."""
        head, written = self.head(), 0
        size = head.size // WIDTH * WIDTH
        if self._entered < size:
            files = Vouched(self.first.read, head)
            while (start := self._entered) < size:
                self._enter(files, start, min(size, start + LEAVES_IN_SEGMENT_MOST))
                written += 1
        return written

    def lengthen(self, keep_for: timedelta) -> int:
        """Keep everything longer, where `keep_for` is longer than before; how many files that were.

        A retention never becomes shorter: less than before changes nothing.
        """
        days = -(-keep_for // timedelta(days=1))
        self._term_days = max(self._term_days, days)
        if self._last is None or self._last[0].term_days >= days:
            return 0
        lines: dict[str, File] = {}
        for segment, data in list(segments(self.store.read)):
            until = utc_seconds(segment.at + timedelta(days=days))
            self.store.keep([path_of(segment.number)], until)
            short = [file.name for file in segment.files if file.until < until]
            for chosen in _chunks(short):
                lines.update({file.name: file for file in self.store.keep(chosen, until)})
            last = segment, digest(data)
        self._last = last
        self._write(self._entered, self._entered, tuple(lines.values()))
        return len(lines)

    @property
    def _entered(self) -> int:
        return 0 if self._last is None else self._last[0].end

    def _check(self, head: Checkpoint, here: Checkpoint) -> None:
        if here.size > head.size:
            raise Forked(
                f"log {self.log.log_id}: a further store has {here.size} signed records,"
                f" the first {head.size}"
            )
        if here.size == head.size and here.root != head.root:
            raise Forked(f"log {self.log.log_id}: two signed trees of size {head.size}")

    def _copy(self, head: Checkpoint, here: Checkpoint) -> None:
        files = Vouched(self.first.read, head)
        try:
            files.check_extends(here)
        except Malformed as error:
            raise Forked(f"log {self.log.log_id}: a further store's {error}") from error
        for chosen in _chunks(full_between(here.size, head.size)):
            self.store.create([(t.path(), files.bytes_of(t)) for t in chosen], seal=True)
        partial = edge(head.size)
        self.store.create([(t.path(), files.bytes_of(t)) for t in partial], seal=False)
        self._partial += partial

    def _prune(self, size: int) -> None:
        """Step 5."""

        def is_over(tile: Tile) -> bool:
            now = tile_of(tile.level, tile.n, size)
            return now is not None and now.is_full

        over = [tile for tile in self._partial if is_over(tile)]
        if over:
            self.store.prune([tile.path() for tile in over])
            self._partial = [tile for tile in self._partial if tile not in over]

    def _enter(self, files: Vouched, start: int, end: int) -> None:
        """Step 6 and 7. What is not what was signed is made permanent nowhere."""
        until, lines = self._until(), []
        for chosen in _chunks(full_between(start, end)):
            signed = {tile.path(): digest(files.bytes_of(tile)) for tile in chosen}
            for kept in self.store.keep(list(signed), until):
                if kept.sha256 != signed[kept.name]:
                    raise NotKept(f"{kept.name} was read back as something else")
                lines.append(kept)
        self._write(start, end, tuple(lines))

    def _write(self, start: int, end: int, files: tuple[File, ...]) -> None:
        """Step 7."""
        number, previous = 0, START
        if self._last is not None:
            number, previous = self._last[0].number + 1, self._last[1]
        segment = Segment(
            self.log.origin, number, previous, start, end, self._term_days, self._now(), files
        )
        data, name = segment.encode(), path_of(number)
        self.store.create([(name, data)], seal=True)
        (kept,) = self.store.keep([name], self._until())
        if kept.sha256 != digest(data):
            raise NotKept(f"{name} was read back as something else")
        self._last = segment, digest(data)

    def _now(self) -> datetime:
        return utc_seconds(self._clock.now())

    def _until(self) -> datetime:
        return self._now() + timedelta(days=self._term_days)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), FILES_AT_ONCE):
        yield items[at : at + FILES_AT_ONCE]
