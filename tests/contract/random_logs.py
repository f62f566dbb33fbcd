"""Random logs, and single bits of them changed: our verifier and the independent ones must agree.

A seed is a log: its size is near a power of two as often as not, its records have any text and any length that
a leaf allows. `agree_on` asks every reader about it as it is, and then with one bit of one file changed at a
time: what ours refuses each of them must refuse, and the other way round. The file `vkey` and partial tiles
of other sizes are read by ours alone, and so are not changed here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from audit import merkle
from audit.record import Kind
from audit.verdict import OK
from audit.verifier import verify_log
from tests.contract.readers import Reader
from tests.fakes.audit_log import KEY, files_of, leaf, write_log

LETTERS = 'abc XYZ 019 _-/"\\ é ß 漢 😀 \u0001 \u007f'
MOST = 1500


def random_log(directory: Path, seed: int) -> int:
    """Write the log of this seed; its size."""
    chance = random.Random(seed)
    size = _size(chance)
    write_log(directory, list(_records(chance, size)))
    return size


def agree_on(directory: Path, readers: Sequence[Reader], size: int, flips: int, seed: int) -> int:
    """All accept the log as it is and refuse it with a bit changed; how many changes were tried.

    `flips`: so many random bits; 0 for every single one. Raises AssertionError, naming reader and bit.
    """
    _all_accept(directory, readers, size)
    files = [path for path in files_of(directory) if path.name != "vkey"]
    tried = 0
    for path, at in _places(files, flips, random.Random(seed)):
        right = path.read_bytes()
        changed = bytearray(right)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        assert verify_log(directory, str(KEY)).code != OK, ("ours", seed, path, at)
        for reader in readers:
            assert not reader.accepts(directory), (reader.name, seed, path, at)
        path.write_bytes(right)
        tried += 1
    _all_accept(directory, readers, size)
    return tried


def _all_accept(directory: Path, readers: Sequence[Reader], size: int) -> None:
    verdict = verify_log(directory, str(KEY))
    assert (verdict.code, verdict.size) == (OK, size), verdict.findings
    for reader in readers:
        assert reader.says(directory) == f"ok {size}", (reader.name, directory)


def _places(files: Sequence[Path], flips: int, chance: random.Random) -> Iterator[tuple[Path, int]]:
    if not flips:
        yield from ((path, at) for path in files for at in range(8 * path.stat().st_size))
        return
    for _ in range(flips):
        path = chance.choice(files)
        yield path, chance.randrange(8 * path.stat().st_size)


def _size(chance: random.Random) -> int:
    if chance.random() < 0.5:
        return max(0, 2 ** chance.randrange(0, 11) + chance.choice((-1, 0, 0, 1)))
    return chance.randrange(chance.choice((10, 300, MOST)))


def _records(chance: random.Random, size: int) -> Iterator[bytes]:
    heads: dict[str, tuple[int, bytes]] = {}
    orders = chance.randrange(1, 50)
    for index in range(size):
        more = {}
        if chance.random() < 0.8:
            oid = f"o-{chance.randrange(orders)}"
            number, head = heads.get(oid, (0, None))
            more = {"oid": oid, "on": number + 1, "op": head}
        text = "".join(chance.choices(LETTERS, k=chance.choice((0, 3, 40, 250))))
        made = leaf(
            index, kind=chance.choice(list(Kind)).value, acct=text, cor=text[:32],
            commitment=chance.randbytes(32), actor={"id": text, "kind": "sys"}, **more,
        )  # fmt: skip
        if more:
            heads[oid] = (number + 1, merkle.leaf_hash(made))
        yield made
