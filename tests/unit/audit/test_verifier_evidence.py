"""Anchors, their witnesses, and a store's manifest, as the verifier reads them beside a log."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import anchor, manifest, merkle, record
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.cosignature import Cosigner, cosigned_text
from audit.note import VerifierKey
from audit.policy import parse_policy
from audit.proof import Proof
from audit.verdict import INCOMPLETE, INCONSISTENT, OK, TAMPERED, UNWITNESSED
from audit.verifier import main, verify_log
from audit.verifier_evidence import Evidence
from tests.fakes.audit_log import KEY, PRIVATE, leaf, leaves, write_log

ANCHOR_SECRET = Ed25519PrivateKey.from_private_bytes(b"\x0a" * 32)
ANCHORS = VerifierKey("portcullis.test/anchors", ANCHOR_SECRET.public_key().public_bytes_raw())
WITNESS_SECRET = Ed25519PrivateKey.from_private_bytes(b"\x0c" * 32)
WITNESS = Cosigner("witness.test/1", WITNESS_SECRET.public_key().public_bytes_raw())
POLICY = f"log {ANCHORS}\nwitness one {WITNESS}\nquorum one\n".encode()
AT = datetime(2026, 11, 21, 14, tzinfo=UTC)


def anchored(text, *, cosigned=True, secret=ANCHOR_SECRET):
    """A `portcullis-anchor@v1` file: the checkpoint's text in slot 5 of an anchor log's only leaf."""
    value = anchor.slot_value(b"s" * 32, text)
    tree = anchor.Tree({5: value}, 1024, bytes(1024 * 32))
    slot = anchor.SlotProof(5, 1024, b"s" * 32, text, tuple(tree.proof(5)))
    made = record.compose(
        log=ANCHORS.name, index=0, ts_ns=1, rt_ns=1, clock={}, kind=anchor.KIND,
        actor={"id": "recorder", "kind": "sys"}, retention="anchor",
        commitment=anchor.commitment(1024, tree.root),
    )  # fmt: skip
    head = Checkpoint(ANCHORS.name, 1, merkle.leaf_hash(made))
    note = head.text().encode() + b"\n" + ANCHORS.line(secret.sign(head.text().encode())).encode()
    if cosigned:
        word = (9).to_bytes(8, "big") + WITNESS_SECRET.sign(cosigned_text(9, head.text()))
        data = base64.b64encode(WITNESS.key_id + word).decode()
        note += f"— {WITNESS.name} {data}\n".encode()
    return anchor.Anchored(slot, made, Proof(0, [], note).text()).as_bytes()


def text_of(directory):
    return open_checkpoint((directory / "checkpoint").read_bytes(), KEY).text()


def verdict(directory, file, policy=POLICY):
    evidence = Evidence(parse_policy(policy), file, (ANCHORS,))
    return verify_log(directory, str(KEY), evidence=evidence)


@pytest.mark.parametrize("old", [1, 256, 300, 599, 600])
def test_a_log_that_extends_what_was_anchored_is_witnessed_so_far(tmp_path, old):
    write_log(tmp_path / "now", leaves(600))
    write_log(tmp_path / "old", leaves(old))
    found = verdict(tmp_path / "now", anchored(text_of(tmp_path / "old")))
    assert (found.code, found.witnessed, found.findings) == (OK, old, [])


def test_without_its_witness_the_log_is_right_and_unwitnessed(tmp_path):
    write_log(tmp_path, leaves(10))
    found = verdict(tmp_path, anchored(text_of(tmp_path), cosigned=False))
    assert (found.code, found.witnessed) == (UNWITNESSED, None)
    assert "not by one" in found.findings[0].what


def test_an_anchor_of_another_history_is_inconsistent(tmp_path):
    write_log(tmp_path / "now", leaves(600))
    write_log(tmp_path / "fork", [*leaves(300)[:299], leaf(299, kind="other", oid=None)])
    write_log(tmp_path / "longer", leaves(700))
    for other in ("fork", "longer"):
        found = verdict(tmp_path / "now", anchored(text_of(tmp_path / other)))
        assert found.code == INCONSISTENT, other
    stranger = Checkpoint("portcullis.test/other", 3, bytes(32)).text()
    assert verdict(tmp_path / "now", anchored(stranger)).code == INCONSISTENT


def test_every_member_of_an_anchors_file_counts(tmp_path):
    write_log(tmp_path, leaves(10))
    file = anchored(text_of(tmp_path))
    right = json.loads(file)
    changes = {
        "format": "x", "slot": 4, "slots": 512, "salt": base64.b64encode(b"t" * 32).decode(),
        "hashes": right["hashes"][1:], "leaf": right["leaf"].replace("recorder", "other"),
        "proof": right["proof"].replace("index 0", "index 1"),
        "checkpoint": right["checkpoint"].replace("\n10\n", "\n9\n"),
    }  # fmt: skip
    for name, value in changes.items():
        assert verdict(tmp_path, json.dumps({**right, name: value}).encode()).code == TAMPERED, name
    assert verdict(tmp_path, b"{}").code == TAMPERED
    assert verdict(tmp_path, anchored(text_of(tmp_path), secret=PRIVATE)).code == TAMPERED


def test_the_program_takes_an_anchor_with_its_own_key(tmp_path, capsys):
    write_log(tmp_path / "log", leaves(10))
    for name, data in (
        ("anchor", anchored(text_of(tmp_path / "log"))), ("policy", POLICY), ("keys", str(ANCHORS).encode()),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    words = [str(tmp_path / "log"), "--vkey", str(KEY), "--policy", str(tmp_path / "policy")]
    words += ["--anchor", str(tmp_path / "anchor")]
    assert main(words) == 1
    assert main([*words, "--anchor-vkey-file", str(tmp_path / "keys")]) == OK
    assert "10 of them witnessed" in capsys.readouterr().out


def write_manifest(directory, size):
    """One segment over every full file."""
    names = [tile.path() for tile in manifest.full_between(0, size - size % 256)]
    files = tuple(
        manifest.File(name, manifest.digest(data), len(data), AT)
        for name in names
        for data in [(directory / name).read_bytes()]
    )
    segment = manifest.Segment(KEY.name, 0, manifest.START, 0, size - size % 256, 1, AT, files)
    path = directory / manifest.path_of(0)
    path.parent.mkdir()
    path.write_bytes(segment.encode())
    return path


def test_a_manifest_is_checked_where_it_is_asked_for(tmp_path):
    write_log(tmp_path, leaves(600))
    words = [str(tmp_path), "--vkey", str(KEY), "--manifest"]
    assert main(words) == INCOMPLETE
    path = write_manifest(tmp_path, 600)
    assert main(words) == OK
    right = path.read_bytes()
    at = right.index(b"\n\n") + 2
    other = b"0" if right[at : at + 1] != b"0" else b"1"
    for wrong in (
        right[:at] + other + right[at + 1 :], right[:-1], right.replace(b"segment 0", b"segment 1"),
        right.replace(KEY.name.encode(), b"portcullis.test/xxxx"),
    ):  # fmt: skip
        path.write_bytes(wrong)
        assert main(words) in (TAMPERED, INCONSISTENT)
        assert main(words[:-1]) == OK
