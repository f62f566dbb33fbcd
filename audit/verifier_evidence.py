"""What speaks for a log beyond its own signature: witnesses, and the anchor that they signed.

Step 8 of audit/verifier.py and step 9 of audit/export/check.py. A tenant's own checkpoint bears no
witness's line: it stands, blinded, in an anchor (audit/anchor.py), and the anchor log's checkpoint is
what witnesses sign. The anchored checkpoint may be older than the log's: then the log must extend it,
which each caller proves in its own way, and is witnessed as far as it goes.
Standard library and `cryptography` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.anchor import Anchored, read_anchored
from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.note import VerifierKey
from audit.policy import Policy, check_quorum
from audit.verdict import INCONSISTENT, TAMPERED, UNWITNESSED, Verdict


@dataclass(frozen=True)
class Evidence:
    """What a reader brings besides the log's key. `anchor`: a `portcullis-anchor@v1` file, with the keys
    of the anchor log. `manifest`: the store's own is to be there, and right."""

    policy: Policy | None = None
    anchor: bytes | None = None
    anchor_keys: Sequence[VerifierKey] = ()
    manifest: bool = False


NONE = Evidence()


def open_anchor(verdict: Verdict, head: Checkpoint, evidence: Evidence) -> Anchored | None:
    """The anchor, signed by its log; that this log extends what it holds is for the caller."""
    if evidence.anchor is None:
        return None
    try:
        anchored = read_anchored(evidence.anchor)
        anchored.check(*evidence.anchor_keys)
        held = anchored.slot.checkpoint
    except Malformed as error:
        verdict.find(TAMPERED, f"anchor: {error}")
        return None
    if held.origin != head.origin:
        verdict.find(INCONSISTENT, f"the anchor is of the log {held.origin}")
        return None
    if held.size > head.size:
        what = f"the log has {head.size} records, and {held.size} when it was anchored"
        verdict.find(INCONSISTENT, what, head.size)
        return None
    return anchored


def count_witnesses(
    verdict: Verdict, head: Checkpoint, note: bytes, evidence: Evidence, anchored: Anchored | None
) -> None:
    """Who cosigned the log's checkpoint, or the anchor's that holds one."""
    if evidence.policy is None or (evidence.anchor is not None and anchored is None):
        return
    try:
        quorum = check_quorum(note if anchored is None else anchored.note, evidence.policy)
    except Malformed as error:
        verdict.find(TAMPERED, f"cosignatures: {error}")
        return
    if quorum.met:
        verdict.witnessed = head.size if anchored is None else anchored.slot.checkpoint.size
    else:
        verdict.find(UNWITNESSED, f"the policy's quorum is not met: {quorum.why()}")
