"""What speaks for a log beyond its own signature: witnesses, the anchor they signed, a store's manifest.

Steps 8 and 9 of audit/verifier.py. A tenant's own checkpoint bears no witness's line: it stands, blinded,
in an anchor (audit/anchor.py), and the anchor log's checkpoint is what witnesses sign. The anchored
checkpoint may be older than the log's: then the log must extend it, and is witnessed as far as it goes.
Standard library and `cryptography` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.anchor import Anchored, read_anchored
from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.manifest import digest, read_chain
from audit.note import VerifierKey
from audit.policy import Policy, check_quorum
from audit.tiles import WIDTH, parse_path
from audit.verdict import INCOMPLETE, INCONSISTENT, TAMPERED, UNWITNESSED, Verdict
from audit.verifier_files import Source


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
    """Step 8: the anchor, signed by its log; that this log extends what it holds is for the caller."""
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
    """Step 8: who cosigned the log's checkpoint, or the anchor's that holds one."""
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


def check_manifest(verdict: Verdict, source: Source, head: Checkpoint, evidence: Evidence) -> None:
    """Step 9: the manifest's chain holds, and each file that it names is there as it says."""
    if not evidence.manifest:
        return
    try:
        manifest = read_chain(source.read)
    except (Malformed, OSError) as error:
        verdict.find(TAMPERED, str(error))
        return
    if manifest is None:
        verdict.find(INCOMPLETE, "there is no manifest")
        return
    if manifest.origin != head.origin:
        verdict.find(INCONSISTENT, f"the manifest is of the log {manifest.origin}")
    for name, file in manifest.files.items():
        tile = parse_path(name)
        first = tile.n * WIDTH ** (max(tile.level, 0) + 1)
        try:
            data = source.read(name)
        except OSError:
            data = None
        if data is None:
            verdict.find(INCOMPLETE, f"{name} is in the manifest and missing", first)
        elif (len(data), digest(data)) != (file.size, file.sha256):
            verdict.find(TAMPERED, f"{name} is not what the manifest says", first)
