"""Files and a public key in, a verdict out: no database, no network, nothing of ours to trust.

Steps, with the same numbers in the code:

1. Read the verifier key (it must come from outside the directory to prove anything); several, one
   per line, where the log's key was changed. Any of them may have signed, none of them wrongly.
2. Open the checkpoint: form, Ed25519 signature, origin. Every later step is against this root.
3. Read every entry bundle and hash the leaves; rebuild every tile and the root from them.
4. Compare the rebuilt root with the signed one; where they differ, name the first bad index.
5. Compare every file under tile/ with the rebuilt tiles, byte by byte, narrower partials included.
6. Read every leaf as a record: canonical spelling, right log, index without gap, recording time
   never backwards, each order's records numbered without gap and chained by hash.
7. Where an older checkpoint is given, prove that this log extends it.

Exit status: 0 ok · 2 tampered · 3 inconsistent · 4 unwitnessed (reserved) · 5 incomplete.
*Tampered*: bytes are not what was signed. *Inconsistent*: what was signed contradicts itself or an
older signed head. *Incomplete*: files are missing. The gravest is the verdict: 2, then 3, then 5.

Imports the standard library, `cryptography`, and formats of this package that import no more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from audit import merkle, record, tiles
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.malformed import Malformed
from audit.note import VerifierKey, parse_keys
from audit.tiles import ENTRIES, WIDTH, Builder, Tile, tile_of
from audit.verdict import INCOMPLETE, INCONSISTENT, TAMPERED, Stop, Verdict, describe

Keys = tuple[VerifierKey, ...]


def verify_log(directory: Path, vkey: str, since: bytes | None = None) -> Verdict:
    """The verdict on a log's directory, under the key or keys of `vkey`, one per line.

    `since`: an older checkpoint note that must be extended. Never raises for what the directory holds.
    """
    verdict = Verdict()
    try:
        keys = _read_keys(verdict, vkey)
        head = _open_head(verdict, directory, keys)
        builder, files, story = Builder(), _Files(directory, head.size), _Story(head.origin)
        older = _older(verdict, keys, head, since)
        _replay(verdict, files, head, builder, story, older)
    except Stop:
        pass
    return verdict


def _read_keys(verdict: Verdict, vkey: str) -> Keys:
    """Step 1."""
    try:
        return parse_keys(vkey)
    except Malformed as error:
        verdict.find(TAMPERED, f"verifier key: {error}")
        raise Stop from None


def _open_head(verdict: Verdict, directory: Path, keys: Keys) -> Checkpoint:
    """Step 2."""
    try:
        note = (directory / "checkpoint").read_bytes()
    except OSError as error:
        verdict.find(INCOMPLETE, f"no checkpoint can be read: {error.strerror}")
        raise Stop from None
    try:
        head = open_checkpoint(note, *keys)
    except Malformed as error:
        verdict.find(TAMPERED, f"checkpoint: {error}")
        raise Stop from None
    verdict.origin, verdict.size, verdict.root = head.origin, head.size, head.root.hex()
    shown = directory / "vkey"
    if shown.exists() and not _names(shown.read_bytes(), keys):
        verdict.find(TAMPERED, "the file vkey is not the key that was given")
    return head


def _names(shown: bytes, keys: Keys) -> bool:
    """Whether the directory's own file says these keys; it may say more, never another in their place."""
    try:
        said = parse_keys(shown.decode("ascii"))
    except (Malformed, UnicodeDecodeError):
        return False
    spelled = "".join(f"{key}\n" for key in said).encode()
    return spelled == shown and set(keys) <= set(said)


def _older(
    verdict: Verdict, keys: Keys, head: Checkpoint, since: bytes | None
) -> Checkpoint | None:
    if since is None:
        return None
    try:
        older = open_checkpoint(since, *keys)
    except Malformed as error:
        verdict.find(TAMPERED, f"older checkpoint: {error}")
        return None
    if older.size > head.size:
        verdict.find(INCONSISTENT, f"the log has shrunk from {older.size} to {head.size}")
        return None
    return older


def _replay(
    verdict: Verdict,
    files: _Files,
    head: Checkpoint,
    builder: Builder,
    story: _Story,
    older: Checkpoint | None,
) -> None:
    first_bad, missing, differing = None, False, Verdict()
    for n in range((head.size + WIDTH - 1) // WIDTH):
        entries = files.entries(verdict, n)  # step 3
        expected = files.leaf_hashes(n)
        tile = tile_of(ENTRIES, n, head.size)
        assert tile is not None
        missing = missing or len(entries) < tile.width
        for at, entry in enumerate(entries):
            digest = merkle.leaf_hash(entry)
            if first_bad is None and at < len(expected) and expected[at] != digest:
                first_bad = n * WIDTH + at
            builder.append(entry, digest)
            story.hear(verdict, entry, digest, n * WIDTH + at)  # step 6
            if older is not None and builder.size == older.size:
                _check_extends(verdict, older, builder.root())  # step 7
        if missing:
            if first_bad is None:
                first_bad = n * WIDTH + len(entries)
            break
        files.compare(differing, builder.take_full())  # step 5
    verdict.orders, verdict.orders_open = story.orders()
    if older is not None and older.size == 0:
        _check_extends(verdict, older, merkle.EMPTY_ROOT)
    if not missing and builder.root() == head.root:
        files.compare(differing, builder.partials())
        files.look_for_strangers(differing)
        verdict.findings += differing.findings
        return
    # The rebuilt tiles are wrong themselves then: only that files are missing is worth telling.
    verdict.findings += [f for f in differing.findings if f.code == INCOMPLETE]
    _blame(verdict, files, head, first_bad, missing)  # step 4


def _blame(
    verdict: Verdict, files: _Files, head: Checkpoint, first_bad: int | None, missing: bool
) -> None:
    """Step 4: the root is not reached. Whose fault?"""
    if missing and any(f.code == INCOMPLETE and f.index == first_bad for f in verdict.findings):
        return
    if first_bad is not None:
        verdict.find(TAMPERED, f"record {first_bad} is not the one that was signed", first_bad)
    else:
        verdict.find(TAMPERED, f"the records do not give the signed root of size {head.size}")


def _check_extends(verdict: Verdict, older: Checkpoint, root: bytes) -> None:
    """Step 7: the same leaves that give the new root must give the old one."""
    if root != older.root:
        verdict.find(INCONSISTENT, f"the log does not extend its checkpoint of size {older.size}")


class _Files:
    """The directory's files, as a tree of `size` leaves should have them."""

    def __init__(self, directory: Path, size: int) -> None:
        self._directory = directory
        self._size = size
        self._names = {tile: name for name, tile in self._tiles()}
        self._ranges: dict[tuple[int, int], list[Tile]] = {}
        for tile in self._names:
            self._ranges.setdefault((tile.level, tile.n), []).append(tile)

    def _tiles(self) -> Iterator[tuple[str, Tile]]:
        root = self._directory / "tile"
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(self._directory))
            if not path.is_file() or path.name.startswith(".new-"):
                continue
            try:
                yield name, tiles.parse_path(name)
            except Malformed:
                continue

    def read(self, tile: Tile) -> bytes | None:
        try:
            return (self._directory / tile.path()).read_bytes()
        except OSError:
            return None

    def entries(self, verdict: Verdict, n: int) -> list[bytes]:
        """Step 3: as many entries of bundle `n` as can be read."""
        tile = tile_of(ENTRIES, n, self._size)
        assert tile is not None
        data = self.read(tile)
        whole = tile
        if data is None and not tile.is_full:
            data, whole = self.read(tile.full()), tile.full()
        if data is None:
            verdict.find(INCOMPLETE, f"{tile.path()} is missing", n * WIDTH)
            return []
        entries, end = tiles.split_bundle(data, tile.width)
        if len(entries) < tile.width or (whole == tile and end != len(data)):
            first = n * WIDTH + len(entries)
            verdict.find(TAMPERED, f"{whole.path()} does not hold whole records", first)
        return entries

    def leaf_hashes(self, n: int) -> list[bytes]:
        """The level 0 tile beside bundle `n`, to name the first bad record; trusted for nothing."""
        tile = tile_of(0, n, self._size)
        assert tile is not None
        return tiles.split_hashes(self.read(tile) or self.read(tile.full()) or b"")

    def compare(self, verdict: Verdict, rebuilt: Sequence[tuple[Tile, bytes]]) -> None:
        """Step 5: each file of these tiles, partial ones of any width too, against what it must be."""
        for tile, data in rebuilt:
            there = self._ranges.pop((tile.level, tile.n), [])
            if not any(file.width >= tile.width for file in there):
                first = tile.n * WIDTH ** (tile.level + 1) if tile.level >= 0 else tile.n * WIDTH
                verdict.find(INCOMPLETE, f"{tile.path()} is missing", first)
            for file in there:
                self._compare_one(verdict, file, tile, data)

    def _compare_one(self, verdict: Verdict, file: Tile, tile: Tile, data: bytes) -> None:
        found = self.read(file) or b""
        if file.width > tile.width:  # written for a checkpoint that is not out yet
            same = found.startswith(data)
        elif file.level == ENTRIES:
            entries, _ = tiles.split_bundle(data, file.width)
            same = found == tiles.encode_bundle(entries)
        else:
            same = found == data[: file.width * merkle.HASH_SIZE]
        if not same:
            span = 1 if file.level == ENTRIES else WIDTH**file.level
            at = _first_difference(found, data) // merkle.HASH_SIZE if file.level >= 0 else 0
            first = (tile.n * WIDTH + min(at, tile.width - 1)) * span
            verdict.find(TAMPERED, f"{file.path()} is not what the records give", first)

    def look_for_strangers(self, verdict: Verdict) -> None:
        """Step 5: names under tile/ that no tree of this log would have, now or later."""
        root = self._directory / "tile"
        for path in sorted(root.rglob("*")):
            if path.is_dir() or path.name.startswith(".new-"):
                continue
            name = str(path.relative_to(self._directory))
            try:
                tiles.parse_path(name)
            except Malformed:
                verdict.find(TAMPERED, f"{name} does not belong to a log")


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


class _Story:
    """Step 6: the records read one after the other."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._recorded = ""
        self._heads: dict[str, tuple[int, str, str]] = {}

    def hear(self, verdict: Verdict, entry: bytes, digest: bytes, index: int) -> None:
        try:
            leaf = record.read(entry)
        except Malformed as error:
            verdict.find(INCONSISTENT, f"record {index}: {error}", index)
            return
        wrong = self._wrong(leaf, index)
        if wrong:
            verdict.find(INCONSISTENT, f"record {index}: {wrong}", index)
        self._recorded = max(self._recorded, leaf.recorded)
        if leaf.oid is not None and leaf.on is not None:
            self._heads[leaf.oid] = (leaf.on, digest.hex(), leaf.kind)

    def _wrong(self, leaf: record.Leaf, index: int) -> str | None:
        if leaf.index != index:
            return f"says that it is number {leaf.index}"
        if leaf.log != self._origin:
            return f"belongs to log {leaf.log}"
        if leaf.recorded < self._recorded:
            return f"was recorded at {leaf.recorded}, before its predecessor"
        if leaf.oid is not None:
            number, digest, _ = self._heads.get(leaf.oid, (0, None, ""))
            if leaf.on != number + 1 or leaf.op != digest:
                return f"does not continue order {leaf.oid} after its number {number}"
        return None

    def orders(self) -> tuple[int, int]:
        """How many orders were told of, and how many of those without a close."""
        still_open = sum(kind != record.Kind.ORDER_CLOSE for _, _, kind in self._heads.values())
        return len(self._heads), still_open


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m audit.verifier DIR --vkey KEY`: prints the verdict, returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="audit.verifier",
        description="Verify an audit log from its files and its public key alone.",
        epilog="Exit status: 0 verified, 2 tampered, 3 inconsistent, 5 incomplete.",
    )
    parser.add_argument("directory", type=Path, help="holds `checkpoint` and `tile/`")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--vkey", help="the log's verifier key, obtained from a source you trust")
    key.add_argument("--vkey-file", type=Path, help="a file that holds it")
    parser.add_argument("--since", type=Path, help="an older checkpoint that must be extended")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    vkey = given.vkey or given.vkey_file.read_text()
    since = given.since.read_bytes() if given.since else None
    verdict = verify_log(given.directory, vkey, since)
    text = json.dumps(verdict.as_json()) if given.json else describe(verdict)
    sys.stdout.write(text + "\n")
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
