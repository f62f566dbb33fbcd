"""What a channel may be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.admin.event_kinds import TOLD
from gateway.events import NAMES, envelope, is_wanted, kinds_of, message_id
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


def test_names_choose_kinds_and_an_alert_may_be_of_any() -> None:
    every = kinds_of((), failures_only=False)
    assert set(every) == {kind.value for kind in TOLD}
    assert kinds_of(("order.fill",), failures_only=False) == ["order.fill"]
    assert "login" in kinds_of(("alert",), failures_only=False)
    assert "order.fill" not in kinds_of(("order",), failures_only=True)
    assert {"order.fill", "order", "alert", "change", "kill_switch"} <= NAMES


@pytest.mark.parametrize(
    ("kind", "payload", "names", "failures_only", "wanted"),
    [
        ("order.fill", b"{}", (), False, True),
        ("order.fill", b"{}", ("order",), False, True),
        ("order.fill", b"{}", ("alert",), False, False),
        ("order.fill", b"{}", (), True, False),
        ("order.rejected", b"{}", ("alert",), True, True),
        ("signal.refused", b"{}", (), True, True),
        ("login", b'{"event":"login_locked"}', ("alert",), True, True),
        ("login", b'{"event":"signed_in"}', ("alert",), False, False),
        ("login", b'{"event":"signed_in"}', (), True, False),
        ("admin.change", b"{}", ("change",), False, True),
    ],
)
def test_a_channel_gets_what_it_asked_for(
    kind: str, payload: bytes, names: tuple[str, ...], failures_only: bool, wanted: bool
) -> None:
    made = envelope("o/ab12", 7, leaf(7, kind=kind), payload)
    assert made is not None
    assert is_wanted(made.data, names, failures_only=failures_only) is wanted
    assert not wanted or kind in kinds_of(names, failures_only=failures_only)


def test_a_message_never_carries_what_no_list_names() -> None:
    payload = b'{"k_rec":"00ff","broker":"raw bytes","cl_ord_id":"c.1"}'
    made = envelope("o/ab12", 7, leaf(7), payload)
    assert made is not None
    assert made.data.facts == {"cl_ord_id": "c.1"}
    assert (made.id, made.type, made.data.index) == ("ab12-7", "order.fill", 7)


def test_an_erased_payload_leaves_a_message_without_facts() -> None:
    made = envelope("o/ab12", 7, leaf(7), None)
    assert made is not None
    assert made.data.facts == {}


def test_what_nobody_is_told_is_no_message() -> None:
    assert envelope("o/ab12", 7, leaf(7, kind="clock"), b"{}") is None


def test_a_message_s_id_has_no_dot_and_no_slash() -> None:
    assert message_id("portcullis.invalid/log/ab12", 3) == "ab12-3"
    assert message_id("odd.name", 3) == "odd_name-3"
