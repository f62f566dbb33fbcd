"""On which timeline a piece of WAL is read after failovers: each promotion begins a new one (NNNNNNNN.history).

A history says where each of a timeline's ancestors was left: `<timeline>\\t<position>\\t<why>` a line, the oldest
first. The segment in which one was left is there twice, as the old primary had it and as the new one goes on with
it; the new one's has everything that counts. What an old primary wrote behind that point was never acknowledged.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from ops.backup.layout import Damaged, parse_lsn


class Branch(NamedTuple):
    """A timeline, and where in the WAL it begins: 0 for the one that a restore starts on."""

    timeline: int
    begins: int


def way(first: int, histories: Mapping[int, str]) -> tuple[Branch, ...]:
    """From timeline `first` to the newest that goes on from it. `histories`: by the timeline they are of.

    Raises Damaged for a history that cannot be read.
    """
    for newest in sorted(histories, reverse=True):
        left = [_line(newest, line) for line in histories[newest].splitlines() if line.strip()]
        timelines = [timeline for timeline, _ in left]
        if first in timelines:
            after = left[timelines.index(first) :]
            following = [timeline for timeline, _ in after[1:]] + [newest]
            begun = [
                Branch(timeline, at) for timeline, (_, at) in zip(following, after, strict=True)
            ]
            return (Branch(first, 0), *begun)
    return (Branch(first, 0),)


def candidates(way: Sequence[Branch], position: int, segment_bytes: int) -> list[int]:
    """Timelines whose segment at `position` counts, the best first: the newest, and in the segment in which an
    older one was left that one too, for as long as the newer one's is not there."""
    at = position // segment_bytes
    ends = [later.begins // segment_bytes for _, later in pairwise(way)] + [at]
    return [
        branch.timeline
        for branch, end in reversed(list(zip(way, ends, strict=True)))
        if branch.begins // segment_bytes <= at <= end
    ]


def _line(of: int, line: str) -> tuple[int, int]:
    """Which ancestor was left, and where."""
    timeline, _, rest = line.partition("\t")
    if not timeline.isdecimal():
        raise Damaged(f"{of:08X}.history has a line that is none: {line[:80]!r}")
    return int(timeline), parse_lsn(rest.partition("\t")[0])
