"""How fast a log's files prove and are proven: one proof in a log of ten million, and a whole log read again.

`audit_proof_p99_ms`: one record's proof as `audit prove` makes it (checkpoint read and opened, tiles read,
proof made and checked), anywhere in the log. Floor: the three tiles' bytes read alone.
`audit_reverify_leaves_per_s`: the verifier on a whole log, as `audit verify` runs it with a process per core.
Floor: SHA-256 over the same leaves and as many nodes, in one process.

Both logs are made here, outside PostgreSQL, of synthetic records: the large one has its tiles and no entries.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import merkle, record
from audit.checkpoint import Checkpoint
from audit.logs import Log
from audit.note import VerifierKey
from audit.proving import assemble
from audit.tiles import ENTRIES, WIDTH, Builder, Tile, encode_bundle
from audit.verdict import OK, describe
from audit.verifier import verify_log
from audit.worm.posix import PosixStore
from ops.bench.measure import Series, percentile
from tenancy.errors import Unavailable
from tenancy.values import TenantID

ORIGIN = "portcullis.invalid/log/bench-files"
PROVEN, REVERIFIED = 10_000_000, 600_000
"""Records of the two logs; a quick run takes a fortieth of the first and an eighth of the second."""
PROOFS = 1000
AT_ONCE = 64
"""Tiles that one process makes at a time."""
_SECRET = Ed25519PrivateKey.from_private_bytes(b"\x0b" * 32)
KEY = VerifierKey(ORIGIN, _SECRET.public_key().public_bytes_raw())
LOG = Log(uuid.UUID(int=1), TenantID(uuid.UUID(int=2)), ORIGIN, ORIGIN, KEY.public_key)


def synthetic(index: int) -> bytes:
    """A record of the large log, which only its hash is asked for."""
    return b'{"i":%d}' % index


def records(first: int, count: int) -> Iterator[bytes]:
    """Well-formed leaves of orders with five records each, from index `first` on."""
    op = ""
    for index in range(first - first % 5, first + count):
        number = index % 5 + 1
        leaf = _leaf(index, number, op if number > 1 else "")
        op = merkle.leaf_hash(leaf).hex()
        if index >= first:
            yield leaf


def _leaf(index: int, number: int, op: str) -> bytes:
    """What record.compose() would make, by a template: ten times as fast."""
    chain = f'"op":"{op}",' if op else ""
    kind = "order.close" if number == 5 else "order.fill"
    when = record.time_text(1_800_000_000_000_000_000 + index * 1000)
    return (
        f'{{"acct":"{"a" * 36}","act":{{"id":"fanout","kind":"algo"}},"clk":{{"err":null,"src":"system",'
        f'"state":"unknown"}},"cls":"trade","cor":"{"c" * 32}","i":{index},"k":"{kind}","log":"{ORIGIN}",'
        f'"oid":"o-{index // 5}","on":{number},{chain}"pc":"{index:064x}","rt":"{when}","ts":"{when}","v":1}}'
    ).encode()


def build(directory: Path, size: int, *, entries: bool) -> None:
    """Write a log of so many records: its tiles, its signed checkpoint and, if wanted, its bundles."""
    builder = Builder()
    full, rest = divmod(size, WIDTH)
    stride = 5 * AT_ONCE
    pieces = [(directory, at, min(at + stride, full), entries) for at in range(0, full, stride)]
    with ProcessPoolExecutor(_cores(), mp_context=get_context("spawn")) as pool:
        for roots in pool.map(_tiles, pieces):
            for root in roots:
                builder.append_full(root)
    last = list(
        records(full * WIDTH, rest) if entries else map(synthetic, range(full * WIDTH, size))
    )
    for leaf in last:
        builder.append(leaf, merkle.leaf_hash(leaf))
    for tile, data in builder.take_full() + builder.partials():
        if entries or tile.level != ENTRIES:
            _write(directory, tile, data)
    head = Checkpoint(ORIGIN, builder.size, builder.root())
    note = head.note((KEY, _SECRET.sign(head.text().encode())))
    (directory / "checkpoint").write_bytes(note)


def _tiles(piece: tuple[Path, int, int, bool]) -> list[bytes]:
    directory, first, end, entries = piece
    leaves = records(first * WIDTH, (end - first) * WIDTH) if entries else None
    roots = []
    for n in range(first, end):
        if leaves is None:
            bundle = [synthetic(index) for index in range(n * WIDTH, (n + 1) * WIDTH)]
        else:
            bundle = [next(leaves) for _ in range(WIDTH)]
            _write(directory, Tile(ENTRIES, n), encode_bundle(bundle))
        hashes = [merkle.leaf_hash(leaf) for leaf in bundle]
        _write(directory, Tile(0, n), b"".join(hashes))
        roots.append(merkle.perfect_root(hashes))
    return roots


def _write(directory: Path, tile: Tile, data: bytes) -> None:
    path = directory / tile.path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def proof_p99_ms(directory: Path, size: int, chance: random.Random) -> tuple[float, float]:
    """The figure and its floor, over PROOFS random records."""
    store = PosixStore(directory)
    took, floor = [], []
    for index in (chance.randrange(size) for _ in range(PROOFS)):
        began = time.perf_counter()
        for level in range(3):
            store.read(Tile(level, index >> (8 * (level + 1))).path())
        floor.append(time.perf_counter() - began)
        began = time.perf_counter()
        assemble(LOG, store, "bench", [(index, synthetic(index), None)])
        took.append(time.perf_counter() - began)
    return percentile(took, 99) * 1000, percentile(floor, 99) * 1000


def reverify_per_s(directory: Path, size: int) -> float:
    """The figure. Raises Unavailable where the log does not verify: then there is none."""
    began = time.perf_counter()
    verdict = verify_log(directory, str(KEY), jobs=_cores())
    took = time.perf_counter() - began
    if verdict.code != OK or verdict.size != size:
        raise Unavailable(f"the bench's own log: {describe(verdict)}")
    return size / took


def hashing_per_s() -> float:
    """The floor: hashes of one leaf and one node, again and again."""
    leaf, node = b"\x00" + _leaf(7, 2, "0" * 64), b"\x01" + bytes(64)
    count = 200_000
    began = time.perf_counter()
    for _ in range(count):
        sha256(leaf).digest()
        sha256(node).digest()
    return count / (time.perf_counter() - began)


def run(directory: Path, runs: int, *, quick: bool) -> Series:
    """Build both logs below `directory` and measure. Takes half a minute, a few seconds where `quick`."""
    proven = PROVEN // 40 if quick else PROVEN
    reverified = REVERIFIED // 8 if quick else REVERIFIED
    build(directory / "proven", proven, entries=False)
    build(directory / "reverified", reverified, entries=True)
    series = Series({"audit_proof_p99_ms": "ms", "audit_reverify_leaves_per_s": "1/s"})
    chance = random.Random(1)  # noqa: S311 - which records are proven
    for _ in range(runs):
        value, floor = proof_p99_ms(directory / "proven", proven, chance)
        series.floor(audit_proof_p99_ms=floor, audit_reverify_leaves_per_s=hashing_per_s())
        series.value(audit_proof_p99_ms=value)
        series.value(
            audit_reverify_leaves_per_s=reverify_per_s(directory / "reverified", reverified)
        )
    return series


def _cores() -> int:
    return os.cpu_count() or 1
