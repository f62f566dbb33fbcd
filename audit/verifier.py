"""Files and a public key in, a verdict out: no database, no network unless asked, nothing of ours to trust.

Steps, with the same numbers in the code:

1. Read the verifier key (it must come from outside the directory to prove anything); several, one
   per line, where the log's key was changed. Any of them may have signed, none of them wrongly.
2. Open the checkpoint: form, signature, origin. Every later step is against this root.
3. Read every entry bundle and hash the leaves; rebuild every tile and the root from them.
4. Compare the rebuilt root with the signed one; where they differ, name the first bad index.
5. Compare every file under tile/ with the rebuilt tiles, byte by byte, narrower partials included.
6. Read every leaf as a record: canonical spelling, right log, index without gap, recording time
   never backwards, each order's records numbered without gap and chained by hash.
7. Where an older checkpoint is given, prove that this log extends it.
8. Where an anchor is given, prove that this log extends the checkpoint in it; where a policy is, count
   the witnesses that cosigned the anchor, or else the log's own checkpoint.
9. Where the store's manifest is asked for, check its chain and every file that it names.

Exit status: 0 ok · 2 tampered · 3 inconsistent · 4 unwitnessed · 5 incomplete.
*Tampered*: bytes are not what was signed. *Inconsistent*: what was signed contradicts itself or an
older signed head. *Incomplete*: files are missing. *Unwitnessed*: all is well but too few witnesses
have said so. The gravest is the verdict: 2, then 3, then 5, then 4.

Steps 3, 5 and 6 are done in stretches (audit/verifier_stretch.py), by several processes where asked.
Imports the standard library, `cryptography`, and formats of this package that import no more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from audit import tiles
from audit.arguments import ASKED_WRONGLY, VerdictParser
from audit.bundle import verify_bundle
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.malformed import Malformed
from audit.note import VerifierKey, parse_keys
from audit.policy import parse_policy
from audit.tiles import WIDTH, Builder, Tile
from audit.verdict import (
    INCOMPLETE,
    INCONSISTENT,
    TAMPERED,
    Stop,
    Verdict,
    describe,
)
from audit.verifier_evidence import NONE, Evidence, count_witnesses, open_anchor
from audit.verifier_files import Directory, Source, source_of
from audit.verifier_manifest import check_manifest
from audit.verifier_story import Story
from audit.verifier_stretch import (
    BUNDLES,
    Memory,
    Spot,
    Stretch,
    Task,
    compare,
    read_stretch,
    widths_of,
)

Keys = tuple[VerifierKey, ...]
Rebuilt = Sequence[tuple[Tile, bytes]]
WORTH_PROCESSES = 4 * BUNDLES * WIDTH
"""Records from which on the start of further processes pays."""


def verify_log(
    place: Path | Source,
    vkey: str,
    since: bytes | None = None,
    *,
    evidence: Evidence = NONE,
    jobs: int = 1,
) -> Verdict:
    """The verdict on a log's directory, under the key or keys of `vkey`, one per line.

    `since`: an older checkpoint note that must be extended. `evidence`: what else must speak for it.
    `jobs`: processes to read with. Never raises for what the files hold.
    """
    source = Directory(place) if isinstance(place, Path) else place
    verdict = Verdict()
    try:
        keys = _read_keys(verdict, vkey)
        note = _read_head(verdict, source)
        head = _open_head(verdict, source, note, keys)
        anchored = open_anchor(verdict, head, evidence)  # step 8
        older = _older(verdict, keys, head, since)
        held = [] if anchored is None else [anchored.slot.checkpoint]
        replay = _Replay(verdict, source, head, [*older, *held])
        replay.run(jobs if head.size >= WORTH_PROCESSES else 1)
        count_witnesses(verdict, head, note, evidence, anchored)  # step 8
        if evidence.manifest:
            check_manifest(verdict, source, head)  # step 9
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


def _read_head(verdict: Verdict, source: Source) -> bytes:
    """Step 2: its bytes."""
    try:
        note = source.read("checkpoint")
    except OSError as error:
        verdict.find(INCOMPLETE, f"no checkpoint can be read: {error.strerror or error}")
        raise Stop from None
    if note is None:
        verdict.find(INCOMPLETE, "there is no checkpoint")
        raise Stop
    return note


def _open_head(verdict: Verdict, source: Source, note: bytes, keys: Keys) -> Checkpoint:
    """Step 2: what it says."""
    try:
        head = open_checkpoint(note, *keys)
    except Malformed as error:
        verdict.find(TAMPERED, f"checkpoint: {error}")
        raise Stop from None
    verdict.origin, verdict.size, verdict.root = head.origin, head.size, head.root.hex()
    try:
        shown = source.read("vkey")
    except OSError:
        shown = None
    if shown is not None and not _names(shown, keys):
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


def _older(verdict: Verdict, keys: Keys, head: Checkpoint, since: bytes | None) -> list[Checkpoint]:
    """Step 7: what has to be extended."""
    if since is None:
        return []
    try:
        older = open_checkpoint(since, *keys)
    except Malformed as error:
        verdict.find(TAMPERED, f"older checkpoint: {error}")
        return []
    if older.size > head.size:
        what = f"the log has shrunk from {older.size} to {head.size}"
        verdict.find(INCONSISTENT, what, head.size)
        return []
    return [older]


class _Replay:
    """Steps 3 to 7: the stretches put together in order."""

    def __init__(
        self, verdict: Verdict, source: Source, head: Checkpoint, older: Sequence[Checkpoint]
    ) -> None:
        """`older`: heads that this log must extend, no larger than its own."""
        self._verdict, self._source = verdict, source
        self._head, self._older = head, list(older)
        self._builder, self._story = Builder(), Story()
        self._differing = Verdict()
        self._first_bad: int | None = None
        self._missing = False

    def run(self, jobs: int) -> None:
        widths = self._list()
        self._pass_older(Stretch())
        with _reading(jobs) as read:
            for stretch in read(self._tasks(widths)):
                self._add(stretch)
                self._compare(self._builder.take_full(), widths)
                if self._missing:
                    break
        self._verdict.orders, self._verdict.orders_open = self._story.orders()
        if not self._missing:
            self._compare(self._builder.partials(), widths)
        if not self._missing and self._builder.root() == self._head.root:
            self._verdict.findings += self._differing.findings
            return
        # The rebuilt tiles are wrong themselves then: only that files are missing is worth telling.
        self._verdict.findings += [f for f in self._differing.findings if f.code == INCOMPLETE]
        self._blame()

    def _list(self) -> dict[Spot, list[int]] | None:
        """Which files lie where. Step 5: names that no tree of this log would have are strangers."""
        names = self._source.names()
        if names is None:
            return None
        widths: dict[Spot, list[int]] = {}
        for name in names:
            try:
                tile = tiles.parse_path(name)
            except Malformed:
                self._differing.find(TAMPERED, f"{name} does not belong to a log")
                continue
            widths.setdefault((tile.level, tile.n), []).append(tile.width)
        return widths

    def _tasks(self, widths: dict[Spot, list[int]] | None) -> Iterator[Task]:
        size, origin = self._head.size, self._head.origin
        bundles = (size + WIDTH - 1) // WIDTH
        wanted = frozenset(older.size // WIDTH for older in self._older)
        for first in range(0, bundles, BUNDLES):
            spots = (
                (level, n) for n in range(first, min(first + BUNDLES, bundles)) for level in (-1, 0)
            )
            here = None if widths is None else {s: widths[s] for s in spots if s in widths}
            yield Task(self._source, origin, size, first, here, wanted)

    def _add(self, stretch: Stretch) -> None:
        for finding in stretch.found.findings:
            self._verdict.find(finding.code, finding.what, finding.index)
        for finding in stretch.differing.findings:
            self._differing.find(finding.code, finding.what, finding.index)
        self._story.go_on(self._verdict, stretch.account)
        if self._first_bad is None:
            self._first_bad = stretch.first_bad
        self._missing = stretch.missing
        for root in stretch.roots:
            self._pass_older(stretch)
            self._builder.append_full(root)
        self._pass_older(stretch)
        for digest in stretch.edge:
            self._builder.append(b"", digest)

    def _pass_older(self, stretch: Stretch) -> None:
        """Steps 7 and 8, once each: older heads whose size lies at or within the next 256 records."""
        size = self._builder.size
        for older in [one for one in self._older if size <= one.size < size + WIDTH]:
            probe = self._builder.copy()
            for digest in stretch.hashes.get(size // WIDTH, [])[: older.size - size]:
                probe.append(b"", digest)
            if probe.size < older.size:
                continue
            self._older.remove(older)
            if probe.root() != older.root:
                # The same leaves that give the new root must give the old one.
                what = f"the log does not extend its checkpoint of size {older.size}"
                self._verdict.find(INCONSISTENT, what)

    def _compare(self, rebuilt: Rebuilt, widths: dict[Spot, list[int]] | None) -> None:
        """Step 5 for the tiles above level 0."""
        differing = self._differing
        for tile, data in rebuilt:
            if tile.level > 0:
                files = Memory(self._source, differing)
                compare(files, differing, tile, data, widths_of(widths, tile, files))

    def _blame(self) -> None:
        """Step 4: the root is not reached. Whose fault?"""
        verdict, bad = self._verdict, self._first_bad
        if self._missing and any(f.code == INCOMPLETE and f.index == bad for f in verdict.findings):
            return
        if bad is not None:
            verdict.find(TAMPERED, f"record {bad} is not the one that was signed", bad)
            return
        # Bundles and leaf hashes agree with each other: a tile above them may name the 256 records.
        what = f"the records do not give the signed root of size {self._head.size}"
        verdict.find(TAMPERED, what, self._differing.first_bad_index)


Reader = Callable[[Iterator[Task]], Iterator[Stretch]]


@contextmanager
def _reading(jobs: int) -> Iterator[Reader]:
    """How stretches are read: here, or by so many processes, never far ahead of who asks."""
    if jobs <= 1:
        yield lambda tasks: map(read_stretch, tasks)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))

    def read(tasks: Iterator[Task]) -> Iterator[Stretch]:
        ahead: deque[Future[Stretch]] = deque()
        for task in tasks:
            ahead.append(pool.submit(read_stretch, task))
            if len(ahead) > 2 * jobs:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    try:
        yield read
    finally:
        pool.shutdown(cancel_futures=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m audit.verifier PLACE --vkey KEY`: prints the verdict, returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        verdict = _verify(given)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot verify: {error}\n")
        return ASKED_WRONGLY
    text = json.dumps(verdict.as_json()) if given.json else describe(verdict)
    sys.stdout.write(text + "\n")
    return verdict.code


def _verify(given: argparse.Namespace) -> Verdict:
    """Raises OSError, ValueError for what was asked wrongly; never for what is verified."""
    vkey = given.vkey or given.vkey_file.read_text()
    if os.path.isfile(given.place):
        return verify_bundle(json.loads(Path(given.place).read_bytes()), vkey)
    if given.anchor is not None and given.anchor_vkey_file is None:
        raise ValueError(
            "--anchor needs --anchor-vkey-file: the anchor log's key, from a source you trust"
        )
    evidence = Evidence(
        parse_policy(given.policy.read_bytes()) if given.policy else None,
        given.anchor.read_bytes() if given.anchor else None,
        parse_keys(given.anchor_vkey_file.read_text()) if given.anchor_vkey_file else (),
        given.manifest,
    )
    since = given.since.read_bytes() if given.since else None
    return verify_log(source_of(given.place), vkey, since, evidence=evidence, jobs=given.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = VerdictParser(
        prog="verify_portcullis_log",
        description="Verify an audit log from its files and its public key alone.",
        epilog="Exit status: 0 verified, 2 tampered, 3 inconsistent, 4 unwitnessed, 5 incomplete;"
        " 1: could not begin.",
    )
    parser.add_argument(
        "place", metavar="PLACE",
        help="the log's directory (holds `checkpoint` and `tile/`), its http(s):// address,"
        " or a proof bundle of one order",
    )  # fmt: skip
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--vkey", help="the log's verifier key, obtained from a source you trust")
    key.add_argument("--vkey-file", type=Path, help="a file that holds it; several, one per line")
    parser.add_argument("--since", type=Path, help="an older checkpoint that must be extended")
    parser.add_argument(
        "--policy", type=Path, help="a C2SP tlog-policy: whose cosignatures are needed"
    )
    parser.add_argument(
        "--anchor", type=Path, help="an anchor's proof (portcullis-anchor@v1) of this log"
    )
    parser.add_argument("--anchor-vkey-file", type=Path, help="the anchor log's verifier key")
    parser.add_argument(
        "--manifest", action="store_true", help="check the store's manifest and what it names"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes for a long log (all cores)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
