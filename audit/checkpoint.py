"""C2SP tlog-checkpoint: origin, size and root of a log, as the text of a signed note.

No extension lines, in writing or in reading: nothing that the log's monitors cannot check.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from audit.malformed import Malformed
from audit.merkle import HASH_SIZE
from audit.note import VerifierKey, assemble, check_name, open_note, unb64

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def note(self, *signed: tuple[VerifierKey, bytes]) -> bytes:
        """The note with these signatures. Raises Malformed where one is not its key's over this text."""
        for key, signature in signed:
            if key.name != self.origin or not key.verifies(self.text().encode(), signature):
                raise Malformed(f"the signature for {self.origin} does not verify")
        return assemble(self.text(), [key.line(signature) for key, signature in signed])


def parse(text: str) -> Checkpoint:
    """The checkpoint in a note's text. Raises Malformed."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise Malformed("a checkpoint is three lines: origin, size, root")
    origin, size, root = lines[:3]
    check_name(origin)
    if _SIZE.fullmatch(size) is None:
        raise Malformed(f"{size!r} is not a tree size")
    digest = unb64(root)
    if len(digest) != HASH_SIZE:
        raise Malformed("a root has 32 bytes")
    return Checkpoint(origin, int(size), digest)


def open_checkpoint(note: bytes, *keys: VerifierKey) -> Checkpoint:
    """The checkpoint that one of `keys` signed for the log of the same name, and none of them wrongly.

    A log whose key was changed has several: old and new sign together for a time. Raises Malformed.
    """
    checkpoint = parse(open_note(note, *keys))
    for key in keys:
        if checkpoint.origin != key.name:
            raise Malformed(f"a checkpoint of {checkpoint.origin!r}, signed by {key.name!r}")
    return checkpoint
