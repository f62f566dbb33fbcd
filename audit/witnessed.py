"""From one record to the witnesses, with nothing but a leaf, a tlog-proof@v1 and public keys. Pure.

1. The record is in its log's checkpoint, which the log signed.
2. That checkpoint stands in a slot of an anchor's tree (the proof's `extra` line).
3. The anchor is a leaf of the anchor log's checkpoint, which the anchor log signed.
4. Enough witnesses cosigned that checkpoint, as the policy counts.

What our records' proofs are, others' are not: a proof without `extra` whose own checkpoint is cosigned
is witnessed as it is. Standard library and `cryptography` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.anchor import read_anchored
from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.note import VerifierKey
from audit.policy import Policy, Quorum, check_quorum
from audit.proof import parse_proof


@dataclass(frozen=True)
class Witnessed:
    """What was shown. `anchor`: the anchor log's head, None where the log's own was cosigned; `quorum`:
    None where no policy was given."""

    head: Checkpoint
    anchor: Checkpoint | None
    quorum: Quorum | None


def check_record(
    leaf: bytes,
    proof: str,
    keys: Sequence[VerifierKey],
    anchor_keys: Sequence[VerifierKey] = (),
    policy: Policy | None = None,
) -> Witnessed:
    """Steps 1 to 4. Raises Malformed where any of 1 to 3 does not hold; 4 is in the answer.

    `keys`: the log's; `anchor_keys`: the anchor log's, without which no anchor is looked at.
    """
    read = parse_proof(proof)
    head = read.check(leaf, *keys)
    note, anchor = read.checkpoint, None
    if read.extra and anchor_keys:
        anchored = read_anchored(read.extra)
        if anchored.slot.text != head.text():
            raise Malformed("the anchor is of another checkpoint than the record's")
        anchor, note = anchored.check(*anchor_keys), anchored.note
    quorum = None if policy is None else check_quorum(note, policy)
    return Witnessed(head, anchor, quorum)
