"""The body of `add-checkpoint` (C2SP tlog-witness): written by logs, read by witnesses. Pure.

    old <size>
    <consistency proof, one base64 hash per line>
    <empty line>
    <checkpoint: a signed note>

The checkpoint's origin may be any line and it may have extension lines: what our own logs forbid
themselves (audit/checkpoint.py) a witness of other people's logs does not forbid them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from audit.malformed import Malformed
from audit.merkle import HASH_SIZE
from audit.note import split_note, unb64

MOST_PROOF_LINES = 63
MOST_BYTES = 256 * 1024
"""Of a whole body: 63 hashes, and a checkpoint with all the signatures that a note may have."""
LARGEST_SIZE = 2**63 - 1

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)

Line = tuple[str, bytes, bytes]
"""A signature line: key name, key id, signature."""


@dataclass(frozen=True)
class Head:
    """A checkpoint as a witness reads it: nothing here is verified. `text`: with extension lines."""

    origin: str
    size: int
    root: bytes
    text: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Request:
    """One call of add-checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    head: Head


def write(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """The body that asks for a cosignature of the checkpoint `note`."""
    lines = [f"old {old}", *map(base64_of, proof)]
    return "\n".join(lines).encode() + b"\n\n" + note


def parse(body: bytes) -> Request:
    """Raises Malformed for anything but the format, or more than 63 lines of proof."""
    head, blank, note = body.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed("the lines before the checkpoint are ASCII") from None
    if not blank or not first.startswith("old "):
        raise Malformed("a request is: old <size>, proof lines, an empty line, a checkpoint")
    if len(hashes) > MOST_PROOF_LINES:
        raise Malformed(f"{len(hashes)} lines of proof; at most {MOST_PROOF_LINES} are allowed")
    proof = tuple(unb64(line) for line in hashes)
    if any(len(digest) != HASH_SIZE for digest in proof):
        raise Malformed("a proof's hashes have 32 bytes each")
    return Request(read_size(first.removeprefix("old ")), proof, read_head(note))


def read_head(note: bytes) -> Head:
    """The checkpoint in a note (C2SP tlog-checkpoint). Raises Malformed; verifies nothing."""
    text, lines = split_note(note)
    if not lines:
        raise Malformed("a note without a signature")
    origin, *rest = text.removesuffix("\n").split("\n")
    if len(rest) < 2 or not origin or any(not line for line in rest):
        raise Malformed("a checkpoint is three lines or more, none of them empty")
    root = unb64(rest[1])
    if len(root) != HASH_SIZE:
        raise Malformed("a root has 32 bytes")
    return Head(origin, read_size(rest[0]), root, text, tuple(lines))


def read_size(text: str) -> int:
    """A tree size in its one spelling. Raises Malformed."""
    if _SIZE.fullmatch(text) is None or int(text) > LARGEST_SIZE:
        raise Malformed(f"{text[:40]!r} is not a tree size")
    return int(text)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
