"""A witness's answers to add-checkpoint, as C2SP tlog-witness says them, each by its status."""

from __future__ import annotations

import base64
import itertools
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.cosignature import Cosigner
from audit.malformed import Malformed
from audit.note import VerifierKey, assemble, split_note
from audit.policy import check_quorum, parse_policy
from audit.witness import request
from audit.witness.memory import hash_of
from audit.witness.witness import KEY, MEMORY, Witness, create, load
from tests.fakes.growing_log import GrowingLog

NOW = 1_800_000_000


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(7)


@pytest.fixture
def witness(tmp_path, log) -> Witness:
    create(tmp_path / "w", "witness.test/w1")
    made = load(tmp_path / "w", lambda: NOW)
    made.memory.add(log.key.name, log.key)
    return made


def ask(witness: Witness, log: GrowingLog, old: int, size: int | None = None):
    return witness.add(request.write(old, log.proof(old, size), log.note(size)))


def time_of(answer, witness: Witness, log: GrowingLog, size: int | None = None) -> int:
    """The cosignature's time; it verifies, or this raises."""
    policy = parse_policy(f"witness w {witness.key.public}\nquorum w\n".encode())
    found = check_quorum(log.note(size) + answer.body, policy)
    assert found.met
    return found.times["w"]


def test_a_first_checkpoint_and_a_longer_one_are_cosigned(witness, log):
    first = ask(witness, log, 0)
    assert (first.status, time_of(first, witness, log)) == (200, NOW)
    log.grow(5)
    second = ask(witness, log, 7)
    assert (second.status, time_of(second, witness, log)) == (200, NOW)


def test_the_same_checkpoint_is_cosigned_again(witness, log):
    ask(witness, log, 0)
    assert ask(witness, log, 7).status == 200


def test_400_for_what_is_not_the_format(witness, log):
    good = request.write(0, [], log.note())
    for body in (
        b"", b"\n", log.note(), good.replace(b"old 0", b"old 00"), good.replace(b"old 0", b"old -1"),
        good.replace(b"old 0", b"new 0"), good.replace(b"old 0", b"old  0"), good[:-1],
        good.replace(b"\n", b"\r\n"), good.replace(b"old 0\n", b"old 0\nnot base64\n"),
        good.replace(b"old 0\n", b"old 0\n" + base64.b64encode(b"short") + b"\n"),
        good.replace(b"\n7\n", b"\n07\n"), b"old 0\n\nlog.test/1\n7\n",
        good.replace(b"old 0", b"old 9223372036854775808"),
    ):  # fmt: skip
        assert witness.add(body).status == 400, body
    assert witness.memory.logs()[0].size is None


def test_400_for_more_than_63_lines_of_proof(witness, log):
    hashes = [bytes(32)] * 64
    assert witness.add(request.write(0, hashes, log.note())).status == 400
    assert witness.add(request.write(0, hashes[:63], log.note())).status == 422


def test_400_for_an_old_size_above_the_checkpoints(witness, log):
    assert witness.add(request.write(8, [], log.note())).status == 400


def test_403_without_a_trusted_signature_or_with_a_wrong_one(witness, log):
    text = log.head().text()
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    unknown = VerifierKey(log.key.name, stranger.public_key().public_bytes_raw())
    by_stranger = unknown.line(stranger.sign(text.encode()))
    wrong = log.key.line(bytes(64))
    good = log.note().decode().split("\n\n")[1]
    for lines, status in (
        ([by_stranger], 403), ([wrong], 403), ([good, wrong], 403),
        ([by_stranger, good], 200), ([good, good], 200),
    ):  # fmt: skip
        old = 0 if witness.memory.logs()[0].size is None else 7
        asked = request.write(old, [], assemble(text, lines))
        assert witness.add(asked).status == status, lines


def test_404_for_an_unknown_origin_even_with_a_good_signature(witness):
    assert ask(witness, GrowingLog("log.test/2").grow(1), 0).status == 404


def test_409_says_the_known_size_in_its_own_media_type(witness, log):
    ask(witness, log, 0)
    log.grow(2)
    for old in (0, 6, 8):
        answer = ask(witness, log, old)
        assert (answer.status, answer.body) == (409, b"7\n")
        assert answer.content_type == "text/x.tlog.size"


def test_409_of_a_log_never_seen_says_zero(witness, log):
    answer = ask(witness, log, 3)
    assert (answer.status, answer.body) == (409, b"0\n")


def test_422_for_a_fork_of_any_form(witness, log):
    ask(witness, log, 0)
    same_size = log.fork(6).grow(1, "other")
    assert ask(witness, same_size, 7).status == 422
    longer = log.fork(6).grow(4, "other")
    assert ask(witness, longer, 7).status == 422
    assert witness.memory.logs()[0].size == 7
    assert ask(witness, log.grow(1), 7).status == 200


def test_422_for_a_proof_where_there_must_be_none(witness, log):
    assert witness.add(request.write(0, [bytes(32)], log.note())).status == 422
    ask(witness, log, 0)
    assert witness.add(request.write(7, [bytes(32)], log.note())).status == 422


def test_422_for_a_proof_with_a_hash_too_few_or_too_many(witness, log):
    ask(witness, log, 0)
    log.grow(6)
    proof = log.proof(7)
    for wrong in (proof[:-1], proof[1:], [*proof, bytes(32)], proof[::-1]):
        assert witness.add(request.write(7, wrong, log.note())).status == 422


def test_the_empty_tree_is_cosigned_with_its_own_root_alone(witness):
    empty = GrowingLog()
    wrong = empty.sign(Checkpoint(empty.key.name, 0, b"\x01" * 32))
    assert witness.add(request.write(0, [], wrong)).status == 422
    assert ask(witness, empty, 0).status == 200
    assert ask(witness, empty.grow(1), 0).status == 200


def test_extension_lines_are_cosigned_and_origins_may_be_any_line(witness):
    """C2SP tlog-checkpoint: clients must not assume that an origin looks like a key's name."""
    log = GrowingLog().grow(1)
    witness.memory.add("go.sum database tree", log.key)
    root = base64.b64encode(log.head().root).decode()
    text = f"go.sum database tree\n1\n{root}\nan extension\n"
    note = assemble(text, [log.key.line(log.private.sign(text.encode()))])
    answer = witness.add(request.write(0, [], note))
    assert answer.status == 200
    policy = parse_policy(f"witness w {witness.key.public}\nquorum w\n".encode())
    assert check_quorum(note + answer.body, policy).met


def test_what_was_vouched_for_survives_a_restart(witness, log, tmp_path):
    ask(witness, log, 0)
    again = load(tmp_path / "w", lambda: NOW + 1)
    assert ask(again, log.grow(1), 0).body == b"7\n"
    assert ask(again, log, 7).status == 200


def test_a_memory_that_fails_lets_no_cosignature_out(witness, log, monkeypatch):
    """The line is made before the commit: without the commit it must not be heard of."""
    real = witness.memory.advance

    def fails(origin, decide):
        def decided(seen, last):
            decide(seen, last)
            raise OSError("the disk is full")

        return real(origin, decided)

    monkeypatch.setattr(witness.memory, "advance", fails)
    with pytest.raises(OSError, match="full"):
        ask(witness, log, 0)
    assert witness.memory.logs()[0].size is None


def test_of_many_at_once_no_smaller_tree_follows_a_larger_one(witness, log):
    """C2SP tlog-witness, the race: each size is asked from the size before, by threads in disorder."""
    log.grow(30)
    sizes = list(range(1, 20))
    said: list[tuple[int, int]] = []

    def one(size: int) -> None:
        for old in range(size):
            answer = ask(witness, log, old, size)
            if answer.status == 200:
                said.append((old, size))

    threads = [threading.Thread(target=one, args=(size,)) for size in sizes[::-1]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = sorted(said)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ends)), ends
    assert witness.memory.logs()[0].size == max(size for _, size in said)


def test_a_clock_that_was_set_back_does_not_make_a_later_tree_older(tmp_path, log):
    create(tmp_path / "w", "witness.test/w1")
    times = iter([NOW, NOW - 3600])
    witness = load(tmp_path / "w", lambda: next(times))
    witness.memory.add(log.key.name, log.key)
    ask(witness, log, 0)
    log.grow(1)
    assert time_of(ask(witness, log, 7), witness, log) == NOW


def test_monitors_get_the_checkpoint_with_the_logs_signature_and_ours_alone(witness, log):
    assert witness.show(hash_of(log.key.name)).status == 404
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    unknown = VerifierKey("else.test/1", stranger.public_key().public_bytes_raw())
    text = log.head().text()
    noisy = log.note() + unknown.line(stranger.sign(text.encode())).encode()
    cosigned = witness.add(request.write(0, [], noisy))
    shown = witness.show(hash_of(log.key.name))
    assert (shown.status, shown.body) == (200, log.note() + cosigned.body)
    assert witness.show("../witness.key").status == 404


def test_the_key_file_is_private_made_once_and_not_taken_from_where_others_read(tmp_path):
    made = create(tmp_path / "w", "witness.test/w1")
    assert (tmp_path / "w" / KEY).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "w" / MEMORY).stat().st_mode & 0o777 == 0o600
    assert load(tmp_path / "w", lambda: NOW).key.public == made.public
    assert Cosigner.parse(str(made.public)) == made.public
    assert str(base64.b64encode(made.private.private_bytes_raw())) not in repr(made)
    with pytest.raises(FileExistsError):
        create(tmp_path / "w", "witness.test/w2")
    (tmp_path / "w" / KEY).chmod(0o640)
    with pytest.raises(Malformed, match="chmod"):
        load(tmp_path / "w", lambda: NOW)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(body):
    try:
        request.parse(body)
    except Malformed:
        pass


@given(st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_what_is_written_is_read(old, proof):
    note = GrowingLog().grow(2).note()
    asked = request.parse(request.write(old, proof, note))
    assert (asked.old, asked.proof) == (old, tuple(proof))
    assert (asked.head.text, list(asked.head.lines)) == split_note(note)
    assert asked.head.root == merkle.node_hash(
        merkle.leaf_hash(b"leaf 0"), merkle.leaf_hash(b"leaf 1")
    )
