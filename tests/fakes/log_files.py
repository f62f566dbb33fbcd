"""A log's first store without a database: leaves in, tiles and a signed checkpoint out."""

from __future__ import annotations

import uuid
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import merkle, record
from audit.checkpoint import Checkpoint
from audit.logs import Log
from audit.tiles import Builder, parse_path, tile_of
from audit.worm.posix import PosixStore
from tenancy.values import TenantID


class LogFiles:
    """Publishes into `<root>/<log id>` as the integrator does."""

    def __init__(self, root: Path, seed: int = 7) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        log_id = uuid.UUID(int=seed)
        origin = f"portcullis.test/{log_id}"
        public = self._key.public_key().public_bytes_raw()
        self.log = Log(log_id, TenantID(uuid.UUID(int=seed + 1)), origin, "log-key", public)
        self.directory = root / str(log_id)
        self.store = PosixStore(self.directory)
        self._builder = Builder()
        self._said = ""

    @property
    def size(self) -> int:
        return self._builder.size

    def grow(self, count: int, word: str = "leaf") -> bytes:
        """So many leaves more, published; the checkpoint."""
        for _ in range(count):
            leaf = self._leaf(self._builder.size, word)
            self._builder.append(leaf, merkle.leaf_hash(leaf))
        full = self._builder.take_full()
        self.store.create([(tile.path(), data) for tile, data in full], seal=True)
        partial = self._builder.partials()
        self.store.create([(tile.path(), data) for tile, data in partial], seal=False)
        self.store.replace("vkey", f"{self.log.vkey}\n".encode())
        note = self.signed(self._builder.size, self._builder.root())
        self.store.replace("checkpoint", note)
        for name in self.store.names():
            self._prune(name)
        return note

    def _leaf(self, index: int, word: str) -> bytes:
        at = 1_800_000_000_000_000_000 + index
        return record.compose(
            log=self.log.origin, index=index, ts_ns=at, rt_ns=at, clock={"src": "test"},
            kind="login", actor={"kind": "human", "id": word}, retention="trade",
            commitment=bytes(32),
        )  # fmt: skip

    def signed(self, size: int, root: bytes) -> bytes:
        head = Checkpoint(self.log.origin, size, root)
        return head.note((self.log.key, self._key.sign(head.text().encode())))

    def _prune(self, name: str) -> None:
        tile = parse_path(name)
        now = tile_of(tile.level, tile.n, self.size)
        if not tile.is_full and now is not None and now.is_full:
            self.store.prune([name])
