"""The budget's promise: no window holds more sends than the broker allows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.budget import Budget

arrivals = st.lists(st.floats(0, 0.3), min_size=1, max_size=200)
shapes = st.tuples(st.integers(2, 20), st.integers(1, 19)).filter(lambda s: s[1] < s[0])


def sends(budget: Budget, gaps: list[float]) -> list[float]:
    now, at = 0.0, []
    for gap in gaps:
        now += gap
        at.append(now + budget.reserve(now))
    return at


@settings(deadline=None)
@given(shapes, st.sampled_from([0.5, 1.0, 3.0]), arrivals)
def test_no_window_ever_holds_more_than_the_limit(
    shape: tuple[int, int], window_s: float, gaps: list[float]
) -> None:
    limit, burst = shape
    at = sends(Budget(limit=limit, window_s=window_s, burst=burst), gaps)
    for first, past in zip(at, at[limit:], strict=False):
        # One nanosecond for the two roundings of now + wait.
        assert past - first >= window_s - 1e-9


@settings(deadline=None)
@given(shapes, arrivals)
def test_places_are_given_in_order(shape: tuple[int, int], gaps: list[float]) -> None:
    at = sends(Budget(limit=shape[0], window_s=1.0, burst=shape[1]), gaps)
    assert at == sorted(at)


@settings(deadline=None)
@given(shapes)
def test_a_burst_goes_at_once_and_the_next_waits(shape: tuple[int, int]) -> None:
    limit, burst = shape
    at = sends(Budget(limit=limit, window_s=1.0, burst=burst), [0.0] * (burst + 1))
    assert max(at[:burst]) <= 1e-9
    assert at[burst] == pytest.approx(1 / (limit - burst))


@settings(deadline=None)
@given(shapes, st.integers(0, 5), st.floats(0.1, 5), arrivals)
def test_the_brokers_count_is_obeyed_until_its_reset(
    shape: tuple[int, int], remaining: int, reset_at_s: float, gaps: list[float]
) -> None:
    budget = Budget(limit=shape[0], window_s=1.0, burst=shape[1])
    budget.hint(remaining, reset_at_s)
    early = [t for t in sends(budget, gaps) if t < reset_at_s - 1e-9]
    assert len(early) <= remaining


def test_an_older_answer_of_the_same_window_does_not_give_places_back() -> None:
    budget = Budget(limit=100, window_s=1.0, burst=50)
    budget.hint(2, 10.0)
    assert [budget.reserve(9.5), budget.reserve(9.5)] == [0.0, 0.0]
    budget.hint(1, 10.1)
    assert budget.reserve(9.5) == pytest.approx(0.6)


@pytest.mark.parametrize("burst", [0, 100, 101])
def test_a_burst_as_large_as_the_limit_is_refused(burst: int) -> None:
    with pytest.raises(ValueError, match="burst"):
        Budget(limit=100, window_s=1.0, burst=burst)
