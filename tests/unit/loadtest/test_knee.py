"""The search for the knee, and the course of a run around it: pure, so every way it can go is played through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.swarm.course import REST_MOST_S, Course, Timing, Totals, between
from loadtest.swarm.knee import Objectives, Repeat, Search, Seen, percentile

FOLLOWERS = 10
TIMING = Timing(settle_s=3, measure_s=10, rest_s=5)


def seen(**changed: float) -> Seen:
    usual = {"seconds": 10, "sent": 1000, "failed": 0, "p99_ms": 20.0}
    return Seen(**{**usual, "owed": 10_000, "executed": 10_000, **changed})  # type: ignore[arg-type]


def searched(search: Search, holds: Callable[[int], bool]) -> list[int]:
    """All that was tried."""
    tried = []
    while (wanted := search.wanted) is not None:
        tried.append(wanted)
        search.tell(held=holds(wanted))
        assert len(tried) < 100, f"does not end: {search}"
    return tried


def test_it_doubles_until_one_breaks_and_then_halves_the_rest():
    search = Search(start=4, most=1000, growth=2, precision=0.1, tries=1)
    assert searched(search, lambda n: n <= 37) == [4, 8, 16, 32, 64, 48, 40, 36, 38]
    assert (search.good, search.broken, search.found) == (36, 38, True)


def test_where_the_first_breaks_it_looks_below():
    search = Search(start=16, most=1000, tries=1)
    assert searched(search, lambda n: n <= 3) == [16, 8, 4, 2, 3]
    assert (search.good, search.found) == (3, True)


def test_where_nothing_holds_there_is_no_knee():
    search = Search(start=4, most=1000, tries=1)
    assert searched(search, lambda _: False) == [4, 2, 1]
    assert (search.good, search.found) == (0, True)


def test_where_all_hold_the_knee_is_beyond_the_most():
    search = Search(start=4, most=50)
    assert searched(search, lambda _: True) == [4, 8, 16, 32, 50]
    assert (search.good, search.broken, search.found) == (50, None, False)


@pytest.mark.parametrize(("holds", "good"), [(True, 7), (False, 0)])
def test_one_rate_alone_is_tried_and_no_other(holds: bool, good: int):
    search = Search(start=7, most=7, tries=1)
    assert searched(search, lambda _: holds) == [7]
    assert search.good == good


def test_one_bad_second_is_no_knee():
    """The second try held: the number is good."""
    search = Search(start=4, most=8, tries=2)
    search.tell(held=False)
    assert search.wanted == 4
    search.tell(held=True)
    assert (search.good, search.wanted) == (4, 8)


def test_failures_of_one_rate_do_not_count_against_another():
    search = Search(start=4, most=8, tries=2)
    for held in (False, True, False):
        search.tell(held=held)
    assert (search.good, search.broken, search.wanted) == (4, None, 8)


@given(
    knee=st.integers(0, 2000), start=st.integers(1, 500), growth=st.floats(1.1, 4),
    precision=st.floats(0.01, 0.5), tries=st.integers(1, 3),
)  # fmt: skip
def test_it_ends_near_any_knee(knee: int, start: int, growth: float, precision: float, tries: int):
    search = Search(start=start, most=1500, growth=growth, precision=precision, tries=tries)
    searched(search, lambda n: n <= knee)
    assert search.good <= knee
    if search.found:
        assert search.broken is not None
        assert knee < search.broken <= search.good + max(1, precision * search.good)
    else:
        assert search.good == 1500


def test_a_soak_repeats_its_rate_whether_or_not_it_holds():
    soak = Repeat(senders=7, times=3)
    held = iter([True, False, True])
    tried = []
    while (wanted := soak.wanted) is not None:
        tried.append(wanted)
        soak.tell(held=next(held))
    assert tried == [7, 7, 7]
    assert (soak.good, soak.found) == (0, False)
    with pytest.raises(ValueError, match="as often as"):
        soak.tell(held=True)
    assert Repeat(senders=7, times=1).good == 7


def test_nothing_is_told_where_nothing_was_wanted():
    search = Search(start=1, most=1)
    search.tell(held=True)
    with pytest.raises(ValueError, match="over"):
        search.tell(held=True)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"start": 0}, "start: 1 to 10"),
        ({"start": 11}, "start: 1 to 10"),
        ({"growth": 1}, "growth: more than 1"),
        ({"precision": 1}, "precision: between 0 and 1"),
        ({"tries": 0}, "tries: 1 or more"),
    ],
)
def test_a_search_that_cannot_be_made_says_why(changed: dict[str, int], words: str):
    with pytest.raises(ValueError, match=words):
        Search(**{"start": 1, "most": 10, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (seen(), ""),
        (seen(sent=0, owed=0, executed=0), "nothing was answered"),
        (seen(failed=1), ""),
        (seen(failed=2), "2 of 1000 requests failed"),
        (seen(p99_ms=100.0), ""),
        (seen(p99_ms=101.0), "p99 101 ms, more than 100"),
        (seen(executed=9_000), ""),
        (seen(executed=8_900), "orders fell 1.1 s behind, more than 1"),
        (seen(executed=30_000), ""),
    ],
)
def test_the_first_objective_that_breaks_is_named(what: Seen, words: str):
    assert what.broke(Objectives(p99_ms=100, errors=0.001, lag_s=1)) == words


def test_a_percentile_is_a_value_that_was_seen():
    assert percentile({10: 98, 500: 2}, 99) == 500
    assert percentile({10: 99, 500: 1}, 99) == 10
    assert percentile({10: 0, 500: 1}, 50) == 500
    assert percentile({}, 99) == percentile({10: 0}, 99) == 0


def test_what_was_slow_before_a_step_is_not_in_it():
    before = Totals(at_s=10, sent=50, failed=2, executed=100, took_ms={20: 40, 9000: 10})
    after = Totals(at_s=14, sent=60, failed=3, executed=120, took_ms={20: 49, 70: 1, 9000: 10})
    assert between(before, after, 5) == Seen(
        seconds=4, sent=10, failed=1, p99_ms=70, owed=45, executed=20
    )


class World:
    """Senders of 1/s against a host that executes at most `capacity` signals a second, the clock by hand."""

    def __init__(self, capacity: float, course: Course) -> None:
        self.capacity = capacity
        self.course = course
        self.now = Totals(at_s=1000.0, sent=0, failed=0, executed=0, took_ms=Counter())
        self.tried: list[int] = []
        self._waiting = 0.0

    def run(self, most_s: int = 2000) -> None:
        senders = self.course.at(self.now)
        for _ in range(most_s):
            if senders is None:
                return
            self.tried.append(senders)
            self._second(senders)
            senders = self.course.at(self.now)
        raise AssertionError(f"does not end: {self.course.search}")

    def _second(self, senders: int) -> None:
        now = self.now
        self._waiting += senders
        done = min(self._waiting, self.capacity)
        self._waiting -= done
        took = Counter(now.took_ms)
        took[20] += senders
        self.now = Totals(
            at_s=now.at_s + 1, sent=now.sent + senders, failed=0,
            executed=now.executed + round(done * FOLLOWERS), took_ms=took,
        )  # fmt: skip


def course(search: Search) -> Course:
    return Course(search, Objectives(), TIMING, followers=FOLLOWERS)


def test_a_rate_is_settled_at_and_then_measured():
    run = course(Search(start=4, most=4))
    world = World(100, run)
    world.run()
    (step,) = run.steps
    assert (step.began_s, step.ended_s, step.senders) == (1003, 1013, 4)
    assert step.seen == Seen(seconds=10, sent=40, failed=0, p99_ms=20, owed=400, executed=400)
    assert world.tried == [4] * 13


def test_a_host_that_falls_behind_is_left_to_finish_before_the_next_rate():
    """The answers are quick all the while: only the orders tell that this is too much."""
    run = course(Search(start=10, most=1000, growth=2, precision=0.2, tries=1))
    world = World(24, run)
    world.run()
    assert [(step.senders, bool(step.broke)) for step in run.steps] == [
        (10, False), (20, False), (40, True), (30, True), (25, False),
    ]  # fmt: skip
    assert "behind" in run.steps[2].broke
    # 16 a second too many for 13 seconds are 208, which a host that does 23 more than comes needs 9 s for.
    rest = world.tried[world.tried.index(40) + 13 :].index(30)
    assert world.tried.count(1) >= rest == 9


def test_a_rest_has_an_end_whatever_is_owed():
    """Half of the host is gone after the break: what is owed never ends."""
    run = course(Search(start=10, most=20, growth=2, precision=0.5, tries=1))
    world = World(0, run)
    with pytest.raises(AssertionError, match="does not end"):
        world.run(13 + int(REST_MOST_S) - 1)
    assert set(world.tried[13:]) == {1}
    world.run(1 + 13 + 13 + int(REST_MOST_S) * 4)
    assert run.search.found


def test_a_run_ends_at_its_last_verdict_without_a_rest():
    run = course(Search(start=1, most=1, tries=1))
    world = World(0, run)
    world.run()
    assert world.tried == [1] * 13
    assert run.steps[-1].broke.startswith("orders fell")


def test_phases_have_a_length():
    with pytest.raises(ValueError, match="measure_s: more than 0"):
        Timing(measure_s=0)
