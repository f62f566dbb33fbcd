"""From a record to the witnesses: one leaf, one tlog-proof@v1, three public keys and a policy."""

from __future__ import annotations

import secrets

import pytest
from click.testing import CliRunner

from audit import merkle
from audit.anchor import Anchored
from audit.anchoring import Slots, decide
from audit.checkpoint import Checkpoint
from audit.logs import Tail
from audit.malformed import Malformed
from audit.policy import parse_policy
from audit.proof import Proof, parse_proof
from audit.witness.key import make_key
from audit.witnessed import check_record
from ops.cli.audit import verify_proof
from tenancy.clock_quality import unmeasured
from tests.fakes.growing_log import GrowingLog
from tests.unit.audit.test_anchor import ANCHOR, ORIGIN, PRIVATE, log_of

NOW = 1_800_000_000


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(9)


@pytest.fixture
def witnesses(tmp_path):
    return [make_key(tmp_path / f"w{n}", f"witness.test/w{n}") for n in range(3)]


def policy_of(witnesses, rule: str) -> bytes:
    lines = [f"witness w{n} {key.public}" for n, key in enumerate(witnesses)]
    return "\n".join([*lines, f"group all {rule} w0 w1 w2", "quorum all", ""]).encode()


def proof_of(log: GrowingLog, index: int, witnesses) -> str:
    """As the recorder and `audit prove` make it."""
    log_row = log_of(log.key.name)
    slots = Slots({})
    slots.give([log_row])
    chance = secrets.token_bytes(32 * (1 + slots.width))
    made = decide(
        ANCHOR, Tail(0, 0), [(log_row, log.head())], slots, NOW * 10**9, unmeasured(), chance
    )
    head = Checkpoint(ORIGIN, 1, merkle.leaf_hash(made.leaf))
    note = head.note((ANCHOR.key, PRIVATE.sign(head.text().encode())))
    note += "".join(key.cosign(head.text(), NOW) for key in witnesses).encode()
    anchored = Anchored(made.placed[0].proof, made.leaf, Proof(0, [], note).text())
    hashes = merkle.inclusion_proof(index, len(log.leaves), log.node)
    return Proof(index, hashes, log.note(), anchored.as_bytes()).text()


def test_a_record_leads_to_its_witnesses(log, witnesses):
    proof = proof_of(log, 4, witnesses[:2])
    for rule, met in (("any", True), ("2", True), ("all", False)):
        policy = parse_policy(policy_of(witnesses, rule))
        found = check_record(b"leaf 4", proof, [log.key], [ANCHOR.key], policy)
        assert (found.head.size, found.anchor and found.anchor.origin) == (9, ORIGIN)
        assert found.quorum is not None
        assert (found.quorum.met, found.quorum.times) == (met, {"w0": NOW, "w1": NOW})


def test_one_witness_that_signed_twice_counts_once(log, witnesses):
    proof = proof_of(log, 4, [witnesses[0], witnesses[0]])
    policy = parse_policy(policy_of(witnesses, "2"))
    found = check_record(b"leaf 4", proof, [log.key], [ANCHOR.key], policy)
    assert found.quorum is not None
    assert not found.quorum.met


def test_without_the_anchors_keys_no_anchor_is_believed(log, witnesses):
    policy = parse_policy(policy_of(witnesses, "any"))
    found = check_record(b"leaf 4", proof_of(log, 4, witnesses), [log.key], (), policy)
    assert (found.anchor, found.quorum and found.quorum.met) == (None, False)


def test_another_record_another_key_another_anchor_are_refused(log, witnesses):
    proof = proof_of(log, 4, witnesses)
    with pytest.raises(Malformed):
        check_record(b"leaf 5", proof, [log.key], [ANCHOR.key])
    with pytest.raises(Malformed):
        check_record(b"leaf 4", proof, [log.key], [log.key])
    older = parse_proof(proof)
    log.grow(1)
    hashes = merkle.inclusion_proof(4, 10, log.node)
    swapped = Proof(4, hashes, log.note(), older.extra).text()
    with pytest.raises(Malformed, match="another checkpoint"):
        check_record(b"leaf 4", swapped, [log.key], [ANCHOR.key])


def test_the_extra_line_is_c2sps_and_survives_reading(log, witnesses):
    text = proof_of(log, 0, witnesses)
    assert text.split("\n")[1].startswith("extra ")
    assert parse_proof(text).text() == text
    plain = Proof(0, merkle.inclusion_proof(0, 9, log.node), log.note()).text()
    assert parse_proof(plain).extra == b""
    with pytest.raises(Malformed):
        parse_proof(text.replace("extra ", "extra  ", 1))


def test_from_the_command_line_the_exit_status_says_it(log, witnesses, tmp_path):
    files = {
        "proof": proof_of(log, 4, witnesses[:2]).encode(), "leaf": b"leaf 4", "vkey": f"{log.key}\n".encode(),
        "anchor": f"{ANCHOR.key}\n".encode(), "two": policy_of(witnesses, "2"),
        "all": policy_of(witnesses, "all"), "other": b"leaf 5",
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for leaf, policy, status in (("leaf", "two", 0), ("leaf", "all", 4), ("other", "two", 2)):
        asked = [
            str(tmp_path / "proof"), "--leaf", str(tmp_path / leaf),
            "--vkey-file", str(tmp_path / "vkey"), "--anchor-vkey-file", str(tmp_path / "anchor"),
            "--policy", str(tmp_path / policy),
        ]  # fmt: skip
        assert CliRunner().invoke(verify_proof, asked).exit_code == status
