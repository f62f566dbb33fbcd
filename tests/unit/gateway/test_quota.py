"""The fields of draft-ietf-httpapi-ratelimit-headers, as structured fields (RFC 9651)."""

from __future__ import annotations

import re

from gateway.quota import Allowance, Quota, Standing

MINUTE, HOUR = Quota("hook-minute", 60, 60), Quota("hook-hour", 500, 3600)
ITEM = re.compile(r'"[a-z-]+"(;[a-z]+=[0-9]+)+')


def test_a_passing_answer_tells_every_quota_with_what_is_left() -> None:
    allowance = Allowance(True, (Standing(MINUTE, 59, 60), Standing(HOUR, 3, 1200)))
    assert allowance.headers() == (
        ("ratelimit-policy", '"hook-minute";q=60;w=60, "hook-hour";q=500;w=3600'),
        ("ratelimit", '"hook-minute";r=59;t=60, "hook-hour";r=3;t=1200'),
    )
    for _, value in allowance.headers():
        assert all(ITEM.fullmatch(item) for item in value.split(", "))


def test_a_refusal_tells_only_what_is_used_up_so_that_retry_after_is_not_too_early() -> None:
    standings = (Standing(MINUTE, 0, 20), Standing(HOUR, 440, 3000))
    allowance = Allowance(False, standings, retry_after_s=20)
    fields = dict(allowance.headers())
    assert fields["ratelimit"] == '"hook-minute";r=0;t=20'
    assert "hook-hour" in fields["ratelimit-policy"]
    assert allowance.refusal() == "used up: hook-minute: 60 requests in a minute"


def test_what_was_not_counted_tells_nothing() -> None:
    assert Allowance(False).headers() == ()


def test_the_tightest_quota_is_the_one_that_refuses_first() -> None:
    allowance = Allowance(True, (Standing(MINUTE, 30, 5), Standing(HOUR, 10, 100)))
    assert (allowance.policy, allowance.limit, allowance.remaining) == ("hook-hour", 500, 10)
