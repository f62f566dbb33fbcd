"""How guessing is slowed, by the clock alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tenancy.throttle import (
    Count,
    address_subject,
    charged_address,
    charged_person,
    judge_address,
    judge_person,
    person_subject,
)

T0 = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def failures(count: int, at: datetime = T0) -> Count:
    return Count(count, at, at)


def test_four_failures_slow_nobody() -> None:
    assert judge_person(failures(4), T0).kind == "allowed"


def test_the_pause_doubles_from_the_fifth_failure_on() -> None:
    for count, pause in ((5, 1), (6, 2), (7, 4), (8, 8), (9, 16)):
        verdict = judge_person(failures(count), T0)
        assert (verdict.kind, verdict.until) == ("slowed", T0 + timedelta(seconds=pause))
        assert judge_person(failures(count), T0 + timedelta(seconds=pause)).kind == "allowed"


def test_the_tenth_failure_locks_for_a_quarter_of_an_hour_and_so_does_each_after_it() -> None:
    for count in (10, 11, 40):
        verdict = judge_person(failures(count), T0 + timedelta(minutes=14, seconds=59))
        assert (verdict.kind, verdict.until) == ("locked", T0 + timedelta(minutes=15))
        assert judge_person(failures(count), T0 + timedelta(minutes=15)).kind == "allowed"


def test_a_day_without_a_failure_forgets_them() -> None:
    later = T0 + timedelta(days=1)
    assert judge_person(failures(40), later) == judge_person(failures(0), later)
    assert charged_person(failures(40), later).failures == 1


def test_an_address_has_fifty_failures_in_a_window_of_fifteen_minutes() -> None:
    count = failures(0)
    for second in range(50):
        now = T0 + timedelta(seconds=second)
        assert judge_address(count, now).kind == "allowed"
        count = charged_address(count, now)
    assert judge_address(count, T0 + timedelta(minutes=14)).kind == "locked"
    after = T0 + timedelta(minutes=15)
    assert judge_address(count, after).kind == "allowed"
    assert charged_address(count, after) == Count(1, after, after)


def test_one_host_is_one_address_whatever_it_calls_itself() -> None:
    assert address_subject("2001:db8::1") == address_subject("2001:db8::ffff")
    assert address_subject("2001:db8::1") != address_subject("2001:db8:0:1::1")
    assert address_subject("::ffff:192.0.2.7") == address_subject("192.0.2.7")
    assert address_subject("192.0.2.7") != address_subject("192.0.2.8")


def test_a_subject_of_a_person_is_no_other_spelling_of_another() -> None:
    assert person_subject("a", "b@c") != person_subject("a\0b", "@c")
    assert person_subject("a", "b@c") != person_subject("b", "b@c")
