"""C2SP tlog-proof@v1: one record's inclusion proof and its checkpoint, in one text file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from audit import merkle
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.malformed import Malformed
from audit.note import VerifierKey, unb64

HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True)
class Proof:
    """That the entry at `index` is in the tree whose signed head is `checkpoint` (a note).

    `extra`: what goes with the proof and is not authenticated by it; of a record's it is the proof of
    the checkpoint's own anchor (audit/anchor.py), where there is one.
    """

    index: int
    hashes: Sequence[bytes]
    checkpoint: bytes
    extra: bytes = b""

    def text(self) -> str:
        lines = [HEADER, f"index {self.index}"]
        if self.extra:
            lines.insert(1, f"extra {base64.b64encode(self.extra).decode()}")
        lines += [base64.b64encode(digest).decode() for digest in self.hashes]
        return "\n".join(lines) + "\n\n" + self.checkpoint.decode()

    def check(self, leaf: bytes, *keys: VerifierKey) -> Checkpoint:
        """The checkpoint that holds `leaf`. Raises Malformed where anything does not verify."""
        head = open_checkpoint(self.checkpoint, *keys)
        digest = merkle.leaf_hash(leaf)
        if not merkle.verify_inclusion(digest, self.index, head.size, self.hashes, head.root):
            raise Malformed(f"the proof does not lead from record {self.index} to the signed root")
        return head


def parse_proof(text: str) -> Proof:
    """Raises Malformed for anything but the format. `extra` is given as it stands, unverified."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != HEADER:
        raise Malformed(f"a proof begins with {HEADER}")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = unb64(lines.pop(0).removeprefix("extra "))
    match = _INDEX.fullmatch(lines.pop(0)) if lines else None
    if match is None:
        raise Malformed("a proof names its index on the line after the first")
    hashes = [unb64(line) for line in lines]
    if any(len(digest) != merkle.HASH_SIZE for digest in hashes):
        raise Malformed("a proof's hashes have 32 bytes each")
    return Proof(int(match[1]), hashes, note.encode(), extra)
