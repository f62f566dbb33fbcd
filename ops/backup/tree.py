"""The audit log's files, made again from the restored rows, and held against what was signed and kept.

A log's tiles are a function of its leaves, so a backup need not copy them. For each log:

1. Make bundles and tiles of the leaves up to the last kept checkpoint. Each leaf must have its hash.
2. Their root must be the one that was signed, and the signature must be the log's.
3. The checkpoint that the backup found published must be a part of that tree.
4. Each file that the backup's WORM manifest names must be the very same bytes; then the manifest is
   put beside them, and the recorder goes on with its chain.

A finding is a sentence; nothing is signed here. Files are written once, as by the recorder.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from audit import merkle
from audit.checkpoint import open_checkpoint
from audit.integrator import CHECKPOINT, VKEY
from audit.logs import Log, Signed, read_leaves, read_logs, read_signed
from audit.malformed import Malformed
from audit.manifest import Manifest, add, digest, path_of, segments
from audit.ports import LogHalted
from audit.tiles import Builder, Reader
from audit.worm.posix import PosixStore
from tenancy.database import Connection
from tenancy.errors import PortcullisError

LEAVES_AT_ONCE = 8192


async def rebuild(conninfo: str, store: Path, worm: Path) -> tuple[int, list[str]]:
    """Make every log's files in `store`; `worm`: the backup's. Records, and what was found wrong."""
    records, findings = 0, []
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as conn:
        for log in await read_logs(conn):
            try:
                records += await _log(conn, log, store / str(log.log_id), worm / str(log.log_id))
            except (Malformed, LogHalted, PortcullisError, FileNotFoundError) as error:
                findings.append(f"log {log.log_id}: {error}")
    return records, findings


async def _log(conn: Connection, log: Log, directory: Path, worm: Path) -> int:
    made, kept_before = PosixStore(directory), PosixStore(worm)
    signed = await read_signed(conn, log)
    made.replace(VKEY, f"{log.vkey}\n".encode())
    if signed is None:
        return 0
    builder = await _files(conn, log, made, signed.size)
    _check_signed(log, builder, signed)
    _check_published(log, made, kept_before, signed.size)
    for name, data in _manifest(log, made, kept_before):
        made.create([(name, data)], seal=False)
    made.replace(CHECKPOINT, signed.note)
    return signed.size


async def _files(conn: Connection, log: Log, made: PosixStore, size: int) -> Builder:
    """Step 1."""
    builder = Builder()
    while builder.size < size:
        most = min(LEAVES_AT_ONCE, size - builder.size)
        leaves = await read_leaves(conn, log, builder.size, most)
        if not leaves:
            raise Malformed(f"the rows end at {builder.size}, and {size} were signed")
        for leaf, hashed in leaves:
            if merkle.leaf_hash(leaf) != hashed:
                raise Malformed(f"the leaf {builder.size} and its hash differ")
            builder.append(leaf, hashed)
        made.create([(tile.path(), data) for tile, data in builder.take_full()], seal=False)
    made.create([(tile.path(), data) for tile, data in builder.partials()], seal=False)
    return builder


def _check_signed(log: Log, builder: Builder, signed: Signed) -> None:
    """Step 2."""
    head = open_checkpoint(signed.note, *log.known)
    if (head.size, head.root) != (builder.size, builder.root()):
        raise Malformed(f"the rows do not give the root that was signed at size {head.size}")


def _check_published(log: Log, made: PosixStore, before: PosixStore, size: int) -> None:
    """Step 3."""
    note = before.read(CHECKPOINT)
    if note is None:
        return
    old = open_checkpoint(note, *log.known)
    if old.size == 0:
        return
    if old.size > size:
        raise Malformed(f"{old.size} records were published, the database signed {size}")
    if merkle.range_root(0, old.size, Reader(made.read, size).node) != old.root:
        raise Malformed(f"the tree that was published at {old.size} is not a part of this one")


def _manifest(log: Log, made: PosixStore, before: PosixStore) -> list[tuple[str, bytes]]:
    """Step 4."""
    manifest, found = Manifest(log.origin, {}), []
    for segment, data in segments(before.read):
        add(manifest, segment, data)
        for file in segment.files:
            again = made.read(file.name)
            if again is None or (digest(again), len(again)) != (file.sha256, file.size):
                raise Malformed(f"{file.name} is not what the manifest says was kept")
        found.append((path_of(segment.number), data))
    return found
