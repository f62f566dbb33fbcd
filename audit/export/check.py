"""A package's verdict from its files and a public key: no database, no network, nothing of ours to trust.

Steps, with the same numbers in the code:

1. Read the verifier key, which must come from outside the package to prove anything.
2. Open the checkpoint: form, signature, origin. Every later step is against its root.
3. Compare every file with the manifest: name, length, SHA-256; nothing missing, nothing beside it.
4. Fold the right edge of the tree from its tiles; it must give the signed root.
5. Each record's leaf is the one that the tiles have at its index, and each tile on the way up is
   what its parent says, up to the right edge.
6. Read every leaf as a record, indices ascending; the records of an order that are here are chained.
7. Each payload that is given is what its leaf committed to.
8. Where the package claims a whole range, every index of it is here, and the neighbours on both
   sides, proven too, were recorded outside the time that was asked for.
9. Where the anchor log's keys are given, open the anchor in the package, and prove that the checkpoint
   extends the one that is anchored; where a policy is given too, count who cosigned the anchor
   (audit/export/check_anchor.py). Records above the anchored size have the log's own signature alone.

Exit status as the verifier's: 0 ok · 2 tampered · 3 inconsistent · 4 unwitnessed · 5 incomplete; the
gravest is the verdict: 2, then 3, then 5, then 4. Without step 9 nothing is unwitnessed. The manifest is no
evidence by itself (whoever can change a file can change it); its hash is in the log, in the record
that the export left. Imports the standard library, `cryptography`, and formats that import no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from audit import merkle, record
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.export.check_anchor import check_anchor
from audit.malformed import Malformed
from audit.note import VerifierKey, parse_keys
from audit.tiles import WIDTH, Reader, split_hashes, tile_of
from audit.verdict import INCOMPLETE, INCONSISTENT, TAMPERED, Stop, Verdict
from audit.verifier_evidence import NONE, Evidence

FORMAT = "portcullis-audit-export@v1"
MANIFEST, CHECKPOINT, RECORDS = "manifest.json", "checkpoint", "records.jsonl"
BEFORE, AFTER = "range/before.json", "range/after.json"


@dataclass
class Counts:
    """What was seen on the way."""

    records: int = 0
    payloads: int = 0
    sealed: int = 0
    erased: int = 0
    first: int = -1
    last: int = -1
    earliest: str = ""
    latest: str = ""


@dataclass
class PackageVerdict:
    """The verdict, what it is about, and whether a whole range was proven complete.

    `anchored`: so many of the log's records are under a head that its anchor holds; None where nobody
    brought the anchor log's keys, or nothing was proven. Whether witnesses say so: `verdict.witnessed`.
    """

    verdict: Verdict = field(default_factory=Verdict)
    counts: Counts = field(default_factory=Counts)
    complete: tuple[int, int] | None = None
    anchored: int | None = None
    keys: tuple[VerifierKey, ...] = ()


def verify_package(directory: Path, vkey: str, brought: Evidence = NONE) -> PackageVerdict:
    """The verdict on a package under the key or keys of `vkey`, one per line. Never raises for what
    the directory holds. `brought`: the anchor log's keys and a policy, where step 9 is wanted; the
    anchor itself is the package's."""
    made = PackageVerdict()
    try:
        _verify(made, directory, vkey, brought)
    except Stop:
        pass
    return made


def lines(directory: Path) -> Iterator[dict[str, Any]]:
    """The records as they stand in the package. Raises Malformed, OSError."""
    with (directory / RECORDS).open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                item = json.loads(text)
                if type(item["i"]) is not int or type(item["leaf"]) is not str:
                    raise TypeError
            except (ValueError, KeyError, TypeError):
                raise Malformed(f"line {number} of {RECORDS} is not a record") from None
            yield item


def _verify(made: PackageVerdict, directory: Path, vkey: str, brought: Evidence) -> None:
    verdict = made.verdict
    try:
        made.keys = parse_keys(vkey)  # step 1
    except Malformed as error:
        verdict.find(TAMPERED, f"verifier key: {error}")
        raise Stop from None
    head, note = _head(verdict, directory, made.keys)
    manifest = _manifest(verdict, directory)
    tree = _Tree(directory, head)
    try:
        tree.check_edge()
        _records(made, directory, tree, manifest)
        _range(made, directory, tree, manifest)
    except FileNotFoundError as error:
        verdict.find(INCOMPLETE, f"{error.args[-1]} is missing")
    except (Malformed, OSError) as error:
        verdict.find(TAMPERED, str(error))
    made.anchored = check_anchor(verdict, directory, head, note, brought)  # step 9


def _head(
    verdict: Verdict, directory: Path, keys: tuple[VerifierKey, ...]
) -> tuple[Checkpoint, bytes]:
    """Step 2: what it says, and its bytes."""
    try:
        note = (directory / CHECKPOINT).read_bytes()
        head = open_checkpoint(note, *keys)
    except OSError as error:
        verdict.find(INCOMPLETE, f"no checkpoint can be read: {error.strerror}")
        raise Stop from None
    except Malformed as error:
        verdict.find(TAMPERED, f"checkpoint: {error}")
        raise Stop from None
    verdict.origin, verdict.size, verdict.root = head.origin, head.size, head.root.hex()
    return head, note


def _manifest(verdict: Verdict, directory: Path) -> dict[str, Any]:
    """Step 3."""
    try:
        manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_bytes())
        said = {item["name"]: (item["bytes"], item["sha256"]) for item in manifest["files"]}
        if manifest["format"] != FORMAT:
            raise ValueError
    except OSError as error:
        verdict.find(INCOMPLETE, f"no manifest can be read: {error.strerror}")
        raise Stop from None
    except (ValueError, KeyError, TypeError):
        verdict.find(TAMPERED, f"{MANIFEST} is not one of {FORMAT}")
        raise Stop from None
    for name, facts in said.items():
        path = directory / name
        if ".." in Path(name).parts or path.is_symlink() or not path.is_file():
            verdict.find(INCOMPLETE, f"{name} is missing")
        elif facts != (path.stat().st_size, file_sha256(path)):
            verdict.find(TAMPERED, f"{name} is not the file that the manifest names")
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if not path.is_dir() and name not in said and name != MANIFEST:
            verdict.find(INCONSISTENT, f"{name} is not in the manifest")
    return manifest


def file_sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


class _Tree:
    """The tiles of a package, each believed once its hash was found in one that is."""

    def __init__(self, directory: Path, head: Checkpoint) -> None:
        self._head = head
        self._reader = Reader(lambda name: _read(directory / name), head.size)
        self._believed: dict[tuple[int, int], list[bytes]] = {}

    def check_edge(self) -> None:
        """Step 4: folding the perfect subtrees of the edge reads every hash of its partial tiles."""
        size = self._head.size
        root = merkle.range_root(0, size, self._reader.node) if size else merkle.EMPTY_ROOT
        if root != self._head.root:
            raise Malformed("the right edge's tiles do not give the signed root")

    def leaf_hash(self, index: int) -> bytes:
        """Step 5. Raises Malformed, FileNotFoundError."""
        n, at = divmod(index, WIDTH)
        return self._tile(0, n)[at]

    def _tile(self, level: int, n: int) -> list[bytes]:
        known = self._believed.get((level, n))
        if known is not None:
            return known
        tile = tile_of(level, n, self._head.size)
        if tile is None:
            raise Malformed(f"a tree of {self._head.size} records has no tile {n} at level {level}")
        data = self._reader.bytes_of(tile)
        if len(data) != tile.width * merkle.HASH_SIZE:
            raise Malformed(f"{tile.path()} does not hold {tile.width} hashes")
        hashes = split_hashes(data)
        if tile.is_full:  # a partial one is of the edge, which gave the signed root
            up, at = divmod(n, WIDTH)
            if self._tile(level + 1, up)[at] != merkle.perfect_root(hashes):
                raise Malformed(f"{tile.path()} is not what the tile above it says")
        if len(self._believed) > 4096:
            self._believed.clear()
        self._believed[level, n] = hashes
        return hashes

    def check(self, index: int, leaf: bytes) -> None:
        if not 0 <= index < self._head.size:
            raise Malformed(f"record {index} is not in a tree of {self._head.size} records")
        if self.leaf_hash(index) != merkle.leaf_hash(leaf):
            raise Malformed(f"record {index} is not the one that was signed")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _records(made: PackageVerdict, directory: Path, tree: _Tree, manifest: dict[str, Any]) -> None:
    """Steps 5 to 7."""
    verdict, counts = made.verdict, made.counts
    heads: dict[str, tuple[int, str, str]] = {}
    for item in lines(directory):
        index, entry = item["i"], item["leaf"].encode()
        if index <= counts.last:
            verdict.find(INCONSISTENT, f"record {index} comes after {counts.last}", index)
        counts.first = index if counts.first < 0 else counts.first
        counts.last = index
        counts.records += 1
        try:
            tree.check(index, entry)
            leaf = record.read(entry)
        except Malformed as error:
            verdict.find(TAMPERED, str(error), index)
            continue
        if leaf.index != index or leaf.log != verdict.origin:
            verdict.find(INCONSISTENT, f"record {index} says that it is another's", index)
        counts.earliest = min(counts.earliest or leaf.recorded, leaf.recorded)
        counts.latest = max(counts.latest, leaf.recorded)
        _continue(verdict, heads, leaf, entry)
        _payload(made, leaf, item)
    verdict.orders = len(heads)
    verdict.orders_open = sum(kind != record.Kind.ORDER_CLOSE for _, _, kind in heads.values())
    if manifest.get("records") != counts.records:
        what = f"{counts.records} records are here, the manifest says {manifest.get('records')}"
        verdict.find(INCOMPLETE, what)


def _continue(
    verdict: Verdict, heads: dict[str, tuple[int, str, str]], leaf: record.Leaf, entry: bytes
) -> None:
    """Step 6. An order's story may begin before what was chosen; a gap inside it is not for us to
    judge either (kinds may have been chosen), but two neighbours must be chained."""
    if leaf.oid is None or leaf.on is None:
        return
    number, digest, _ = heads.get(leaf.oid, (0, "", ""))
    follows = leaf.on == number + 1 and (number > 0)
    if leaf.on <= number or (follows and leaf.op != digest):
        what = f"record {leaf.index} does not continue order {leaf.oid} after number {number}"
        verdict.find(INCONSISTENT, what, leaf.index)
    heads[leaf.oid] = (leaf.on, merkle.leaf_hash(entry).hex(), leaf.kind)


def _payload(made: PackageVerdict, leaf: record.Leaf, item: dict[str, Any]) -> None:
    """Step 7."""
    if item.get("erased"):
        made.counts.erased += 1
    if "sealed" in item:
        made.counts.sealed += 1
    payload = item.get("payload")
    if payload is None:
        return
    made.counts.payloads += 1
    if not opens(leaf.commitment, payload):
        what = f"the payload of record {leaf.index} is not what was committed to"
        made.verdict.find(TAMPERED, what, leaf.index)


def opens(commitment: str, payload: str) -> bool:
    """Whether the payload, with the key inside it, is what was committed to."""
    try:
        return record.opens(
            commitment, bytes.fromhex(json.loads(payload)["k_rec"]), payload.encode()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _range(made: PackageVerdict, directory: Path, tree: _Tree, manifest: dict[str, Any]) -> None:
    """Step 8."""
    claimed = manifest.get("range")
    if claimed is None:
        return
    verdict = made.verdict
    first, end = claimed["first"], claimed["end"]
    counts = made.counts  # ascending, hence without a gap if they are as many as the range has
    ends = (first, end - 1) if end > first else (-1, -1)
    if (counts.records, counts.first, counts.last) != (end - first, *ends):
        verdict.find(INCOMPLETE, f"records {first} to {end - 1} are not all here")
        return
    since, until = claimed.get("since"), claimed.get("until")
    before = _neighbour(directory / BEFORE, tree, first - 1)
    after = _neighbour(directory / AFTER, tree, end) if end < verdict.size else None
    if before is not None and (since is None or before >= since):
        verdict.find(INCOMPLETE, f"record {first - 1} belongs to the range too", first - 1)
    if after is not None and (until is None or after < until):
        verdict.find(INCOMPLETE, f"record {end} belongs to the range too", end)
    if counts.records and (
        (since is not None and counts.earliest < since)
        or (until is not None and counts.latest >= until)
    ):
        verdict.find(INCONSISTENT, "a record is outside the time that was asked for")
    if verdict.code == 0:
        made.complete = (first, end)


def _neighbour(path: Path, tree: _Tree, index: int) -> str | None:
    """When the record beside the range was recorded, proven like the others; None at the log's ends."""
    if index < 0:
        return None
    entry = path.read_bytes()
    tree.check(index, entry)
    return record.read(entry).recorded


def describe(made: PackageVerdict) -> str:
    """The verdict in words for a reader at a terminal."""
    verdict, counts = made.verdict, made.counts
    text = [f"{verdict.word}: {verdict.origin or 'no readable checkpoint'}"]
    if verdict.root:
        text.append(f"  {counts.records} records of {verdict.size}, root {verdict.root}")
        text.append(
            f"  payloads: {counts.payloads} open, {counts.sealed} sealed, {counts.erased} erased"
        )
        text.append(f"  {verdict.orders} orders, {verdict.orders_open} of them not closed in here")
    if made.complete is not None:
        first, end = made.complete
        text.append(f"  complete: every record from {first} to {end - 1}, none left out")
    text += [f"  {line}" for line in _reach(made)]
    text += [f"  {finding.what}" for finding in verdict.findings]
    return "\n".join(text)


def _reach(made: PackageVerdict) -> list[str]:
    """How far the word of others reaches; nothing where nobody asked."""
    witnessed = made.verdict.witnessed
    reach = made.anchored if witnessed is None else witnessed
    if reach is None:
        return []
    how = "anchored, witnesses not counted" if witnessed is None else "witnessed as the policy asks"
    said = [f"{how}: the log's first {reach} records"]
    if made.counts.last >= reach:
        said.append(f"record {reach} and those after it: by the log's own signature alone")
    return said
