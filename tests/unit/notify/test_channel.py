"""What a channel may be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.events import TYPES, event_id, event_of, kinds_of
from tenancy.channel import Channel
from tests.fakes.audit_log import leaf


def channel(**members: Any) -> Channel:
    return msgspec.convert({"name": "n", **members}, Channel)


def test_good_channels_are_taken() -> None:
    channel(kind="webhook", url="https://example.com/a?b=c")
    channel(kind="webhook", url="https://example.com:8443", events=["order.fill", "change"])
    channel(kind="email", recipients=["a.b+c@example.com"], severity="failures")


@pytest.mark.parametrize(
    "members",
    [
        {"kind": "webhook"},
        {"kind": "webhook", "url": "ftp://example.com/"},
        {"kind": "webhook", "url": "https:///path"},
        {"kind": "webhook", "url": "https://user@example.com/"},
        {"kind": "webhook", "url": "https://user:pw@example.com/"},
        {"kind": "webhook", "url": "https://example.com/#part"},
        {"kind": "webhook", "url": "https://example.com\\@evil.example/"},
        {"kind": "webhook", "url": "https://example.com:99999/"},
        {"kind": "webhook", "url": "https://exa mple.com/"},
        {"kind": "webhook", "url": "https://example.com/\r\nX: y"},
        {"kind": "webhook", "url": "https://[::1/"},
        {"kind": "webhook", "url": "https://example.com/", "recipients": ["a@example.com"]},
        {"kind": "email"},
        {"kind": "email", "recipients": ["nobody"]},
        {"kind": "email", "recipients": ["a@example.com", "a@example.com"]},
        {"kind": "email", "recipients": ["a@example.com\r\nBcc: b@example.com"]},
        {"kind": "email", "recipients": ["a@example.com>, <b@example.com"]},
        {"kind": "pager"},
    ],
)
def test_bad_channels_are_refused(members: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        channel(**members)


def test_types_choose_kinds_and_failures_are_among_them() -> None:
    assert set(kinds_of((), failures_only=False)) == set(TYPES)
    assert kinds_of(("change",), failures_only=False) == ["admin.change"]
    assert kinds_of(("change", "alert"), failures_only=True) == ["alert"]


def test_an_event_never_carries_the_key_of_its_commitment() -> None:
    event = event_of(leaf(7), b'{"k_rec":"00ff","n":1}')
    assert event.data == {"n": 1}
    assert (event.type, event.index) == ("order.fill", 7)


def test_what_is_not_there_any_more_or_is_too_large_is_said_to_be() -> None:
    assert event_of(leaf(7), None).omitted == "erased"
    assert event_of(leaf(7), b'{"x":"' + b"y" * 70_000 + b'"}').omitted == "too_large"


def test_an_event_s_id_has_no_dot_and_no_slash() -> None:
    assert event_id("portcullis.invalid/log/ab12", 3) == "ab12-3"
    assert event_id("odd.name", 3) == "odd_name-3"
