"""The edges of trees and proofs: size 0, 1, powers of two; index at the size; hashes too few or too many."""

from __future__ import annotations

import pytest

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.proof import Proof, parse_proof
from tests.fakes.audit_log import KEY, PRIVATE

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17)


def tree(size):
    """The leaf hashes, and any node over them by recursion."""
    hashes = [merkle.leaf_hash(b"%d" % n) for n in range(size)]

    def node(level, index):
        return merkle.perfect_root(hashes[index << level : (index + 1) << level])

    return hashes, node


def root_of(size):
    return merkle.range_root(0, size, tree(size)[1]) if size else merkle.EMPTY_ROOT


def note(size, root=None):
    head = Checkpoint(KEY.name, size, root_of(size) if root is None else root)
    return head.note((KEY, PRIVATE.sign(head.text().encode())))


def proof(index, size):
    return Proof(index, merkle.inclusion_proof(index, size, tree(size)[1]), note(size))


@pytest.mark.parametrize("size", SIZES)
def test_every_record_of_a_tree_of_this_size_is_proven_and_only_at_its_index(size):
    for index in range(size):
        right = proof(index, size)
        assert right.check(b"%d" % index, KEY).size == size
        for other in {0, size - 1, size, size + 1, index ^ 1} - {index}:
            with pytest.raises(Malformed):
                Proof(other, right.hashes, right.checkpoint).check(b"%d" % index, KEY)


@pytest.mark.parametrize("size", SIZES)
def test_a_hash_too_many_or_too_few_at_either_end_proves_nothing(size):
    for index in range(size):
        right = proof(index, size)
        wrong = [
            [*right.hashes, bytes(32)],
            [bytes(32), *right.hashes],
            [*right.hashes, *right.hashes[-1:]],
        ]
        wrong += [right.hashes[1:], right.hashes[:-1]]
        for hashes in wrong:
            if hashes != right.hashes:
                with pytest.raises(Malformed):
                    Proof(index, hashes, right.checkpoint).check(b"%d" % index, KEY)


def test_nothing_is_in_the_empty_tree():
    with pytest.raises(IndexError):
        merkle.inclusion_proof(0, 0, tree(0)[1])
    for root in (merkle.EMPTY_ROOT, merkle.leaf_hash(b"0")):
        with pytest.raises(Malformed):
            Proof(0, [], note(0, root)).check(b"0", KEY)


@pytest.mark.parametrize("size", [0, *SIZES])
def test_an_index_at_or_above_the_size_has_no_proof(size):
    for index in (size, size + 1, -1):
        with pytest.raises(IndexError):
            merkle.inclusion_proof(index, size, tree(size)[1])


@pytest.mark.parametrize("old", [0, *SIZES])
@pytest.mark.parametrize("new", [0, *SIZES])
def test_consistency_holds_between_any_two_of_the_sizes_and_with_no_other_root_or_proof(old, new):
    if old > new:
        assert not merkle.verify_consistency(old, new, root_of(old), root_of(new), [])
        return
    hashes = merkle.consistency_proof(old, new, tree(new)[1]) if old else []
    assert merkle.verify_consistency(old, new, root_of(old), root_of(new), hashes)
    for longer in ([*hashes, bytes(32)], [bytes(32), *hashes]):
        assert not merkle.verify_consistency(old, new, root_of(old), root_of(new), longer)
    if hashes:
        assert not merkle.verify_consistency(old, new, root_of(old), root_of(new), hashes[1:])
        assert not merkle.verify_consistency(old, new, root_of(old), root_of(new), hashes[:-1])
    assert not merkle.verify_consistency(old, new, bytes(32), root_of(new), hashes)
    if old:
        assert not merkle.verify_consistency(old, new, root_of(old), bytes(32), hashes)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_root_or_a_hash_that_has_not_32_bytes_proves_nothing(length):
    hashes, _ = tree(2)
    assert not merkle.verify_inclusion(hashes[0], 0, 1, [], bytes(length))
    assert not merkle.verify_inclusion(hashes[0], 0, 2, [bytes(length)], root_of(2))
    assert not merkle.verify_inclusion(bytes(length), 0, 1, [], bytes(length))
    assert not merkle.verify_consistency(1, 2, bytes(length), root_of(2), [hashes[1]])
    assert not merkle.verify_consistency(1, 1, bytes(length), bytes(length), [])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"), lambda text: text[:-1], lambda text: text + "\n",
        lambda text: text.replace("\n\n", "\n\n\n", 1), lambda text: text.replace("\n\n", "\n", 1),
        lambda text: text.replace("index 1", "index 1 "), lambda text: text.replace("index 1", "index ١"),
        lambda text: text.replace("index 1", "index 3"), lambda text: " " + text, lambda text: "",
        lambda text: text.replace("index 1\n", "index 1\nAAAA\n"),
        lambda text: text.replace("index 1\n", f"index 1\n{'A' * 43}=\n"),
    ],
)  # fmt: skip
def test_another_spelling_of_a_proof_is_refused(change):
    text = proof(1, 3).text()
    assert parse_proof(text).check(b"1", KEY).size == 3
    with pytest.raises(Malformed):
        parse_proof(change(text)).check(b"1", KEY)
