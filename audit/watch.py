"""A tenant's own monitor: follows its log from outside and trusts nothing but the log's public key.

One look, in numbered steps; the state file holds what the looks before have proven:

1. Read the checkpoint and open it under the key that the tenant has from a source of its own.
2. It must not be smaller than the last one seen; of the same size it must have the same root.
3. Read every new entry. Resumed at the last seen size, whose root must come out, they must give the
   signed root: so the new tree extends the old one, and these entries are what was signed.
4. Each receipt that the tenant holds (`Portcullis-Receipt` of its answers) must be among the entries at
   most `merge_delay_s` after the record was made. Each new entry must be a record of this log, with its index.
5. Keep the new state: written beside, fsynced, renamed. *Crash before: the next look does the same again.*

What contradicts is kept beside the state file as evidence, with both checkpoints, and the state stays at
what was proven: every later look says it again. Two tenants' monitors, or one tenant's in two places,
compare their states by hand or by witnesses; one monitor alone cannot see a log that shows others
something else.

Standard library and `cryptography` only.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audit import merkle, record, tiles
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.malformed import Malformed
from audit.note import VerifierKey
from audit.tiles import WIDTH, Builder, Reader
from audit.verdict import INCOMPLETE, INCONSISTENT, TAMPERED, Verdict

UNREACHABLE = 7
"""Exit status where the log could not be read: nothing is known to be wrong, and nothing to be right."""
MOST_BYTES = 64 << 20
TIMEOUT_S = 20.0

Read = Callable[[str], bytes | None]


@dataclass
class State:
    """What has been proven so far. `receipts`: those found, with their index; others wait."""

    checkpoint: str = ""
    size: int = 0
    found: dict[str, int] = field(default_factory=dict)


class Forked(Malformed):
    """What is signed now does not hold what was signed before."""


class Unreachable(Exception):
    """The log's files could not be read now."""


def look(
    read: Read,
    keys: Sequence[VerifierKey],
    state: State,
    receipts: Sequence[tuple[str, int, str]],
    *,
    now_ns: int,
    merge_delay_s: float,
) -> tuple[Verdict, State]:
    """One look; the verdict, and the state after it, which is the one before where anything contradicts.

    `receipts`: (its text, ts in Unix ns, pc in hex). Raises Unreachable, OSError.
    """
    verdict = Verdict()
    try:
        note = read("checkpoint")
        if note is None:
            raise Unreachable("there is no checkpoint")
        head = open_checkpoint(note, *keys)  # step 1
        verdict.origin, verdict.size, verdict.root = head.origin, head.size, head.root.hex()
        before = _before(state, keys)
        if not _goes_on(verdict, before, head):  # step 2
            return verdict, state
        entries = _new_entries(read, before, head)  # step 3
        waiting = {pc: text for text, _, pc in receipts if text not in state.found}
        found = dict(state.found)
        for index, entry in enumerate(entries, before.size):  # step 4
            leaf = record.read(entry)
            if leaf.index != index or leaf.log != head.origin:
                verdict.find(
                    INCONSISTENT, f"record {index} is not number {index} of this log", index
                )
            if leaf.commitment in waiting:
                found[waiting[leaf.commitment]] = index
    except Malformed as error:
        verdict.find(INCONSISTENT if isinstance(error, Forked) else TAMPERED, str(error))
        return verdict, state
    late = now_ns - int(merge_delay_s * 1e9)
    for text, ts_ns, _ in receipts:
        if text not in found and ts_ns < late:
            what = f"the record of receipt {text} is not in the log {merge_delay_s:g} s after it was made"
            verdict.find(INCOMPLETE, what)
    if any(finding.code in (TAMPERED, INCONSISTENT) for finding in verdict.findings):
        return verdict, state
    return verdict, State(note.decode(), head.size, found)


def _before(state: State, keys: Sequence[VerifierKey]) -> Checkpoint:
    if not state.checkpoint:
        return Checkpoint(keys[0].name, 0, merkle.EMPTY_ROOT)
    return open_checkpoint(state.checkpoint.encode(), *keys)


def _goes_on(verdict: Verdict, before: Checkpoint, head: Checkpoint) -> bool:
    if head.size < before.size:
        verdict.find(INCONSISTENT, f"the log has shrunk from {before.size} to {head.size}")
    elif head.size == before.size and head.root != before.root:
        verdict.find(INCONSISTENT, f"two roots are signed for size {head.size}")
    return not verdict.findings


def _new_entries(read: Read, before: Checkpoint, head: Checkpoint) -> list[bytes]:
    """Raises Malformed where they do not give the signed root, Forked where the old one is not in it."""
    if head.size == before.size:
        return []
    reader = Reader(read, head.size)
    try:
        builder = Builder()
        if before.size:
            builder = Builder.resume(Reader(_or_wider(read, head.size), before.size))
            if builder.root() != before.root:
                raise Forked(f"the log does not extend what it showed at size {before.size}")
        entries: list[bytes] = []
        for n in range(before.size // WIDTH, (head.size + WIDTH - 1) // WIDTH):
            bundle = reader.entries(n)
            entries += bundle[max(0, before.size - n * WIDTH) :]
    except FileNotFoundError as error:
        raise Unreachable(f"the log's files are not whole: {error}") from error
    for entry in entries:
        builder.append(entry, merkle.leaf_hash(entry))
        builder.take_full()
    if builder.root() != head.root:
        raise Malformed(f"the entries do not give the root signed at size {head.size}")
    return entries


def _or_wider(read: Read, size: int) -> Read:
    """Files of the tree of `size` in place of narrower ones that are gone: they begin with the same."""

    def wider(name: str) -> bytes | None:
        data = read(name)
        if data is None:
            tile = tiles.parse_path(name)
            now = tiles.tile_of(tile.level, tile.n, size)
            data = None if now is None else read(now.path())
        return data

    return wider


def reader_of(log: str) -> Read:
    """Reads the files of a directory, or of an address that begins with http:// or https://."""
    if log.startswith(("http://", "https://")):
        return lambda name: _fetch(f"{log.rstrip('/')}/{name}")
    directory = Path(log)

    def read(name: str) -> bytes | None:
        try:
            return (directory / name).read_bytes()
        except FileNotFoundError:
            return None

    return read


def _fetch(address: str) -> bytes | None:
    about = {"User-Agent": "portcullis-audit-watch"}
    request = urllib.request.Request(address, headers=about)  # noqa: S310 - reader_of looked at the scheme
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - likewise
            data: bytes = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise Unreachable(f"{address}: status {error.code}") from error
    except OSError as error:
        raise Unreachable(f"{address}: {error}") from error
    if len(data) > MOST_BYTES:
        raise Unreachable(f"{address}: more than {MOST_BYTES} bytes")
    return data


def read_state(path: Path) -> State:
    """An empty one where there is no file. Raises Malformed."""
    try:
        said = json.loads(path.read_bytes())
        return State(str(said["checkpoint"]), int(said["size"]), dict(said["found"]))
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed(f"{path} is not a state of this monitor: {error!r}") from error


def write_state(path: Path, state: State) -> None:
    """Step 5."""
    said = {"checkpoint": state.checkpoint, "size": state.size, "found": state.found}
    write_whole(path, json.dumps(said, indent=2).encode())


def keep_evidence(path: Path, state: State, note: bytes) -> Path:
    """Both checkpoints that contradict each other, beside the state file."""
    evidence = path.with_name(f"{path.name}.evidence")
    write_whole(evidence, state.checkpoint.encode() + b"\n---\n\n" + note)
    return evidence


def write_whole(path: Path, data: bytes) -> None:
    """The file is the old one or the new one, never half of either."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
