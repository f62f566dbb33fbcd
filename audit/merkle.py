"""The Merkle tree of RFC 6962: hashes, proofs, and the checking of proofs.

Proofs are made from `node(level, index)`, the hash of the perfect subtree over the leaves
[index·2^level, (index+1)·2^level). The checking side shares no code with the making side: it
follows RFC 9162, sections 2.1.3.2 and 2.1.4.2. Pure; standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

Node = Callable[[int, int], bytes]


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 2^k hashes of subtrees of equal size."""
    assert hashes
    assert len(hashes) & (len(hashes) - 1) == 0, len(hashes)
    row = hashes
    while len(row) > 1:
        row = [node_hash(row[k], row[k + 1]) for k in range(0, len(row), 2)]
    return row[0]


def fold(peaks: Iterable[bytes]) -> bytes:
    """The root of a tree given the roots of its perfect subtrees, largest (leftmost) first."""
    rest = list(peaks)
    if not rest:
        return EMPTY_ROOT
    root = rest.pop()
    while rest:
        root = node_hash(rest.pop(), root)
    return root


class Frontier:
    """An incremental tree: takes leaf hashes one by one, knows its root at any time."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """`peaks`: the roots of the tree's perfect subtrees, largest first, where it is not empty."""
        self.size = size
        self._peaks = list(peaks)
        assert len(self._peaks) == size.bit_count()

    def append(self, hash_of_leaf: bytes) -> None:
        carry, size = hash_of_leaf, self.size
        while size & 1:
            carry = node_hash(self._peaks.pop(), carry)
            size >>= 1
        self._peaks.append(carry)
        self.size += 1

    def root(self) -> bytes:
        return fold(self._peaks)


def range_root(start: int, end: int, node: Node) -> bytes:
    """MTH(D[start:end]) where `start` is a multiple of the largest power of two ≤ end - start."""
    peaks = []
    while start < end:
        level = (end - start).bit_length() - 1
        peaks.append(node(level, start >> level))
        start += 1 << level
    return fold(peaks)


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """PATH(index, D[size]), from the leaf's sibling up. Raises IndexError unless 0 ≤ index < size."""
    if not 0 <= index < size:
        raise IndexError(f"index {index} is not in a tree of size {size}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(range_root(middle, end, node))
            end = middle
        else:
            proof.append(range_root(start, middle, node))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """PROOF(old, D[new]). Raises IndexError unless 0 < old ≤ new."""
    if not 0 < old <= new:
        raise IndexError(f"no consistency proof from size {old} to {new}")
    proof: list[bytes] = []
    start, end, whole = 0, new, True
    while old < end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range_root(middle, end, node))
            end = middle
        else:
            proof.append(range_root(start, middle, node))
            start, whole = middle, False
    if not whole:
        proof.append(range_root(start, end, node))
    return proof[::-1]


def verify_inclusion(
    hash_of_leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether `proof` shows that the leaf stands at `index` of the tree (size, root). RFC 9162, 2.1.3.2."""
    if not 0 <= index < size or any(len(p) != HASH_SIZE for p in (*proof, root, hash_of_leaf)):
        return False
    fn, sn, running = index, size - 1, hash_of_leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            running = node_hash(sibling, running)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            running = node_hash(running, sibling)
        fn >>= 1
        sn >>= 1
    return sn == 0 and running == root


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree (new, new_root) only adds to (old, old_root). RFC 9162, 2.1.4.2.

    Every tree extends the empty one; that needs an empty proof and the empty root.
    """
    if not 0 <= old <= new or any(len(p) != HASH_SIZE for p in (*proof, old_root, new_root)):
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    if old == new:
        return not proof and old_root == new_root
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    first = second = path[0]
    for step in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            second = node_hash(second, step)
        fn >>= 1
        sn >>= 1
    return sn == 0 and first == old_root and second == new_root


def _split(width: int) -> int:
    """The largest power of two below `width` (RFC 6962's k)."""
    return 1 << ((width - 1).bit_length() - 1)
