"""What a witness's answer means to the log that asked."""

from __future__ import annotations

import pytest

from audit.cosigning import (
    Again,
    Cosigned,
    Heard,
    Inconsistent,
    Missing,
    check_addresses,
    heard,
    judged,
)
from audit.malformed import Malformed
from audit.merkle import leaf_hash
from audit.policy import Witness, parse_policy
from audit.tiles import Builder, Reader
from audit.witness.key import make_key
from tests.fakes.growing_log import GrowingLog

NOW = 1_800_000_000
SIZE = "text/x.tlog.size"


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(7)


@pytest.fixture
def key(tmp_path):
    return make_key(tmp_path / "key", "witness.test/w1")


@pytest.fixture
def witness(key) -> Witness:
    return Witness("w1", key.public, "https://witness.test")


def test_a_200_with_the_witnesss_own_line_is_its_cosignature(log, key, witness, tmp_path):
    head = log.head()
    own = key.cosign(head.text(), NOW)
    stranger = make_key(tmp_path / "other", "witness.test/w2").cosign(head.text(), NOW)
    for body in (own, own + stranger, stranger + own):
        said = heard(Heard(200, "text/plain", body.encode()), witness, 0, head)
        assert said == Cosigned((own,))


def test_a_200_without_a_good_line_of_its_own_is_no_cosignature(log, key, witness, tmp_path):
    head = log.head()
    stranger = make_key(tmp_path / "other", "witness.test/w2").cosign(head.text(), NOW)
    other_text = key.cosign(log.head(3).text(), NOW)
    for body in ("", "\n", "no line\n", stranger, other_text):
        said = heard(Heard(200, "text/plain", body.encode()), witness, 0, head)
        assert isinstance(said, Missing), body


def test_a_409_with_a_size_of_ours_is_asked_again_from_there(log, witness):
    assert heard(Heard(409, SIZE, b"3\n"), witness, 0, log.head()) == Again(3)
    assert heard(Heard(409, SIZE, b"0\n"), witness, 3, log.head()) == Again(0)
    assert heard(Heard(409, SIZE, b"7\n"), witness, 3, log.head()) == Again(7)


def test_a_409_with_a_size_above_ours_is_another_history(log, witness):
    said = heard(Heard(409, SIZE, b"8\n"), witness, 7, log.head())
    assert isinstance(said, Inconsistent)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(SIZE, b"3"), (SIZE, b""), (SIZE, b"03\n"), (SIZE, b"-1\n"), (SIZE, b"x\n"), (SIZE, b"2\n"),
     ("text/html", b"9\n")],
)  # fmt: skip
def test_a_409_that_is_none_of_c2sps_halts_nothing(log, witness, content_type, body):
    assert isinstance(heard(Heard(409, content_type, body), witness, 2, log.head()), Missing)


def test_a_422_is_inconsistency_and_every_other_status_a_missing_witness(log, witness):
    assert isinstance(heard(Heard(422, "", b"no"), witness, 3, log.head()), Inconsistent)
    for status in (201, 204, 301, 400, 403, 404, 405, 413, 429, 500, 503):
        assert isinstance(heard(Heard(status, "", b"9\n"), witness, 3, log.head()), Missing)


def reader(log: GrowingLog) -> Reader:
    builder = Builder()
    for leaf in log.leaves:
        builder.append(leaf, leaf_hash(leaf))
    files = {tile.path(): data for tile, data in builder.take_full() + builder.partials()}
    return Reader(files.get, len(log.leaves))


def test_evidence_is_proof_only_as_another_checkpoint_under_our_own_key(log):
    head, keys = log.head(), [log.key]
    forked = log.fork(6).grow(1, "other")
    longer = log.fork(7).grow(1, "other")
    stranger = GrowingLog(seed=b"\x02" * 32).grow(7, "other")
    for note, words in (
        (forked.note().decode(), "proven"), (longer.note().decode(), "proven"),
        (log.note(4).decode(), "does extend"), (stranger.note().decode(), "no checkpoint"),
        ("nonsense", "no checkpoint"), (None, "nothing"),
    ):  # fmt: skip
        assert words in judged(note, keys, head, reader(log)), note


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://witness.example/w1", True), ("http://127.0.0.1:8470", True),
        ("http://localhost:1", True), ("http://[::1]:1/w", True), ("http://witness.example", False),
        ("http://10.0.0.7", False), ("ftp://127.0.0.1", False), ("witness.example", False),
        ("https://", False),
    ],
)  # fmt: skip
def test_a_witness_across_a_network_is_asked_by_https_alone(key, url, good):
    policy = parse_policy(f"witness w {key.public} {url}\nquorum w\n".encode())
    if good:
        check_addresses(policy)
    else:
        with pytest.raises(Malformed, match="https"):
            check_addresses(policy)
