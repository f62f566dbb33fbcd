"""Of the audit log: every signed head, the proof that it only grew since then, and the stores' manifests.

The older head is the last one that was signed before the wished time, by the database; the newer is
the published one. The proof (RFC 6962) is verified before it is written: what does not hold is listed
among what could not be collected, in words that nobody overlooks.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.malformed import Malformed
from audit.manifest import path_of
from audit.merkle import consistency_proof, verify_consistency
from audit.note import parse_keys
from audit.tiles import Reader
from audit.worm.immutable import file_is_immutable
from audit.worm.posix import PosixStore
from ops.doctor.looking import in_thread
from ops.doctor.sessions import session
from ops.evidence.collection import File, Gap, Wish, as_json
from ops.settings import DirectoryStore, S3StoreSettings, Settings
from ops.stores import bucket_of, bucket_stores
from tenancy.clock import SystemClock
from tenancy.errors import PortcullisError

HEADS = ("checkpoint", "vkey", "anchor")
SEGMENTS_MOST = 10_000
OLDER = """
SELECT note FROM audit_checkpoints WHERE log_id = %s ORDER BY signed_at < %s DESC,
       CASE WHEN signed_at < %s THEN size END DESC, size LIMIT 1"""
"""The last one before the time; where there is none, the first one at all."""

Read = Callable[[str], bytes | None]


async def heads(wish: Wish) -> AsyncIterator[File | Gap]:
    """For each log its head, its keys, its anchor and the proof."""
    settings = wish.ground.settings
    logs = await in_thread(logs_in, settings.recorder.store)
    older = await in_thread(_older, settings.database.recorder, logs, wish.since)
    if isinstance(older, str):
        yield Gap("consistency proofs of all logs", older)
        older = {}
    for log in logs:
        for one in await in_thread(log_files, settings.recorder.store / str(log), log, older):
            yield one


def log_files(root: Path, log: UUID, older: dict[UUID, bytes]) -> list[File | Gap]:
    """What is published of one log under `root`, and the proof where an older head of it is known."""
    read = PosixStore(root).read
    found: list[File | Gap] = []
    for name in HEADS:
        data = read(name)
        if data is not None:
            found.append(File(f"audit/{log}/{name}", data, str(root / name), exact=True))
    if log not in older:
        return found
    try:
        found.append(_consistency(log, read, older[log]))
    except (Malformed, OSError, IndexError) as error:
        found.append(Gap(f"consistency proof of log {log}", f"IT DOES NOT HOLD: {error}"))
    return found


def _older(conninfo: str, logs: list[UUID], since: datetime) -> dict[UUID, bytes] | str:
    """Each log's older head, where one was signed; or why the database cannot be asked."""
    found = {}
    try:
        with session(conninfo) as conn:
            for log in logs:
                row = conn.execute(OLDER.encode(), (log, since, since)).fetchone()
                if row is not None:
                    found[log] = row["note"].encode()
    except psycopg.Error as error:
        return " ".join(str(error).split())
    return found


def _consistency(log: UUID, read: Read, older: bytes) -> File | Gap:
    """Raises Malformed where a head is not what its keys signed, or the proof does not hold."""
    what = f"consistency proof of log {log}"
    newer, keys = read("checkpoint"), read("vkey")
    if newer is None or keys is None:
        return Gap(what, "the database has a signed head, the store has none")
    known = parse_keys(keys.decode())
    old, new = open_checkpoint(older, *known), open_checkpoint(newer, *known)
    if old.size > new.size:
        raise Malformed(f"the database signed {old.size} records, {new.size} are published")
    proof = consistency_proof(old.size, new.size, Reader(read, new.size).node)
    if not verify_consistency(old.size, new.size, old.root, new.root, proof):
        raise Malformed(f"{new.size} records do not extend the {old.size} signed before")
    told = proof_document(old, new, older, newer, proof)
    return File(
        f"audit/{log}/consistency.json", as_json(told), "audit_checkpoints, tiles", exact=True
    )


def proof_document(
    old: Checkpoint, new: Checkpoint, older: bytes, newer: bytes, proof: list[bytes]
) -> dict[str, Any]:
    """Both notes as they were signed, and the hashes between them."""
    return {
        "origin": new.origin, "from_size": old.size, "to_size": new.size,
        "from_note": older.decode(), "to_note": newer.decode(),
        "proof": [base64.b64encode(one).decode() for one in proof],
    }  # fmt: skip


async def manifests(wish: Wish) -> AsyncIterator[File | Gap]:
    """Of every store the manifest's segments; of directories also which files are immutable now."""
    own = wish.ground.settings.recorder
    logs = await in_thread(logs_in, own.store)
    directories = {"first": own.store}
    directories |= {one.name: one.path for one in own.stores if isinstance(one, DirectoryStore)}
    for name, root in directories.items():
        if not root.is_dir():
            yield Gap(f"store {name}", f"{root} is not there")
            continue
        for log in logs:
            for segment in await in_thread(_segments, name, log, PosixStore(root / str(log)).read):
                yield segment
        yield File(
            f"stores/{name}/files.json", as_json(await in_thread(files_of, root, logs)), str(root)
        )
    for one in own.stores:
        if isinstance(one, S3StoreSettings):
            async for file in _bucket(wish.ground.settings, one, logs):
                yield file


async def _bucket(
    settings: Settings, one: S3StoreSettings, logs: list[UUID]
) -> AsyncIterator[File | Gap]:
    clock = SystemClock()
    try:
        bucket = bucket_of(one, clock)
        make = bucket_stores(settings.recorder, one, bucket, clock)
        for log in logs:
            for file in await in_thread(_segments, one.name, log, make(str(log)).read):
                yield file
        bucket.close()
    except (PortcullisError, OSError) as error:
        yield Gap(f"store {one.name}", str(error))


def _segments(store: str, log: UUID, read: Read) -> list[File]:
    found = []
    for number in range(SEGMENTS_MOST):
        data = read(path_of(number))
        if data is None:
            break
        found.append(
            File(f"stores/{store}/{log}/{path_of(number)}", data, f"store {store}", exact=True)
        )
    return found


def logs_in(store: Path) -> list[UUID]:
    """The logs whose files lie there. Raises OSError."""
    return sorted(_ids(path.name for path in store.iterdir() if path.is_dir()))


def _ids(names: Iterator[str]) -> Iterator[UUID]:
    for name in names:
        try:
            yield UUID(name)
        except ValueError:
            continue


def files_of(root: Path, logs: list[UUID]) -> list[dict[str, Any]]:
    """Every file of the logs: size, owner, and whether the kernel lets nobody change it."""
    found = []
    for path in sorted(
        one for log in logs for one in (root / str(log)).rglob("*") if one.is_file()
    ):
        status = path.stat()
        found.append(
            {
                "name": str(path.relative_to(root)), "bytes": status.st_size, "uid": status.st_uid,
                "mode": f"{status.st_mode & 0o7777:04o}", "immutable": _immutable(path),
            }
        )  # fmt: skip
    return found


def _immutable(path: Path) -> bool | None:
    """None where the file system knows no such flag."""
    try:
        return file_is_immutable(path)
    except OSError:
        return None
