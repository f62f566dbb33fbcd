"""One log's leaves become files and a signed checkpoint, in an order that survives a crash anywhere.

The numbers go on from the sequencer's transaction, which is step 1 (audit/recorder.py has them all).

2. Write entry bundles.     *Crash: files that no checkpoint names; the same bytes come again.*
3. Write tiles.             *Crash: the same.*
4. Sign the checkpoint.     *Crash: a signature that nobody saw; the next one extends the same tree.*
5. Keep it in PostgreSQL.   *Crash: the file `checkpoint` is older than the row; open() publishes the row.*
   Of the anchor log, have it cosigned by witnesses.   *Crash: published without; the next anchor follows at once.*
6. Replace `checkpoint`.    *Crash: partial tiles that are no longer needed stay for a while.*
7. Remove the partial tiles whose full tile now stands.

`open()` is start-up and repair in one: it takes the last kept checkpoint, brings the files up to it
from the rows where another host signed it (audit/remade.py), proves that the files give its root, and
refuses to go on (LogHalted) where database and files contradict each other; a database restored from
an old backup must not fork the log. Before each signature the new tree,
read back from the files, is proven to extend the last signed one.

A log's key may be changed while it is written: `rekey()` first shows the new key in the file `vkey`
(which only ever grows), then every checkpoint bears both keys' signatures, until the old one is ended
in the database and signs no more. A crash between leaves a key in the file that has not signed yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from audit import merkle, tiles
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.logs import Log, Signed, read_leaves, read_signed
from audit.malformed import Malformed
from audit.note import ECDSA_P256
from audit.ports import LogHalted, NoteSigner, p256_label
from audit.recent import Recent
from audit.remade import remake
from audit.threads import in_thread
from audit.tiles import ENTRIES, WIDTH, Builder, Reader, Tile
from audit.worm.port import Conflict, Store
from tenancy.database import Connection
from tenancy.errors import PortcullisError, Unavailable

CHECKPOINT = "checkpoint"
VKEY = "vkey"
MOST_LEAVES = 16_384
"""Leaves in one publication: bounds memory, and how long the files of one take."""
SIGN_TIMEOUT_S = 10.0

T = TypeVar("T")

Cosign = Callable[[Checkpoint, bytes, Reader], Awaitable[bytes]]
"""From a head, its note and its tree to the note with witnesses' lines. Raises LogHalted where one of them
has seen another tree: then the note is not published."""


class SignerUnavailable(Unavailable):
    """The checkpoint could not be signed now. Sequencing goes on; publication waits."""

    code = "audit_signer_unavailable"


class Publication(msgspec.Struct, frozen=True):
    """A tree about to be published: its new files, in the order of writing, and its head."""

    files: list[tuple[Tile, bytes]]
    head: Checkpoint


class Integrator:
    """Publishes one log. `size` leaves are under the published checkpoint."""

    def __init__(
        self, log: Log, store: Store, signer: NoteSigner, recent: Recent | None = None
    ) -> None:
        """`recent`: where leaves that were just committed may be had without reading them."""
        self.log = log
        self._recent = recent or Recent()
        self._store = store
        self._signer = signer
        self._builder = Builder()
        self._signed = Checkpoint(log.origin, 0, merkle.EMPTY_ROOT)
        self._waiting: Publication | None = None
        self._partials: dict[tuple[int, int], set[str]] = {}  # names that stand, of tiles not full

    @property
    def size(self) -> int:
        return self._signed.size

    @property
    def head(self) -> Checkpoint:
        """What was signed and published last."""
        return self._signed

    @property
    def store(self) -> Store:
        return self._store

    async def open(self, conn: Connection) -> None:
        """Start-up and repair. Raises LogHalted, OSError, psycopg.Error."""
        try:
            kept, shown = await read_signed(conn, self.log), await in_thread(self._shown)
            head = self._agreed(kept, shown)
            if kept is None or head is None:
                return
            if shown is None or shown.size < head.size:
                await remake(conn, self.log, self._store, shown, head)
            edge = max(0, head.size - (head.size % WIDTH or WIDTH))
            leaves = await read_leaves(conn, self.log, edge, head.size - edge)
            await in_thread(self._open_files, kept, shown, head, [digest for _, digest in leaves])
        except (Conflict, Malformed, FileNotFoundError) as error:
            raise LogHalted(f"log {self.log.log_id}: {error}") from error

    async def check_elsewhere(self, seen: Sequence[Checkpoint]) -> None:
        """Other places' last checkpoints of this log must lie on the way to ours. Raises LogHalted.

        Where database and files were restored from one old backup together, only who kept a
        checkpoint elsewhere can tell.
        """
        try:
            for other in seen:
                await in_thread(self._check_seen, other)
        except (Conflict, Malformed, FileNotFoundError) as error:
            raise LogHalted(f"log {self.log.log_id}: {error}") from error

    def _check_seen(self, other: Checkpoint) -> None:
        head = self._signed
        if other.size > head.size:
            raise Malformed(f"another store has {other.size} signed records, this one {head.size}")
        node = Reader(self._store.read, head.size).node
        extends = 0 < other.size < head.size
        proof = merkle.consistency_proof(other.size, head.size, node) if extends else []
        if not merkle.verify_consistency(other.size, head.size, other.root, head.root, proof):
            raise Malformed(
                f"another store's signed tree of {other.size} is not a part of this one"
            )

    async def rekey(self, log: Log) -> None:
        """Go on with the log's keys as they are now. Raises LogHalted, OSError."""
        try:
            await in_thread(self._show_keys, log)
        except (Conflict, Malformed) as error:
            raise LogHalted(f"log {log.log_id}: {error}") from error
        self.log = log

    async def publish(
        self,
        reading: Connection,
        keep: Callable[[Log, Signed], Any],
        cosign: Cosign | None = None,
    ) -> Checkpoint | None:
        """Publish what is new, up to MOST_LEAVES; None where nothing is.

        `keep` does step 5 in the session that holds the lock. Raises SignerUnavailable (call again:
        the same publication goes on), LogHalted, or OSError and psycopg.Error (open a new Integrator).
        """
        publication = self._waiting or await self._gather(reading)
        if publication is None:
            return None
        self._waiting = publication
        try:
            await in_thread(self._write, publication)
        except (Conflict, Malformed, FileNotFoundError) as error:
            raise LogHalted(f"log {self.log.log_id}: {error}") from error
        head = publication.head
        note = await self._sign(head)
        await keep(self.log, Signed(head.size, head.root, note))
        if cosign is not None:
            note = await cosign(head, note, Reader(self._store.read, head.size))
        await in_thread(self._show, publication, note)
        self._signed, self._waiting = head, None
        return head

    async def _gather(self, conn: Connection) -> Publication | None:
        start = self._builder.size
        leaves = self._recent.take(self.log.log_id, start, MOST_LEAVES)
        if not leaves:
            leaves = await read_leaves(conn, self.log, start, MOST_LEAVES)
        if not leaves:
            return None
        return await in_thread(self._build, leaves)

    def _build(self, leaves: Sequence[tuple[bytes, bytes]]) -> Publication:
        for leaf, digest in leaves:
            if merkle.leaf_hash(leaf) != digest:
                raise LogHalted(f"log {self.log.log_id}: a row's leaf and hash differ")
            self._builder.append(leaf, digest)
        files = self._builder.take_full() + self._builder.partials()
        files.sort(key=lambda file: (file[0].level, file[0].n))
        head = Checkpoint(self.log.origin, self._builder.size, self._builder.root())
        return Publication(files, head)

    def _write(self, publication: Publication) -> None:
        """Steps 2 and 3, and the guard before step 4."""
        for tile, _ in publication.files:
            if not tile.is_full:
                self._stands(tile)
        for bundles in (True, False):
            for full in (True, False):
                chosen = [
                    (tile.path(), data)
                    for tile, data in publication.files
                    if (tile.level == ENTRIES) is bundles and tile.is_full is full
                ]
                self._store.create(chosen, seal=full)
        self._check_extends(publication.head)

    def _check_extends(self, head: Checkpoint) -> None:
        old = self._signed
        if head.size <= old.size:
            raise Malformed(f"size {head.size} is not above the last signed size {old.size}")
        node = Reader(self._store.read, head.size).node
        if merkle.range_root(0, head.size, node) != head.root:
            raise Malformed(f"the files do not give the root to be signed at size {head.size}")
        proof = merkle.consistency_proof(old.size, head.size, node) if old.size else []
        if not merkle.verify_consistency(old.size, head.size, old.root, head.root, proof):
            raise Malformed(f"the tree of {head.size} leaves does not extend that of {old.size}")

    async def _sign(self, head: Checkpoint) -> bytes:
        """Step 4."""
        log, text = self.log, head.text().encode()
        signed = []
        try:
            if not log.signing:
                raise Malformed("every key of the log has ended")
            for key in log.signing:
                for verifier in log.verifiers(key):
                    second = verifier.kind == ECDSA_P256
                    label = p256_label(key.label) if second else key.label
                    async with asyncio.timeout(SIGN_TIMEOUT_S):
                        signature = await self._signer.sign_note(label, text)
                    signed.append((verifier, signature))
            return head.note(*signed)
        except (PortcullisError, OSError, TimeoutError, Malformed) as error:
            raise SignerUnavailable(f"log {self.log.log_id}: not signed: {error}") from error

    def _show(self, publication: Publication, note: bytes) -> None:
        """Steps 6 and 7."""
        self._store.replace(CHECKPOINT, note)
        done = {(tile.level, tile.n) for tile, _ in publication.files if tile.is_full}
        self._prune(done)

    def _prune(self, done: set[tuple[int, int]]) -> None:
        for place in done:
            if place in self._partials:
                self._store.prune(sorted(self._partials.pop(place)))

    def _stands(self, tile: Tile) -> None:
        """A partial tile's file, which its full one will replace."""
        self._partials.setdefault((tile.level, tile.n), set()).add(tile.path())

    def _shown(self) -> Checkpoint | None:
        """What the set shows. The keys first: a set that says others is another log's."""
        self._show_keys(self.log)
        note = self._store.read(CHECKPOINT)
        return None if note is None else open_checkpoint(note, *self.log.known)

    def _agreed(self, kept: Signed | None, shown: Checkpoint | None) -> Checkpoint | None:
        """The head that the database kept, which the set may be behind, and never ahead of."""
        if kept is None:
            if shown is not None:
                raise Malformed(f"the files go to {shown.size}; the database knows no checkpoint")
            return None
        head = open_checkpoint(kept.note, *self.log.known)
        if (head.size, head.root) != (kept.size, kept.root):
            raise Malformed("the kept checkpoint's row and note differ")
        if shown is not None and (shown.size > head.size or _differ(shown, head)):
            raise Malformed(
                f"the files show size {shown.size}, the database kept {head.size}: "
                "it is older than what was published, or not the same log"
            )
        return head

    def _open_files(
        self, kept: Signed, shown: Checkpoint | None, head: Checkpoint, edge: Sequence[bytes]
    ) -> None:
        self._resume(head, edge)
        if shown is None or shown.size < head.size:
            self._store.replace(CHECKPOINT, kept.note)
        self._signed = head
        self._prune_left_over()

    def _show_keys(self, log: Log) -> None:
        """The file `vkey` says every key of the log, and none is ever taken out of it or changed."""
        shown = self._store.read(VKEY)
        wanted = f"{log.vkey}\n".encode()
        if shown is None:
            self._store.create([(VKEY, wanted)], seal=False)
        elif not wanted.startswith(shown):
            raise Malformed("the file vkey says keys that are not this log's")
        elif wanted != shown:
            self._store.replace(VKEY, wanted)

    def _resume(self, head: Checkpoint, edge: Sequence[bytes]) -> None:
        reader = Reader(self._store.read, head.size)
        self._builder = Builder.resume(reader)
        if self._builder.root() != head.root:
            raise Malformed(f"the files do not give the signed root at size {head.size}")
        in_files = reader.hashes(0, (head.size - 1) // WIDTH)
        if list(edge) != in_files:
            raise Malformed(f"the database's last leaves before {head.size} are not the files'")

    def _prune_left_over(self) -> None:
        def is_full_now(tile: Tile) -> bool:
            published = tiles.tile_of(tile.level, tile.n, self._signed.size)
            return published is not None and published.is_full

        left_over = []
        for name in self._store.names():
            tile = tiles.parse_path(name)
            if tile.is_full:
                continue
            if is_full_now(tile):
                left_over.append(name)
            else:
                self._stands(tile)
        self._store.prune(left_over)


def _differ(one: Checkpoint, other: Checkpoint) -> bool:
    return one.size == other.size and one.root != other.root
