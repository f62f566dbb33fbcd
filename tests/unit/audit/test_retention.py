"""How long records are kept, and what stands against erasing: decided without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import shredding
from audit.holds import Standing
from audit.retention import DEFAULT_YEARS, YEARS, Scope, Term, grown
from audit.shredding import Against, UnderHold, WithinRetention

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REGIMES = st.lists(st.sampled_from(sorted(YEARS)), max_size=5)


@given(st.integers(1, 100), REGIMES, REGIMES, st.integers(0, 100))
def test_a_class_only_grows(years, before, more, wanted):
    term = grown(Term(cls="trade", years=years), before)
    after = grown(term, more, wanted)
    assert after.years >= max(term.years, wanted, DEFAULT_YEARS)
    assert set(after.regimes) == {*before, *more}


def test_the_longest_regime_decides():
    assert grown(Term(cls="trade"), ["mifid", "twse"]).years == 6
    assert grown(Term(cls="trade"), ["mifid", "mifid-7"]).years == 7


def test_a_hold_has_an_end_after_its_beginning():
    with pytest.raises(ValueError, match="before to_at"):
        Scope(from_at=NOW, to_at=NOW)


def against(**members):
    known = {"records": 3, "waiting": 0, "keep_until": NOW - timedelta(days=1), "holds": ()}
    return Against(**{**known, **members})


def test_what_is_over_and_held_by_nobody_may_go():
    shredding.refuse("account:a", against(), NOW)
    shredding.refuse("account:a", against(records=0, keep_until=None), NOW)


@pytest.mark.parametrize(
    "members", [{"keep_until": NOW + timedelta(seconds=1)}, {"waiting": 1}, {"keep_until": None, "waiting": 1}]
)  # fmt: skip
def test_what_must_be_kept_is_kept(members):
    with pytest.raises(WithinRetention):
        shredding.refuse("account:a", against(**members), NOW)


def test_the_refusal_says_until_when():
    with pytest.raises(WithinRetention, match="2032-05-03"):
        shredding.refuse("a", against(keep_until=datetime(2032, 5, 3, tzinfo=UTC)), NOW)


def test_a_hold_beats_the_end_of_retention_and_says_why():
    hold = Standing(uuid4(), "letter of 3 May")
    with pytest.raises(UnderHold, match=r"letter of 3 May"):
        shredding.refuse("account:a", against(holds=(hold,)), NOW)
