"""The Merkle tree against RFC 6962's own recursion, written down naively."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audit import merkle
from audit.tiles import Builder, Reader


def mth(leaves):
    if len(leaves) <= 1:
        return merkle.leaf_hash(leaves[0]) if leaves else merkle.EMPTY_ROOT
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return merkle.node_hash(mth(leaves[:k]), mth(leaves[k:]))


def path(m, leaves):
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m, leaves, whole):
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def tree(size):
    """Leaves, and a reader over the tiles that the builder makes of them."""
    leaves = [b"leaf %d" % n for n in range(size)]
    builder = Builder()
    for leaf in leaves:
        builder.append(leaf, merkle.leaf_hash(leaf))
    files = {tile.path(): data for tile, data in builder.take_full() + builder.partials()}
    return leaves, builder, Reader(files.get, size)


SIZES = st.one_of(st.integers(1, 70), st.sampled_from([255, 256, 257, 511, 512, 513, 700]))


@given(SIZES, st.data())
def test_inclusion_proofs_are_rfc_6962s_and_verify_only_as_they_are(size, data):
    leaves, builder, reader = tree(size)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, reader.node)
    root, digest = mth(leaves), merkle.leaf_hash(leaves[index])
    assert builder.root() == root
    assert proof == path(index, leaves)
    assert merkle.verify_inclusion(digest, index, size, proof, root)
    assert not merkle.verify_inclusion(digest, index + 1, size, proof, root)
    assert not merkle.verify_inclusion(digest, index, size, [*proof, digest], root)
    assert not merkle.verify_inclusion(digest, size, size, proof, root)
    assert not merkle.verify_inclusion(digest, index, size, proof, root[:-1])
    if proof:
        assert not merkle.verify_inclusion(digest, index, size, proof[:-1], root)
        k = data.draw(st.integers(0, len(proof) - 1))
        changed = [*proof]
        changed[k] = bytes([changed[k][0] ^ 1]) + changed[k][1:]
        assert not merkle.verify_inclusion(digest, index, size, changed, root)


@given(SIZES, st.data())
def test_consistency_proofs_are_rfc_6962s_and_verify_only_as_they_are(size, data):
    leaves, _, reader = tree(size)
    old = data.draw(st.integers(1, size))
    proof = merkle.consistency_proof(old, size, reader.node)
    before, after = mth(leaves[:old]), mth(leaves)
    assert proof == subproof(old, leaves, True)
    assert merkle.verify_consistency(old, size, before, after, proof)
    assert not merkle.verify_consistency(old, size, mth([b"other", *leaves[1:old]]), after, proof)
    assert not merkle.verify_consistency(old, size, before, after, [*proof, after])
    if proof:
        assert not merkle.verify_consistency(old, size, before, after, proof[:-1])
        assert not merkle.verify_consistency(old, size, before, after, proof[1:])


def test_every_tree_extends_the_empty_one_and_only_by_the_empty_proof():
    root = merkle.leaf_hash(b"one")
    assert merkle.verify_consistency(0, 1, merkle.EMPTY_ROOT, root, [])
    assert merkle.verify_consistency(0, 0, merkle.EMPTY_ROOT, merkle.EMPTY_ROOT, [])
    assert not merkle.verify_consistency(0, 1, root, root, [])
    assert not merkle.verify_consistency(0, 1, merkle.EMPTY_ROOT, root, [root])


@given(st.integers(0, 600))
def test_the_frontier_the_builder_and_the_recursion_agree(size):
    leaves, builder, reader = tree(size)
    frontier = merkle.Frontier()
    for leaf in leaves:
        frontier.append(merkle.leaf_hash(leaf))
    assert frontier.root() == builder.root() == mth(leaves)
    if size:
        assert merkle.range_root(0, size, reader.node) == frontier.root()


@given(st.integers(1, 600), st.integers(0, 400))
def test_a_builder_resumed_from_files_goes_on_as_if_it_had_never_stopped(size, more):
    _, _, reader = tree(size)
    resumed = Builder.resume(reader)
    for n in range(size, size + more):
        resumed.append(b"leaf %d" % n, merkle.leaf_hash(b"leaf %d" % n))
    _, whole, _ = tree(size + more)
    assert resumed.root() == whole.root()
    assert resumed.partials() == whole.partials()


def test_a_tree_of_70_000_leaves_has_the_tiles_of_the_specification():
    """The example of c2sp.org/tlog-tiles, "Partial Tiles"."""
    builder = Builder()
    digest = merkle.leaf_hash(b"")
    for _ in range(70_000):
        builder.append(b"", digest)
    full = [tile for tile, _ in builder.take_full() if tile.level >= 0]
    assert sum(tile.level == 0 for tile in full) == 273
    assert sum(tile.level == 1 for tile in full) == 1
    edge = {tile.level: tile.width for tile, _ in builder.partials() if tile.level >= 0}
    assert edge == {0: 112, 1: 17, 2: 1}
