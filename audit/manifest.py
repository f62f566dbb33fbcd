"""What a store keeps for good: each full file's name, size, SHA-256, until when, in which version; hash-chained.

A manifest is a row of write-once files beside `tile/`, called segments: `manifest/000`, `manifest/001`,
…, `manifest/x001/000` (grouped as tlog-tiles groups). A segment is ASCII text, every line ended by a
newline:

    portcullis-manifest@v1
    origin portcullis.example/3f2a…
    segment 1
    previous <SHA-256 of the segment before, 64 hex digits; of segment 0: 64 zeros>
    leaves 256 1024
    term 2192
    at 2026-11-21T14:00:00Z

    <SHA-256, hex> <size, bytes> <until> <version> tile/entries/001
    …

`leaves A B`: its lines name every tile and bundle that became full between leaf A and leaf B, both
multiples of 256; A is the B of the segment before. `term`: the days for which files are kept, never
fewer than before. `at`: when it was written. A line's `until` is when the store lets the file go
(RFC 3339, whole seconds); `version` is S3's VersionId, or `-` where the store has no versions.

Lines may also name files of earlier segments again: the same hash, size and version, and an `until`
that is no earlier. That is how a retention grows, and the only thing that may ever change. Partial
tiles, `vkey` and `checkpoint` are not in it: they come and go, and the signed tree speaks for them.

The chain shows that a list was not shortened in the middle or rewritten after its successor was
written; that the tiles are right, the checkpoint's signature shows. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from audit.malformed import Malformed
from audit.tiles import ENTRIES, HEIGHT, WIDTH, Tile, parse_path

FIRST_LINE = "portcullis-manifest@v1"
NO_VERSION = "-"
START = "0" * 64
"""What the first segment says of its predecessor."""

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_VERSION = re.compile(r"[!-~]{1,1024}", re.ASCII)
_TIME = "%Y-%m-%dT%H:%M:%SZ"

Read = Callable[[str], bytes | None]


@dataclass(frozen=True)
class File:
    """One file that is kept. `until`: aware, UTC, whole seconds. `version`: None where there are none."""

    name: str
    sha256: str
    size: int
    until: datetime
    version: str | None = None

    def line(self) -> str:
        version = NO_VERSION if self.version is None else self.version
        return f"{self.sha256} {self.size} {self.until.strftime(_TIME)} {version} {self.name}\n"


@dataclass(frozen=True)
class Segment:
    """One link of the chain: the files that became full between leaf `start` and leaf `end`."""

    origin: str
    number: int
    previous: str
    start: int
    end: int
    term_days: int
    at: datetime
    files: tuple[File, ...] = field(repr=False)

    def encode(self) -> bytes:
        head = (
            f"{FIRST_LINE}\norigin {self.origin}\nsegment {self.number}\nprevious {self.previous}\n"
            f"leaves {self.start} {self.end}\nterm {self.term_days}\nat {self.at.strftime(_TIME)}\n\n"
        )
        return (head + "".join(file.line() for file in self.files)).encode()


@dataclass
class Manifest:
    """A whole chain, read. `files`: what the last line of each name says."""

    origin: str
    files: dict[str, File]
    segments: int = 0
    leaves: int = 0
    term_days: int = 0
    head: str = START


def path_of(number: int) -> str:
    """A segment's name."""
    return Tile(0, number).path().replace("tile/0/", "manifest/", 1)


def number_of(path: str) -> int:
    """The inverse of path_of(). Raises Malformed for anything but the one right spelling."""
    if not path.startswith("manifest/"):
        raise Malformed(f"{path!r} is not a manifest segment's name")
    tile = parse_path(path.replace("manifest/", "tile/0/", 1))
    if not tile.is_full:
        raise Malformed(f"{path!r} is not a manifest segment's name")
    return tile.n


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def parse(data: bytes) -> Segment:
    """The segment in those bytes. Raises Malformed where they are not its one right spelling."""
    try:
        head, _, body = data.decode("ascii").partition("\n\n")
        named = dict(line.split(" ", 1) for line in head.split("\n")[1:])
        start, end = named["leaves"].split(" ")
        segment = Segment(
            named["origin"], _count(named["segment"]), _hex(named["previous"]), _count(start),
            _count(end), _count(named["term"]), _time(named["at"]),
            tuple(_file(line) for line in body.split("\n")[:-1]),
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        raise Malformed(f"not a manifest segment: {error}") from None
    if segment.encode() != data:
        raise Malformed("a manifest segment that is not in its one right spelling")
    return segment


def segments(read: Read) -> Iterator[tuple[Segment, bytes]]:
    """The store's segments from the first to the last that is there. Raises Malformed."""
    number = 0
    while (data := read(path_of(number))) is not None:
        yield parse(data), data
        number += 1


def read_chain(read: Read) -> Manifest | None:
    """The whole manifest of a log's store, every link checked; None where there is none.

    Raises Malformed, naming the segment, where a link does not hold. It ends at the first number
    that is missing: that nothing is missing after it, only a listing of the store can show.
    """
    manifest: Manifest | None = None
    for segment, data in segments(read):
        if manifest is None:
            manifest = Manifest(segment.origin, {})
        add(manifest, segment, data)
    return manifest


def add(manifest: Manifest, segment: Segment, data: bytes) -> None:
    """The next link. Raises Malformed where it does not hold."""
    where = f"manifest segment {manifest.segments}"
    if (segment.origin, segment.number) != (manifest.origin, manifest.segments):
        raise Malformed(f"{where} says that it is number {segment.number} of {segment.origin}")
    if segment.previous != manifest.head:
        raise Malformed(f"{where} does not continue the one before it")
    if segment.start != manifest.leaves or segment.end < segment.start or segment.end % WIDTH:
        raise Malformed(f"{where} does not begin where the one before it ended")
    if segment.term_days < manifest.term_days:
        raise Malformed(f"{where} keeps files for a shorter time than the one before it")
    new = {tile.path() for tile in full_between(segment.start, segment.end)}
    for file in segment.files:
        before = manifest.files.get(file.name)
        if before is None and file.name not in new:
            raise Malformed(f"{where} names {file.name}, which did not become full there")
        if before is not None and not _only_longer(before, file):
            raise Malformed(f"{where} says of {file.name} what the manifest said otherwise before")
        new.discard(file.name)
        manifest.files[file.name] = file
    if new:
        raise Malformed(f"{where} does not name {min(new)}")
    manifest.segments += 1
    manifest.leaves, manifest.term_days = segment.end, segment.term_days
    manifest.head = digest(data)


def full_between(old: int, new: int) -> list[Tile]:
    """The bundles, then the tiles, that became full while a tree grew from `old` to `new` leaves."""
    full = [Tile(ENTRIES, n) for n in range(old // WIDTH, new // WIDTH)]
    level = 0
    while new >> (HEIGHT * (level + 1)):
        shift = HEIGHT * (level + 1)
        full += [Tile(level, n) for n in range(old >> shift, new >> shift)]
        level += 1
    return full


def edge(size: int) -> list[Tile]:
    """The bundle, then the tiles, that are partial in a tree of `size` leaves."""
    partial = [Tile(ENTRIES, size // WIDTH, size % WIDTH)] if size % WIDTH else []
    level = 0
    while hashes := size >> (HEIGHT * level):
        if hashes % WIDTH:
            partial.append(Tile(level, hashes // WIDTH, hashes % WIDTH))
        level += 1
    return partial


def last_segment(read: Read) -> tuple[Segment, str] | None:
    """The newest segment and its digest, found in few reads: they are numbered without a gap."""
    if read(path_of(0)) is None:
        return None
    high = 1
    while read(path_of(high)) is not None:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if read(path_of(middle)) is None else (middle, high)
    data = read(path_of(low))
    if data is None:
        raise Malformed(f"{path_of(low)} was there a moment ago")
    segment = parse(data)
    if segment.number != low:
        raise Malformed(f"{path_of(low)} says that it is number {segment.number}")
    return segment, digest(data)


def utc_seconds(moment: datetime) -> datetime:
    """Without a fraction, as the manifest writes times."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _only_longer(before: File, after: File) -> bool:
    same = (before.sha256, before.size, before.version) == (after.sha256, after.size, after.version)
    return same and after.until >= before.until


def _file(line: str) -> File:
    hashed, size, until, version, name = line.split(" ")
    if _VERSION.fullmatch(version) is None or not parse_path(name).is_full:
        raise ValueError(f"{line!r}")
    known = None if version == NO_VERSION else version
    return File(name, _hex(hashed), _count(size), _time(until), known)


def _count(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a count")
    return int(text)


def _hex(text: str) -> str:
    if _HEX.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a SHA-256")
    return text


def _time(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
