"""A small log in memory that grows, signs checkpoints, proves itself consistent, and can be forked."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.note import VerifierKey


class GrowingLog:
    def __init__(self, origin: str = "log.test/1", seed: bytes = b"\x01" * 32) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(origin, self.private.public_key().public_bytes_raw())
        self.leaves: list[bytes] = []

    def grow(self, count: int, say: str = "leaf") -> GrowingLog:
        self.leaves += [f"{say} {len(self.leaves) + n}".encode() for n in range(count)]
        return self

    def fork(self, size: int) -> GrowingLog:
        """The same key, the same first `size` leaves, and then another story."""
        other = GrowingLog(self.key.name, self.private.private_bytes_raw())
        other.leaves = self.leaves[:size]
        return other

    def node(self, level: int, index: int) -> bytes:
        width = 1 << level
        leaves = self.leaves[index * width : (index + 1) * width]
        return merkle.perfect_root([merkle.leaf_hash(leaf) for leaf in leaves])

    def head(self, size: int | None = None) -> Checkpoint:
        end = len(self.leaves) if size is None else size
        return Checkpoint(self.key.name, end, merkle.range_root(0, end, self.node))

    def note(self, size: int | None = None) -> bytes:
        return self.sign(self.head(size))

    def sign(self, head: Checkpoint) -> bytes:
        return head.note((self.key, self.private.sign(head.text().encode())))

    def proof(self, old: int, size: int | None = None) -> list[bytes]:
        end = len(self.leaves) if size is None else size
        return merkle.consistency_proof(old, end, self.node) if old else []
