"""Step 9 of audit/export/check.py: whether others than the log's own operator speak for a package's head.

What a reader brings decides how far it goes: the anchor log's keys open the anchor, a policy says whose
cosignatures on it are believed. Both must come from outside the package to prove anything. The anchored
head is the log's as it was a little earlier; the proof that the package's head only adds to it is in the
package. Standard library and `cryptography` only.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.verdict import INCOMPLETE, INCONSISTENT, TAMPERED, UNWITNESSED, Verdict
from audit.verifier_evidence import Evidence, count_witnesses, open_anchor

PROOF, CONSISTENCY, POLICY = "anchor/proof", "anchor/consistency.json", "policy"
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


def check_anchor(
    verdict: Verdict, directory: Path, head: Checkpoint, note: bytes, brought: Evidence
) -> int | None:
    """How many of the log's records are under the anchored head that the package's head extends; None
    where there is none, or nobody brought the anchor log's keys. The witnesses go into the verdict."""
    evidence, held = brought, None
    if brought.anchor_keys:
        evidence = replace(brought, anchor=_file(verdict, directory, PROOF))
    anchored = open_anchor(verdict, head, evidence)
    if anchored is not None:
        held = anchored.slot.checkpoint
        if not _extends(verdict, directory, held, head):
            return None
    count_witnesses(verdict, head, note, evidence, anchored)
    if brought.anchor_keys and evidence.anchor is None and verdict.witnessed is None:
        what = "no anchor is in this package: the log's own signature alone speaks for it"
        verdict.find(UNWITNESSED, what)
    return None if held is None else held.size


def _extends(verdict: Verdict, directory: Path, held: Checkpoint, head: Checkpoint) -> bool:
    data = _file(verdict, directory, CONSISTENCY)
    if data is None:
        verdict.find(INCOMPLETE, f"{CONSISTENCY} is missing")
        return False
    try:
        hashes = _hashes(data)
    except Malformed as error:
        verdict.find(TAMPERED, str(error))
        return False
    if merkle.verify_consistency(held.size, head.size, held.root, head.root, hashes):
        return True
    what = f"the log is not shown to extend its anchored checkpoint of size {held.size}"
    verdict.find(INCONSISTENT, what)
    return False


def _hashes(data: bytes) -> list[bytes]:
    """Raises Malformed for anything but a list of hashes in hex."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        given = None
    if type(given) is not list or not all(type(x) is str and _HASH.fullmatch(x) for x in given):
        raise Malformed(f"{CONSISTENCY} is no list of hashes")
    return [bytes.fromhex(digest) for digest in given]


def _file(verdict: Verdict, directory: Path, name: str) -> bytes | None:
    """The file's bytes; None where there is none to be read."""
    try:
        return (directory / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        verdict.find(INCOMPLETE, f"{name} cannot be read: {error.strerror}")
        return None
