"""Whose turn it is, and how much a tenant may ask for."""

from hypothesis import given
from hypothesis import strategies as st

from hsm.rates import KNOWN_MOST, Rates
from hsm.turns import Turns


def test_one_tenants_thousand_do_not_stand_before_anothers_one():
    turns = Turns(lambda item: item[0])
    turns.put(("big", n) for n in range(1000))
    turns.put([("small", 0)])
    assert ("small", 0) in turns.take(2)
    assert len(turns) == 999


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())), st.integers(1, 7))
def test_everything_is_served_once_and_each_tenants_in_its_order(items, most):
    turns = Turns(lambda item: item[0])
    turns.put(items)
    served = []
    while turns:
        taken = turns.take(most)
        assert 0 < len(taken) <= most
        served += taken
    assert len(served) == len(items)
    for tenant in "abc":
        assert [i for i in served if i[0] == tenant] == [i for i in items if i[0] == tenant]


@given(st.lists(st.sampled_from("abc"), min_size=10, max_size=60))
def test_whoever_waits_is_served_in_every_round(tenants):
    turns = Turns(lambda item: item)
    turns.put(tenants)
    waiting = set(tenants)
    assert set(turns.take(len(waiting))) == waiting


def test_a_burst_is_taken_at_once_and_then_the_rate_holds():
    rates = Rates(per_s=10, burst=5)
    assert [rates.take("a", 100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert rates.take("b", 100.0)  # another's burst is its own
    assert rates.take("a", 100.1)
    assert not rates.take("a", 100.1)
    assert [rates.take("a", 200.0) for _ in range(6)] == [True] * 5 + [False]


@given(st.lists(st.floats(0, 1), max_size=300))
def test_nobody_gets_more_than_burst_and_rate(pauses):
    rates = Rates(per_s=20, burst=8)
    now, granted = 0.0, 0
    for pause in pauses:
        now += pause
        granted += rates.take("a", now)
    assert granted <= 8 + 20 * now + 1e-6


def test_tenants_that_nobody_has_heard_of_do_not_fill_the_memory():
    rates = Rates(per_s=1, burst=1)
    for n in range(3 * KNOWN_MOST):
        rates.take(n, n * 0.001)
        assert len(rates) <= KNOWN_MOST
