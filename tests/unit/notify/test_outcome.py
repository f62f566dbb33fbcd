"""When the next attempt is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.notify.outcome import Outcome, pause_s, read_retry_after
from gateway.notify.settings import NotifySettings

FAILED = Outcome(delivered=False, text="answered 500", status=500)
SETTINGS = NotifySettings(longest_pause_s=7200)


def test_pauses_are_standard_webhooks_and_end_at_the_longest() -> None:
    pauses = [pause_s(n, FAILED, SETTINGS, 0.5) for n in range(1, 12)]
    assert pauses == [5, 300, 1800, 7200, 7200, 7200, 7200, 7200, 7200, 7200, 7200]


def test_chance_spreads_them_by_a_tenth() -> None:
    assert pause_s(2, FAILED, SETTINGS, 0.0) == pytest.approx(270)
    assert pause_s(2, FAILED, SETTINGS, 1.0) == pytest.approx(330)


def test_a_longer_wish_of_the_receiver_is_granted_up_to_the_longest_and_a_shorter_one_is_not() -> (
    None
):
    for wish, pause in ((1.0, 5), (60.0, 60), (1e9, 7200)):
        outcome = Outcome(delivered=False, text="", status=503, retry_after_s=wish)
        assert pause_s(1, outcome, SETTINGS, 0.5) == pause


def test_what_failed_on_our_side_is_tried_again_soon() -> None:
    ours = Outcome(delivered=False, text="", ours=True)
    assert pause_s(9, ours, SETTINGS, 0.5) == 10


def test_retry_after_has_two_forms_and_anything_else_is_none() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert read_retry_after("120", now) == 120
    assert read_retry_after("Thu, 01 Jan 2026 00:02:00 GMT", now) == 120
    assert read_retry_after("Wed, 31 Dec 2025 00:00:00 GMT", now) == 0
    for text in (None, "", "soon", "-5", "1.5", "9" * 400 + "x", "٣"):
        assert read_retry_after(text, now) is None
