"""WAL over failovers: which timeline each segment is taken from, and which holes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.backup.archived import Wal, needed
from ops.backup.layout import Damaged, Places
from ops.backup.timelines import Branch, candidates, way
from tests.unit.ops.test_backup import MIB, archive, backup, segment

LEFT_AT_5 = "1\t0/5000100\tno recovery target specified\n"
LEFT_TWICE = LEFT_AT_5 + "2\t0/7000080\tno recovery target specified\n"
SEGMENT = 16 * MIB


def archived(root: Path, *names: str, **histories: str) -> Places:
    places = archive(root, *names)
    for name, text in histories.items():
        (places.wal / f"{int(name[1:]):08X}.history").write_text(text)
    return places


def test_the_way_goes_over_every_failover_since_the_backup() -> None:
    assert way(1, {}) == (Branch(1, 0),)
    assert way(1, {2: LEFT_AT_5}) == (Branch(1, 0), Branch(2, 0x5000100))
    both = {2: LEFT_AT_5, 3: LEFT_TWICE}
    assert way(1, both) == (Branch(1, 0), Branch(2, 0x5000100), Branch(3, 0x7000080))
    assert way(2, both) == (Branch(2, 0), Branch(3, 0x7000080))
    assert way(3, both) == (Branch(3, 0),)


def test_a_timeline_that_nobody_went_on_with_is_left_out() -> None:
    """2 was promoted and died; 3 was promoted from 1 as well, somewhat earlier."""
    assert way(1, {2: LEFT_AT_5, 3: "1\t0/4000000\twhy\n"}) == (Branch(1, 0), Branch(3, 0x4000000))


def test_in_the_segment_of_a_failover_the_new_primary_s_counts_first() -> None:
    branches = way(1, {2: LEFT_AT_5})
    found = [candidates(branches, number * SEGMENT, SEGMENT) for number in (4, 5, 6)]
    assert found == [[1], [2, 1], [2]]


def test_a_history_that_is_none_is_named() -> None:
    with pytest.raises(Damaged, match=r"00000002\.history has a line that is none"):
        way(1, {2: "what"})


def test_a_restore_follows_the_archive_over_a_failover(tmp_path: Path) -> None:
    """What the old primary had begun of segment 5, and even of 6, was never acknowledged."""
    places = archived(
        tmp_path, segment(3), segment(4), segment(5) + ".partial", segment(6) + ".partial",
        segment(5, 2), segment(6, 2), segment(7, 2) + ".partial", h2=LEFT_AT_5,
    )  # fmt: skip
    whole = (segment(3), segment(4), segment(5, 2), segment(6, 2))
    wanted = Wal(whole, segment(7, 2), ("00000002.history",), 2)
    assert needed(places, backup(), SEGMENT) == wanted


def test_an_archive_that_ends_in_the_failover_goes_as_far_as_the_old_primary_did(
    tmp_path: Path,
) -> None:
    places = archived(tmp_path, segment(3), segment(4), segment(5) + ".partial", h2=LEFT_AT_5)
    assert needed(places, backup(), SEGMENT).partial == segment(5)


@pytest.mark.parametrize("old", [(), (segment(5),), (segment(5) + ".partial",)])
def test_the_new_primary_s_part_of_a_segment_that_is_missing_is_named(
    tmp_path: Path, old: tuple[str, ...]
) -> None:
    """The old primary's segment holds WAL to the failover only: what came after it would be lost silently."""
    places = archived(tmp_path, segment(3), segment(4), *old, segment(6, 2), h2=LEFT_AT_5)
    with pytest.raises(Damaged, match=f"has no {segment(5, 2)}"):
        needed(places, backup(), SEGMENT)
