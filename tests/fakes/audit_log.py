"""A published log made in memory, without database or recorder: for readers to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import merkle, record
from audit.checkpoint import Checkpoint
from audit.note import VerifierKey
from audit.tiles import Builder

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
KEY = VerifierKey("portcullis.test/1b2c", PRIVATE.public_key().public_bytes_raw())


def leaves(count: int, orders: int = 3) -> list[bytes]:
    """`count` well-formed records, dealt out over so many orders."""
    heads: dict[str, tuple[int, bytes | None]] = {}
    made = []
    for index in range(count):
        oid = f"o-{index % orders}"
        number, head = heads.get(oid, (0, None))
        made.append(leaf(index, oid=oid, on=number + 1, op=head))
        heads[oid] = (number + 1, merkle.leaf_hash(made[-1]))
    return made


def leaf(index: int, /, **changes) -> bytes:
    values = {
        "log": KEY.name, "index": index, "ts_ns": 10**18 + index, "rt_ns": 10**18 + 5 * index,
        "clock": {"err": None, "src": "system", "state": "unknown"}, "kind": "order.fill",
        "actor": {"id": "fanout", "kind": "algo"}, "retention": "trade",
        "commitment": index.to_bytes(32, "big"), "acct": "é",
    }  # fmt: skip
    return record.compose(**values | changes)


def write_log(directory: Path, entries: Sequence[bytes], stops: Sequence[int] = ()) -> None:
    """Publish the entries; at each size in `stops` the partial tiles of that size are left too."""
    directory.mkdir(parents=True, exist_ok=True)
    builder = Builder()
    for entry in entries:
        builder.append(entry, merkle.leaf_hash(entry))
        if builder.size in stops:
            _write_tiles(directory, builder.partials())
    _write_tiles(directory, builder.take_full() + builder.partials())
    (directory / "checkpoint").write_bytes(head_note(builder))
    (directory / "vkey").write_text(f"{KEY}\n")


def head_note(builder: Builder) -> bytes:
    head = Checkpoint(KEY.name, builder.size, builder.root())
    return head.note((KEY, PRIVATE.sign(head.text().encode())))


def _write_tiles(directory: Path, files) -> None:
    for tile, data in files:
        path = directory / tile.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def files_of(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())
