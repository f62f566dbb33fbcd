"""An erasure's receipt is checked from its bytes: proof, opening, and every word of it."""

from __future__ import annotations

import copy
import hmac
import json

import pytest

from audit import merkle, record
from audit.proof import Proof
from audit.receipt_check import FORMAT, verify_receipt
from audit.tiles import Builder
from audit.verdict import OK, TAMPERED
from tests.fakes.audit_log import KEY, head_note, leaf, leaves

ERASURE = {
    "erasure_id": "e-1", "subject": "account:a", "through_version": 2, "records": 3, "why": "over",
    "proposal_id": "p-1", "asked_by": {"kind": "human", "id": "one"},
    "approved_by": {"kind": "human", "id": "two"},
}  # fmt: skip
SAID = {
    "erasure": "e-1", "subject": "account:a", "through_version": 2, "records": 3, "why": "over",
    "proposal": "p-1", "proposed_by": ERASURE["asked_by"], "approved_by": ERASURE["approved_by"],
    "k_rec": "07" * 32,
}  # fmt: skip


def receipt(kind=record.Kind.SHRED, said=SAID):
    payload = json.dumps(said)
    commitment = hmac.digest(bytes.fromhex(said["k_rec"]), payload.encode(), "sha256")
    entries = [*leaves(5), leaf(5, kind=kind.value, commitment=commitment), *leaves(9)[6:]]
    builder, hashes = Builder(), [merkle.leaf_hash(entry) for entry in entries]
    for entry, digest in zip(entries, hashes, strict=True):
        builder.append(entry, digest)
    note = head_note(builder)
    path = merkle.inclusion_proof(5, len(entries), lambda level, n: root_of(hashes, level, n))
    proof = Proof(5, path, note)
    proof.check(entries[5], KEY)
    return {
        "format": FORMAT, "origin": KEY.name, "vkey": str(KEY), "checkpoint": note.decode(),
        "erasure": copy.deepcopy(ERASURE),
        "record": {"i": 5, "leaf": entries[5].decode(), "payload": payload, "proof": proof.text()},
    }  # fmt: skip


def root_of(hashes, level, n):
    if level == 0:
        return hashes[n]
    left, right = root_of(hashes, level - 1, 2 * n), root_of(hashes, level - 1, 2 * n + 1)
    return merkle.node_hash(left, right)


def test_a_receipt_verifies():
    verdict = verify_receipt(receipt(), str(KEY))
    assert (verdict.code, verdict.size) == (OK, 9), verdict.findings


@pytest.mark.parametrize("member", sorted(ERASURE))
def test_no_word_of_it_can_be_changed(member):
    made = receipt()
    made["erasure"][member] = "something else"
    assert verify_receipt(made, str(KEY)).code == TAMPERED


def test_a_record_of_another_kind_is_no_receipt():
    assert verify_receipt(receipt(kind=record.Kind.HOLD), str(KEY)).code == TAMPERED


def test_another_payload_does_not_open_the_record():
    made = receipt()
    made["record"]["payload"] = json.dumps({**SAID, "records": 4})
    made["erasure"]["records"] = 4
    assert verify_receipt(made, str(KEY)).code == TAMPERED


def test_another_leaf_is_not_under_the_checkpoint():
    made = receipt()
    made["record"]["leaf"] = made["record"]["leaf"].replace('"i":5', '"i":6')
    assert verify_receipt(made, str(KEY)).code == TAMPERED


@pytest.mark.parametrize("made", [{}, {"record": {}, "erasure": {}}, {"record": 1, "erasure": 2}])
def test_what_is_no_receipt_is_refused_in_words(made):
    assert verify_receipt(made, str(KEY)).code == TAMPERED
