"""TradingView as a sender: tokens, sources, and what counts as the same alert."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from gateway.hooks.tradingview import (
    SOURCES,
    authentic,
    may_come_from,
    networks,
    token_digest,
    window,
)
from gateway.hooks.verify import Secret

TOKEN = "a" * 43
NOW = datetime(2026, 11, 20, 12, 0, 29, tzinfo=UTC)
SHA = hashlib.sha256(b"body").digest()


def kept(*tokens: str) -> list[Secret]:
    return [Secret("url_token", token_digest(token)) for token in tokens]


def test_each_live_token_counts_and_no_other():
    assert authentic(TOKEN, kept(TOKEN))
    assert authentic(TOKEN, kept("b" * 43, TOKEN))
    assert not authentic("b" * 43, kept(TOKEN))
    assert not authentic(TOKEN, [])


@pytest.mark.parametrize("token", ["", "a" * 42, "a" * 44, "é" * 43, "a" * 10_000, "a" * 42 + "/"])
def test_what_is_no_token_is_refused(token):
    assert not authentic(token, kept(TOKEN))
    assert not authentic(token, [Secret("url_token", bytes(32))])


def test_a_secret_that_signs_is_no_token():
    assert not authentic(TOKEN, [Secret("v1", token_digest(TOKEN))])


def test_tradingviews_own_addresses_are_the_sources_unless_the_hook_says_others():
    assert all(may_come_from(source, networks(None)) for source in SOURCES)
    assert not may_come_from("52.89.214.239", networks(None))
    assert may_come_from("::ffff:52.89.214.238", networks(None)), (
        "IPv4 as a dual-stack socket says it"
    )
    assert may_come_from("10.1.2.3", networks(["10.0.0.0/8"]))
    assert not may_come_from(SOURCES[0], networks(["10.0.0.0/8"]))
    assert not may_come_from("unix:", networks(None))


@pytest.mark.parametrize("after_s", [0, 1, 15, 29])
def test_within_its_window_a_body_is_found_by_one_of_two_ids(after_s):
    first, then = window(SHA, NOW, 30), window(SHA, NOW + timedelta(seconds=after_s), 30)
    assert first.message_id in (then.message_id, then.before)
    assert then.since < NOW


def test_a_window_of_another_length_never_has_an_id_of_this_ones():
    """Else an alert of today could pass for a repeat of one that came long ago, and never trade."""
    today = window(SHA, NOW, 31)
    number = int(NOW.timestamp()) // 31
    long_ago = window(SHA, datetime.fromtimestamp(number * 30, UTC), 30)
    assert today.message_id.rsplit("_", 1)[1] == long_ago.message_id.rsplit("_", 1)[1]
    assert today.message_id != long_ago.message_id


def test_after_its_window_a_body_is_a_new_alert():
    first, then = window(SHA, NOW, 30), window(SHA, NOW + timedelta(seconds=30), 30)
    assert first.message_id != then.message_id
    assert then.since >= NOW
