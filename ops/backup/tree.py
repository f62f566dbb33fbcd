"""The audit log's files, made again from the restored rows, and held against what was signed and kept.

A log's tiles are a function of its leaves, so a backup need not copy them. For each log:

1. The last kept checkpoint's signature must be the log's.
2. Make bundles and tiles of the leaves up to it; their root must be the one that was signed (audit/remade.py).
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
from audit.logs import Log, read_logs, read_signed
from audit.malformed import Malformed
from audit.manifest import Manifest, add, digest, path_of, segments
from audit.ports import LogHalted
from audit.remade import remake
from audit.tiles import Reader
from audit.worm.posix import PosixStore
from tenancy.database import Connection
from tenancy.errors import PortcullisError


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
    head = open_checkpoint(signed.note, *log.known)
    if (head.size, head.root) != (signed.size, signed.root):
        raise Malformed("the kept checkpoint's row and note differ")
    await remake(conn, log, made, None, head)
    _check_published(log, made, kept_before, signed.size)
    for name, data in _manifest(log, made, kept_before):
        made.create([(name, data)], seal=False)
    made.replace(CHECKPOINT, signed.note)
    return signed.size


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
