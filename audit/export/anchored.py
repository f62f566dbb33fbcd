"""What goes with a package so that others than us speak for its log's head: the anchor that holds an earlier one.

1. The log's own file `anchor` is read before its checkpoint, which therefore is never older than what
   the anchor holds: a head is published first, and anchored after.
2. The anchor is checked under the anchor log's keys, and the published head is proven to extend what it
   holds. What does not fit is not given out: the whole export is refused.
3. Into the package go the file as it stands, that proof (hashes in hex, none where both are one size),
   and, where the operator has one, the policy that names whom he has asked to cosign.

A log that was never anchored has no such file, and its packages are as they would be without this module.
Who reads them is audit/export/check_anchor.py.
"""

from __future__ import annotations

import json

import msgspec

from audit import merkle
from audit.anchor import read_anchored
from audit.checkpoint import Checkpoint
from audit.export.check_anchor import CONSISTENCY, POLICY, PROOF
from audit.logs import Log
from audit.malformed import Malformed
from audit.note import split_note
from audit.policy import Policy, spelled
from audit.tiles import Reader


class Anchoring(msgspec.Struct, frozen=True, kw_only=True):
    """`data`: of the log's file. `size`: of the head that is anchored. `hashes`: from it to the package's
    head. `vkey`: the anchor log's. `cosigned_by`: names on its checkpoint, which nobody here verified."""

    data: bytes
    size: int
    hashes: tuple[bytes, ...]
    vkey: str
    cosigned_by: tuple[str, ...]
    policy: Policy | None = None

    def files(self) -> list[tuple[str, bytes]]:
        """Name and bytes of each."""
        hashes = [digest.hex() for digest in self.hashes]
        made = [
            (PROOF, self.data),
            (CONSISTENCY, json.dumps(hashes, indent=1).encode() + b"\n"),
            ("anchor/vkey", f"{self.vkey}\n".encode()),
        ]
        if self.policy is not None:
            made.append((POLICY, spelled(self.policy)))
        return made


def read_anchoring(
    data: bytes, anchor_log: Log | None, head: Checkpoint, tree: Reader, policy: Policy | None
) -> Anchoring:
    """Steps 2 and 3. Raises Malformed for an anchor of which anything does not fit."""
    if anchor_log is None:
        raise Malformed("this log was anchored, and there is no anchor log")
    anchored = read_anchored(data)
    anchored.check(*anchor_log.known)
    held = anchored.slot.checkpoint
    if held.origin != head.origin or held.size > head.size:
        raise Malformed(f"the anchor holds {held.origin} of size {held.size}, not an earlier head")
    hashes = merkle.consistency_proof(held.size, head.size, tree.node) if held.size else []
    if not merkle.verify_consistency(held.size, head.size, held.root, head.root, hashes):
        raise Malformed(f"the log does not extend its anchored checkpoint of size {held.size}")
    _, lines = split_note(anchored.note)
    return Anchoring(
        data=data, size=held.size, hashes=tuple(hashes), vkey=anchor_log.vkey, policy=policy,
        cosigned_by=tuple(sorted({name for name, _, _ in lines} - {anchor_log.origin})),
    )  # fmt: skip
