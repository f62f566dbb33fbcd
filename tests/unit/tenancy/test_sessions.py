"""The life of a session, by the clock alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tenancy.sessions import Times, hashed, judge, limits_of, new_token

T0 = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
LIMITS = limits_of("{}")


def times(**changes: Any) -> Times:
    values = {
        "created_at": T0, "seen_at": T0, "rotated_at": T0, "previous": False,
        "transport": "cookie",
    }  # fmt: skip
    return Times(**{**values, **changes})


def after(**parts: float) -> datetime:
    return T0 + timedelta(**parts)


def test_half_an_hour_unseen_ends_it() -> None:
    assert judge(times(rotated_at=after(minutes=29)), LIMITS, after(minutes=29)) == "seen"
    assert judge(times(), LIMITS, after(minutes=30)) == "expired"


def test_twelve_hours_end_it_however_busy_it_was() -> None:
    busy = times(seen_at=after(hours=12), rotated_at=after(hours=12))
    assert judge(busy, LIMITS, after(hours=12)) == "expired"


def test_a_tenant_says_its_own_limits() -> None:
    own = limits_of('{"session_idle_minutes": 5, "session_max_hours": 1, "retention_years": 9}')
    assert judge(times(), own, after(minutes=5)) == "expired"
    assert judge(times(seen_at=after(minutes=59)), own, after(hours=1)) == "expired"


def test_a_cookies_token_is_due_after_a_quarter_of_an_hour_and_a_bearers_never() -> None:
    seen = after(minutes=15)
    assert judge(times(seen_at=seen), LIMITS, after(minutes=14, seconds=59)) == "live"
    assert judge(times(seen_at=seen), LIMITS, after(minutes=15)) == "rotate"
    assert judge(times(seen_at=seen, transport="bearer"), LIMITS, after(minutes=15)) == "live"


def test_the_token_before_is_good_for_a_minute_and_then_ends_the_session() -> None:
    before = times(previous=True)
    assert judge(before, LIMITS, after(seconds=59)) == "live"
    assert judge(before, LIMITS, after(seconds=60)) == "replayed"


def test_that_it_was_seen_is_noted_twice_a_minute_at_most() -> None:
    assert judge(times(), LIMITS, after(seconds=29)) == "live"
    assert judge(times(), LIMITS, after(seconds=30)) == "seen"


def test_a_token_has_256_bits_and_is_kept_as_its_hash() -> None:
    token = new_token("pcs_")
    assert len(token) == 4 + 43
    assert token != new_token("pcs_")
    assert len(hashed(token)) == 32
