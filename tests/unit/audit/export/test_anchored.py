"""What of an anchor goes into a package: that which fits the log, of whatever size it was, and nothing else."""

from __future__ import annotations

import uuid

import pytest

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.export.anchored import read_anchoring
from audit.export.check_anchor import check_anchor
from audit.logs import Log
from audit.malformed import Malformed
from audit.policy import parse_policy, spelled
from audit.tiles import Reader
from audit.verdict import INCONSISTENT, OK, Verdict
from audit.verifier_evidence import Evidence
from tests.fakes.audit_log import KEY, leaf, leaves, write_log
from tests.unit.audit.test_verifier_evidence import ANCHORS, POLICY, WITNESS, anchored, text_of

ANCHOR_LOG = Log(
    uuid.UUID(int=1), uuid.UUID(int=2), ANCHORS.name, "k", ANCHORS.public_key, kind="anchor"
)
BROUGHT = Evidence(parse_policy(POLICY), anchor_keys=(ANCHORS,))
HEAD = 600


@pytest.fixture
def log(tmp_path):
    """A log of 600 records: its head, its note and its tree."""
    write_log(tmp_path / "log", leaves(HEAD))
    note = (tmp_path / "log/checkpoint").read_bytes()
    tree = Reader(lambda name: (tmp_path / "log" / name).read_bytes(), HEAD)
    return open_checkpoint(note, KEY), note, tree


def package(directory, anchoring):
    for name, data in anchoring.files():
        file = directory / "p" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return directory / "p"


def text(directory, entries):
    write_log(directory, entries)
    return text_of(directory)


@pytest.mark.parametrize("size", [1, 255, 256, 300, 599, 600])
def test_whatever_its_size_the_anchored_head_is_shown_to_be_extended(tmp_path, log, size):
    head, note, tree = log
    file = anchored(text(tmp_path / "old", leaves(size)))
    made = read_anchoring(file, ANCHOR_LOG, head, tree, None)
    assert (made.size, made.vkey, made.cosigned_by) == (size, str(ANCHORS), (WITNESS.name,))
    verdict = Verdict()
    assert check_anchor(verdict, package(tmp_path, made), head, note, BROUGHT) == size
    assert (verdict.code, verdict.witnessed) == (OK, size)


def test_an_empty_head_is_extended_by_every_log(tmp_path, log):
    head, note, tree = log
    made = read_anchoring(anchored(text(tmp_path / "old", [])), ANCHOR_LOG, head, tree, None)
    verdict = Verdict()
    assert check_anchor(verdict, package(tmp_path, made), head, note, BROUGHT) == 0
    assert (verdict.code, verdict.witnessed) == (OK, 0)


def test_two_heads_of_one_size_that_differ_are_a_fork(tmp_path, log):
    """Neither given out, nor believed of a package that holds both."""
    head, note, tree = log
    made = read_anchoring(anchored(text_of(tmp_path / "log")), ANCHOR_LOG, head, tree, None)
    fork = [*leaves(HEAD)[:-1], leaf(HEAD - 1, kind="other", oid=None)]
    file = anchored(text(tmp_path / "fork", fork))
    with pytest.raises(Malformed, match="does not extend"):
        read_anchoring(file, ANCHOR_LOG, head, tree, None)
    directory = package(tmp_path, made)
    (directory / "anchor/proof").write_bytes(file)
    verdict = Verdict()
    assert check_anchor(verdict, directory, head, note, BROUGHT) is None
    assert (verdict.code, verdict.witnessed) == (INCONSISTENT, None)


def test_an_anchor_that_does_not_fit_is_not_given_out(tmp_path, log):
    head, _, tree = log
    fork = [*leaves(300)[:-1], leaf(299, kind="other", oid=None)]
    right = anchored(text(tmp_path / "right", leaves(300)))
    wrong = {
        "does not extend": (anchored(text(tmp_path / "fork", fork)), ANCHOR_LOG),
        "of size 700": (anchored(text(tmp_path / "longer", leaves(700))), ANCHOR_LOG),
        "holds portcullis.test/other": (
            anchored(Checkpoint("portcullis.test/other", 3, bytes(32)).text()), ANCHOR_LOG,
        ),
        "there is no anchor log": (right, None),
        "no signature by a known key": (right, Log(*[uuid.UUID(int=1)] * 2, KEY.name, "k", KEY.public_key)),
    }  # fmt: skip
    for why, (file, anchor_log) in wrong.items():
        with pytest.raises(Malformed, match=why):
            read_anchoring(file, anchor_log, head, tree, None)


def test_a_policy_is_spelled_without_addresses_and_says_the_same():
    """Also a name that is no UTF-8, and groups of groups."""
    data = (
        f"# ours\nlog {ANCHORS} http://10.0.0.1/\nwitness \xff {WITNESS} http://10.0.0.2/secret\n"
        "group g any \xff\ngroup h all g\nquorum h\n"
    ).encode("latin-1")
    policy = parse_policy(data)
    shown = spelled(policy)
    assert b"http" not in shown
    again = parse_policy(shown)
    assert (again.groups, again.quorum) == (policy.groups, policy.quorum)
    assert [one.name for one in again.witnesses] == [one.name for one in policy.witnesses]
    assert (again.witnesses[0].key, again.logs[0].key) == (WITNESS, ANCHORS)
