"""Restore every log from one store alone into an empty directory, and see whether it is all there.

For each log of the store:

1. Take the newest checkpoint that its keys signed, of all versions of it that are still there.
2. Read the manifest's chain; a link that does not hold is a finding.
3. Copy every file of that checkpoint's tree, each vouched for by the signature (audit/vouched.py), and
   each full one with the SHA-256, size and version that the manifest gives.
4. Verify the copy as a stranger would (audit/verifier.py), from its files and the key alone.
5. Where the installation's own database answers, compare: does it know a later checkpoint, or another?

The keys come from whoever runs the drill (`vkeys`); where a log's is not given, the store's own file
`vkey` is taken and the report says so: the files then agree with each other, which is less. Nothing of
the first store, the database (but step 5), the HSM or the recorder is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.integrator import CHECKPOINT, VKEY
from audit.malformed import Malformed
from audit.manifest import Manifest, add, digest, edge, full_between, path_of, segments
from audit.note import VerifierKey, parse_keys
from audit.tiles import WIDTH, Tile
from audit.verdict import INCOMPLETE, INCONSISTENT, OK, TAMPERED, Verdict
from audit.verifier import verify_log
from audit.vouched import Vouched
from audit.worm.port import Store
from audit.worm.posix import PosixStore
from tenancy.errors import Invalid, PortcullisError

FILES_AT_ONCE = 64


@dataclass
class Restored:
    """What became of one log."""

    log_id: str
    verdict: Verdict = field(default_factory=Verdict)
    files: int = 0
    bytes: int = 0
    manifest_segments: int = 0
    manifest_leaves: int = 0
    kept_until: str = ""
    key_was_given: bool = False
    signed_elsewhere: int | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        said = asdict(self) | {"verdict": self.verdict.as_json()}
        return said | {"behind": self.behind}

    @property
    def behind(self) -> int | None:
        """Signed records that the store does not have; None where nobody was asked."""
        if self.signed_elsewhere is None:
            return None
        return max(0, self.signed_elsewhere - self.verdict.size)


@dataclass
class Report:
    """The whole drill. `code`: the gravest log's exit status, as of `audit verify`."""

    source: str
    logs: list[Restored] = field(default_factory=list)

    @property
    def code(self) -> int:
        found = {one.verdict.code for one in self.logs}
        if not self.logs:
            return INCOMPLETE
        return next((c for c in (TAMPERED, INCONSISTENT, INCOMPLETE) if c in found), OK)

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "exit": self.code,
            "logs": [one.as_json() for one in self.logs],
        }


def drill(
    source: str,
    stores: Mapping[str, Callable[[], Store]],
    target: Path,
    vkeys: Mapping[str, str],
    signed: Mapping[str, bytes] | None,
) -> Report:
    """Restore the logs of `stores` (by log id) into `target/<log id>`, which must not exist yet.

    `vkeys`: trusted keys by log id. `signed`: the last checkpoint that the database kept of each log,
    None where it was not asked. Never raises for what a store holds; Invalid for a target in use.
    """
    if target.exists() and any(target.iterdir()):
        raise Invalid(f"{target} is not empty: a drill restores into a directory of its own")
    report = Report(source)
    for log_id, opened in sorted(stores.items()):
        began = time.monotonic()
        restored = Restored(log_id, key_was_given=log_id in vkeys)
        report.logs.append(restored)
        try:
            _restore(restored, opened(), target / log_id, vkeys.get(log_id))
        except (Malformed, ValueError) as error:
            restored.verdict.find(TAMPERED, str(error))
        except FileNotFoundError as error:
            restored.verdict.find(INCOMPLETE, f"{error} is missing")
        except (OSError, PortcullisError) as error:
            restored.verdict.find(INCOMPLETE, f"cannot be read: {error}")
        restored.seconds = round(time.monotonic() - began, 3)
    for log_id, note in sorted((signed or {}).items()):
        _compare(report, log_id, note, vkeys.get(log_id))
    return report


def _restore(restored: Restored, store: Store, directory: Path, trusted: str | None) -> None:
    vkey = _own_key(store) if trusted is None else trusted
    keys = parse_keys(vkey)
    note, head = _newest(store, keys)  # step 1
    manifest, wrong = _manifest(restored, store, head)  # step 2
    _copy(restored, store, PosixStore(directory), head, manifest)  # step 3
    copy = PosixStore(directory)
    copy.replace(VKEY, "".join(f"{key}\n" for key in keys).encode())
    copy.replace(CHECKPOINT, note)
    _check_copied(restored, directory, vkey)  # step 4
    for finding in wrong:
        restored.verdict.find(TAMPERED, finding)


def _own_key(store: Store) -> str:
    """The newest `vkey` that is one: what was put on top of it in a bucket may be anything."""
    for data in store.every(VKEY):
        text = data.decode("ascii", "replace")
        try:
            parse_keys(text)
        except Malformed:
            continue
        return text
    raise FileNotFoundError(VKEY)


def _newest(store: Store, keys: Sequence[VerifierKey]) -> tuple[bytes, Checkpoint]:
    """Step 1. Who may write to the store may put an old or a false one on top; neither counts."""
    heads = []
    for note in store.every(CHECKPOINT):
        try:
            heads.append((note, open_checkpoint(note, *keys)))
        except Malformed as error:
            refused = error
    if not heads:
        if store.every(CHECKPOINT):
            raise refused
        raise FileNotFoundError(CHECKPOINT)
    return max(heads, key=lambda one: one[1].size)


def _manifest(restored: Restored, store: Store, head: Checkpoint) -> tuple[Manifest, list[str]]:
    """Step 2: as far as the chain holds, and why it does not go further."""
    manifest, wrong = Manifest(head.origin, {}), []
    try:
        for segment, data in segments(store.read):
            add(manifest, segment, data)
            restored.files += 1
            restored.bytes += len(data)
    except Malformed as error:
        wrong.append(str(error))
    restored.manifest_segments, restored.manifest_leaves = manifest.segments, manifest.leaves
    if manifest.files:
        restored.kept_until = min(file.until for file in manifest.files.values()).isoformat()
    if store.read(path_of(manifest.segments + 1)) is not None:
        wrong.append(f"manifest segment {manifest.segments} is missing, and later ones are there")
    return manifest, wrong


def _copy(
    restored: Restored, store: Store, copy: PosixStore, head: Checkpoint, manifest: Manifest
) -> None:
    """Step 3."""
    if head.size == 0:
        return
    files = Vouched(store.read, head)
    for chosen in _chunks([*full_between(0, head.size), *edge(head.size)]):
        made = []
        for tile in chosen:
            data, name = files.bytes_of(tile), tile.path()
            said = manifest.files.get(name)
            if said is not None and (said.sha256, said.size) != (digest(data), len(data)):
                what = f"the manifest says of {name} what is not so"
                restored.verdict.find(TAMPERED, what, max(0, tile.n * WIDTH))
            made.append((name, data))
        copy.create(made, seal=False)
        restored.files += len(made)
        restored.bytes += sum(len(data) for _, data in made)


def _check_copied(restored: Restored, directory: Path, vkey: str) -> None:
    """Step 4. Findings of the steps before stay beside the verifier's."""
    before = restored.verdict.findings
    restored.verdict = verify_log(directory, vkey)
    restored.verdict.findings += before


def _compare(report: Report, log_id: str, note: bytes, trusted: str | None) -> None:
    """Step 5."""
    restored = next((one for one in report.logs if one.log_id == log_id), None)
    if restored is None:
        restored = Restored(log_id)
        restored.verdict.find(INCOMPLETE, "the store has nothing of this log")
        report.logs.append(restored)
    try:
        head = open_checkpoint(note, *parse_keys(trusted or ""))
    except Malformed as error:
        restored.verdict.find(TAMPERED, f"the database's checkpoint: {error}")
        return
    restored.signed_elsewhere = head.size
    ahead = restored.verdict.size > head.size
    other = restored.verdict.size == head.size and restored.verdict.root != head.root.hex()
    if restored.verdict.root and (ahead or other):
        what = f"the database kept a signed tree of {head.size} that this store contradicts"
        restored.verdict.find(INCONSISTENT, what)


def _chunks(tiles: Sequence[Tile]) -> Iterator[Sequence[Tile]]:
    for at in range(0, len(tiles), FILES_AT_ONCE):
        yield tiles[at : at + FILES_AT_ONCE]


def describe(report: Report) -> str:
    """The report for a reader at a terminal."""
    lines = [f"restored from {report.source}: {len(report.logs)} logs"]
    for one in report.logs:
        verdict = one.verdict
        lines.append(f"{verdict.word}: {one.log_id} {verdict.origin}")
        lines.append(f"  {verdict.size} records, root {verdict.root or 'unknown'}")
        lines.append(f"  {one.files} files, {one.bytes} bytes in {one.seconds:.1f} s")
        lines.append(
            f"  manifest: {one.manifest_segments} segments to record {one.manifest_leaves}"
            + (f", all kept until {one.kept_until} at least" if one.kept_until else "")
        )
        lines.append(
            "  key: " + ("as given" if one.key_was_given else "the store's own, compare it")
        )
        told = "not asked" if one.behind is None else f"{one.behind} signed records more than here"
        lines.append(f"  database: {told}")
        lines += [f"  found: {finding.what}" for finding in verdict.findings]
    return "\n".join(lines)
