"""WAL over failovers: which timeline each segment is taken from, and which holes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.backup.archived import PARTIAL, Wal, needed
from ops.backup.aside import is_left_behind, left_behind
from ops.backup.layout import Damaged, Places, segment_at
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


def names(timeline: int, *segments: int, end: str = "") -> list[str]:
    return [segment_at(timeline, at * SEGMENT, SEGMENT) + end for at in segments]


def test_of_a_branch_that_was_left_what_goes_behind_the_fork_is_moved() -> None:
    """Left in segment 5; the archive had 6 and was filling 7. 2 is the cluster's own now."""
    cluster = way(1, {2: LEFT_AT_5})
    stays = [*names(1, 3, 4), *names(2, 5, 6), *names(2, 7, end=PARTIAL), "00000002.history"]
    goes = [*names(1, 5, 6), *names(1, 7, end=PARTIAL)]
    assert left_behind([*stays, *goes, "notes.txt"], cluster, SEGMENT) == sorted(goes)


def test_the_segment_that_was_being_filled_at_the_fork_stays() -> None:
    """pg_receivewal begins it anew, on the timeline that it was on."""
    cluster = way(1, {2: LEFT_AT_5})
    assert left_behind(names(1, 5, end=PARTIAL), cluster, SEGMENT) == []
    at_its_end = way(1, {2: "1\t0/6000000\twhy\n"})
    assert left_behind(names(1, 5), at_its_end, SEGMENT) == []
    assert left_behind(names(1, 6, end=PARTIAL), at_its_end, SEGMENT) == names(1, 6, end=PARTIAL)


def test_timelines_that_are_no_ancestors_go_with_their_histories() -> None:
    """2 was followed for a while; the cluster was restored from 1 to a point before, as 3."""
    cluster = way(1, {3: "1\t0/4000000\twhy\n"})
    there = [*names(1, 3), *names(2, 5), "00000002.history", *names(3, 4), "00000003.history"]
    assert left_behind(there, cluster, SEGMENT) == ["00000002.history", *names(2, 5)]


def test_a_cluster_that_never_changed_its_timeline_has_left_nothing() -> None:
    assert left_behind([*names(1, 3, 4), *names(1, 5, end=PARTIAL)], way(1, {}), SEGMENT) == []


def test_a_base_backup_behind_the_fork_goes_too() -> None:
    ends_at = "0/3000100"
    assert backup().end_lsn == ends_at
    assert not is_left_behind(backup(), way(1, {}))
    assert not is_left_behind(backup(), way(1, {2: f"1\t{ends_at}\twhy\n"}))
    assert is_left_behind(backup(), way(1, {2: "1\t0/3000080\twhy\n"}))
    assert is_left_behind(backup(), (Branch(2, 0),))
