"""Every log's head in one tree, without showing whose, how many or how long: what an anchor is. Pure.

At each interval the checkpoint of every log goes into a slot of a small tree: as `SHA256(salt ‖ text)`, the
salt 32 fresh random bytes and the text the three lines that the log signed. A log has one slot for good;
the slots that are nobody's hold random bytes, and there are always a power of two of them, 1,024 or more.
Who has one slot's proof sees hashes that say nothing of the others, and a depth that says how many there
are up to the next power of two. Salts are new each time, so that a log at rest looks like one that grows.

The tree's root and its width make one leaf of the anchor log (a record of kind `anchor`, whose commitment
`pc` is `SHA256(0x02 ‖ width ‖ root)`, the width as 4 bytes, big-endian): with the width bound, a slot means
one place and no other. So from a record to a witness it goes: inclusion in its log's checkpoint, slot in
the anchor's tree, inclusion of that leaf in the anchor log's cosigned checkpoint.

Standard library only, but for what audit/note.py needs: whoever has a slot's proof checks it with this file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from audit import checkpoint, merkle, record
from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.note import VerifierKey, unb64
from audit.proof import parse_proof

FORMAT = "portcullis-anchor@v1"
KIND = "anchor"
SLOTS_LEAST = 1024
SLOTS_MOST = 1 << 24
SALT_SIZE = 32


def slot_value(salt: bytes, text: str) -> bytes:
    """What stands in a log's slot. `text`: a checkpoint's three lines."""
    return sha256(salt + text.encode()).digest()


def commitment(slots: int, root: bytes) -> bytes:
    """What the anchor log's leaf commits to."""
    return sha256(b"\x02" + slots.to_bytes(4, "big") + root).digest()


def width_for(logs: int, before: int = SLOTS_LEAST) -> int:
    """How many slots: a power of two with a free one for the next log, never fewer than there were."""
    wanted = before
    while wanted <= logs:
        wanted *= 2
    return wanted


def free_slot(taken: Collection[int], slots: int, chance: Callable[[int], int]) -> int:
    """A slot for a new log, each free one as likely; there must be one. `chance(n)`: 0 to n-1, unguessable."""
    while (slot := chance(slots)) in taken:
        pass
    return slot


class Tree:
    """The tree of one anchor."""

    def __init__(self, values: Mapping[int, bytes], slots: int, filler: bytes) -> None:
        """`values`: by slot. `filler`: `slots` × 32 random bytes; each slot of nobody's takes its own."""
        assert slots & (slots - 1) == 0, slots
        assert len(filler) == slots * merkle.HASH_SIZE
        at = merkle.HASH_SIZE
        row = [
            merkle.leaf_hash(values.get(slot, filler[slot * at : (slot + 1) * at]))
            for slot in range(slots)
        ]
        self.slots = slots
        self._rows = [row]
        while len(row) > 1:
            row = [merkle.node_hash(row[k], row[k + 1]) for k in range(0, len(row), 2)]
            self._rows.append(row)

    @property
    def root(self) -> bytes:
        return self._rows[-1][0]

    def proof(self, slot: int) -> list[bytes]:
        """From the slot's sibling up: one hash per level, the same number for every slot."""
        return [row[(slot >> level) ^ 1] for level, row in enumerate(self._rows[:-1])]


@dataclass(frozen=True)
class SlotProof:
    """That a checkpoint stands in `slot` of an anchor's tree: what its log's tenant alone is given."""

    slot: int
    slots: int
    salt: bytes
    text: str
    hashes: tuple[bytes, ...]

    @property
    def checkpoint(self) -> Checkpoint:
        return checkpoint.parse(self.text)

    def commitment(self) -> bytes:
        """What the anchor log's leaf must say. Raises Malformed where this is no proof of any tree."""
        depth = self.slots.bit_length() - 1
        if not 0 < self.slots <= SLOTS_MOST or self.slots != 1 << depth:
            raise Malformed(f"{self.slots} slots are no power of two")
        if not 0 <= self.slot < self.slots or len(self.hashes) != depth:
            raise Malformed(f"slot {self.slot} of {self.slots} has a proof of {depth} hashes")
        if len(self.salt) != SALT_SIZE or any(len(h) != merkle.HASH_SIZE for h in self.hashes):
            raise Malformed("a salt and a proof's hashes have 32 bytes each")
        running = merkle.leaf_hash(slot_value(self.salt, self.text))
        for level, sibling in enumerate(self.hashes):
            right = (self.slot >> level) & 1
            running = merkle.node_hash(*((sibling, running) if right else (running, sibling)))
        return commitment(self.slots, running)


@dataclass(frozen=True)
class Anchored:
    """A checkpoint, its slot's proof, the anchor log's leaf and that leaf's own proof (tlog-proof@v1)."""

    slot: SlotProof
    leaf: bytes
    proof: str

    def check(self, *keys: VerifierKey) -> Checkpoint:
        """The anchor log's checkpoint, signed by `keys`, that holds this one's. Raises Malformed.

        Whether witnesses cosigned it: audit.policy.check_quorum(self.note, …).
        """
        proof = parse_proof(self.proof)
        head = proof.check(self.leaf, *keys)
        leaf = record.read(self.leaf)
        if (leaf.log, leaf.index, leaf.kind) != (head.origin, proof.index, KIND):
            raise Malformed("the leaf is no anchor of that log")
        if leaf.commitment != self.slot.commitment().hex():
            raise Malformed(f"slot {self.slot.slot} does not lead to what anchor {leaf.index} says")
        return head

    @property
    def note(self) -> bytes:
        """The anchor log's checkpoint with all its signatures."""
        return parse_proof(self.proof).checkpoint

    def as_json(self) -> dict[str, Any]:
        slot = self.slot
        return {
            "format": FORMAT,
            "checkpoint": slot.text,
            "slot": slot.slot,
            "slots": slot.slots,
            "salt": base64.b64encode(slot.salt).decode(),
            "hashes": [base64.b64encode(digest).decode() for digest in slot.hashes],
            "leaf": self.leaf.decode(),
            "proof": self.proof,
        }

    def as_bytes(self) -> bytes:
        return json.dumps(self.as_json(), indent=1, ensure_ascii=False).encode() + b"\n"


def read_anchored(data: bytes | Mapping[str, Any]) -> Anchored:
    """The inverse of as_json() and as_bytes(). Raises Malformed; nothing is verified."""
    try:
        given = json.loads(data) if isinstance(data, bytes) else data
        if given["format"] != FORMAT:
            raise Malformed(f"an anchor file begins with its format, {FORMAT}")
        numbers = (given["slot"], given["slots"])
        if any(type(number) is not int for number in numbers):
            raise Malformed("slot and slots are counts")
        texts = [given[name] for name in ("checkpoint", "leaf", "proof")]
        if any(type(text) is not str for text in texts):
            raise Malformed("checkpoint, leaf and proof are text")
        for text in texts:
            text.encode()  # JSON can spell half a character, which no later step could hash
        slot = SlotProof(
            *numbers,
            unb64(given["salt"]),
            given["checkpoint"],
            tuple(unb64(digest) for digest in given["hashes"]),
        )
        return Anchored(slot, given["leaf"].encode(), given["proof"])
    except Malformed:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"not an anchor's proof: {error!r}") from None


def split_proof(data: bytes) -> tuple[bytes, ...]:
    """A proof's hashes from their concatenation."""
    size = merkle.HASH_SIZE
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def join_proof(hashes: Sequence[bytes]) -> bytes:
    return b"".join(hashes)
