"""The breaker: what opens waits for one probe, what closes goes through, a refusal is an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from fanout.breaker import PROBE_S, Breaker, Breakers, BreakerSettings
from fanout.ports import (
    Acked,
    AuthFailed,
    InDoubt,
    Maintenance,
    Outcome,
    RateLimited,
    Rejected,
    Unsent,
)
from tests.builders import order, report

SETTINGS = BreakerSettings(account_failures=3, broker_failures=5, pause_first_s=1, pause_most_s=8)
AWAY = Unsent(cause="connection refused")
ANSWERS: list[Outcome] = [
    Rejected(code="X", kind="funds", text="no"),
    RateLimited(retry_after_s=1.0),
    AuthFailed(kind="key", text="no"),
    Acked(report=report(order())),
]
FAILURES: list[Outcome] = [
    AWAY,
    InDoubt(cause="reset", not_after=None),
    Maintenance(until=None, text="closed"),
]


@pytest.mark.parametrize("outcome", FAILURES)
def test_failures_in_a_row_open_it_and_one_answer_begins_anew(outcome):
    breakers, one = Breakers(SETTINGS), order()
    for _ in range(2):
        breakers.heard(one, outcome, 0.0)
    assert breakers.pause_s(one, 0.0) == 0
    breakers.heard(one, ANSWERS[0], 0.0)
    for _ in range(2):
        breakers.heard(one, outcome, 0.0)
    assert breakers.pause_s(one, 0.0) == 0, "not in a row"
    breakers.heard(one, outcome, 0.0)
    assert breakers.pause_s(one, 0.0) == 1.0
    assert "1 account" in breakers.words()


@pytest.mark.parametrize("outcome", ANSWERS)
def test_whatever_the_broker_says_is_an_answer(outcome):
    breakers, one = Breakers(SETTINGS), order()
    for _ in range(20):
        breakers.heard(one, outcome, 0.0)
    assert breakers.words() == "all brokers answer"
    for _ in range(3):
        breakers.heard(one, AWAY, 0.0)
    breakers.heard(one, outcome, 0.0)
    assert breakers.pause_s(one, 0.0) == 0


def test_what_the_adapter_refused_by_itself_says_nothing_of_the_broker():
    breakers, one = Breakers(SETTINGS), order()
    for _ in range(3):
        breakers.heard(one, AWAY, 0.0)
    breakers.heard(one, Rejected(code="X", kind="size", text="no", left=False), 0.0)
    breakers.heard(one, AuthFailed(kind="key", text="none", left=False), 0.0)
    assert breakers.pause_s(one, 0.0) == 1.0


def test_one_account_that_is_not_answered_stops_no_other_many_stop_the_broker():
    breakers, mine, other = Breakers(SETTINGS), order(), order()
    for _ in range(3):
        breakers.heard(mine, AWAY, 0.0)
    assert breakers.pause_s(mine, 0.0) > 0
    assert breakers.pause_s(other, 0.0) == 0
    for _ in range(2):
        breakers.heard(order(), AWAY, 0.0)
    assert breakers.pause_s(other, 0.0) > 0
    assert breakers.pause_s(order(broker="paper"), 0.0) == 0


def test_half_open_lets_one_probe_through_and_pauses_grow_to_a_cap():
    breaker = Breaker(1, SETTINGS)
    breaker.failed(0.0)
    now, began = 0.0, [0.0]
    for _ in range(6):
        now += breaker.pause_s(now)
        breaker.enter(now)
        assert breaker.pause_s(now) > 0, "one at a time"
        breaker.failed(now)
        began.append(now)
    assert [b - a for a, b in pairwise(began)] == [1, 2, 4, 8, 8, 8]
    breaker.enter(now + 8)
    breaker.answered()
    assert breaker.pause_s(now + 8) == 0
    breaker.failed(100.0)
    assert breaker.pause_s(100.0) == 1.0, "pauses begin anew"


def test_a_probe_that_nobody_heard_of_again_keeps_it_open_only_for_a_while():
    breaker = Breaker(1, SETTINGS)
    breaker.failed(0.0)
    breaker.enter(1.0)
    assert breaker.pause_s(1.0 + PROBE_S - 0.1) > 0
    assert breaker.pause_s(1.0 + PROBE_S) == 0


def test_what_closes_goes_through_and_its_answer_closes_the_breaker():
    breakers, opening = Breakers(SETTINGS), order()
    closing = order(reduce_only=True, account_id=opening.account_id)
    for _ in range(5):
        breakers.heard(opening, AWAY, 0.0)
    assert breakers.pause_s(opening, 0.0) > 0
    assert breakers.pause_s(closing, 0.0) == 0
    breakers.heard(closing, AWAY, 0.5)
    assert breakers.pause_s(opening, 1.0) == 0, "its failure puts the probe off no further"
    breakers.heard(closing, ANSWERS[0], 0.6)
    assert breakers.words() == "all brokers answer"


def test_a_maintenance_that_names_its_end_is_waited_for():
    breakers, one = Breakers(SETTINGS), order()
    for _ in range(3):
        said = Maintenance(until=datetime.now(UTC), text="closed")
        breakers.heard(one, said, 0.0, until_s=600.0)
    assert breakers.pause_s(one, 0.0) == 600.0
    assert breakers.pause_s(one, 600.0) == 0


@pytest.mark.parametrize(
    "wrong", [{"account_failures": 0}, {"pause_first_s": 31.0}, {"pause_first_s": 0.0}]
)
def test_settings_that_would_protect_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        BreakerSettings(**wrong)
