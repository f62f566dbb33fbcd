"""What goes to a phone: encrypted as the standard says, short, and no more than its person may know."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import http_ece
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey

from gateway.admin.event_feed import Event
from gateway.admin.event_kinds import ALERTS, TOLD
from gateway.notify import push, words
from gateway.notify.device import Device
from gateway.notify.outcome import Digest, Gap, Message
from gateway.notify.settings import PushSettings
from gateway.notify.vapid import authorization, b64, new_key, point, read_b64, read_point
from tenancy.errors import Invalid
from tenancy.roles import ROLES
from tenancy.secrecy import Plain

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BROWSER = ec.derive_private_key(12345, ec.SECP256R1())


def raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def device(**members: Any) -> Device:
    values: dict[str, Any] = {
        "person_id": UUID(int=1), "endpoint": "https://push.example/a", "p256dh": point(BROWSER.public_key()),
        "auth": bytes(16), "key_id": UUID(int=2), "public_key": b"", "sealed": b"",
        "language": "en", "events": (), "severity": "all", "digest_minutes": 60,
        "actions": ROLES["trader"], "roles": ("trader",), "strong": True,
    }  # fmt: skip
    return Device(**values | members)


def event(index: int = 7, kind: str = "order.rejected", **members: Any) -> Message:
    alert = next((a.name for a in ALERTS if a.kind == kind and not a.events), None)
    values: dict[str, Any] = {
        "id": index + 1, "index": index, "kind": kind, "at": "2026-01-01T00:00:00.000000000Z",
        "groups": ("order",), "alert": alert, "order_id": "o", "account_id": "a-1",
        "actor": {"kind": "sys", "id": "x"}, "trace_id": None,
        "facts": {"symbol": "BTC_USDT", "side": "buy", "order_qty": "31.5", "text": "balance 77 is short"},
    }  # fmt: skip
    said = Event(**values | members)
    return Message(f"ab-{index}", kind, said.at, b"{}", index + 1, said)


def read(parcel: push.Parcel) -> dict[str, Any]:
    """As the browser does."""
    plain = http_ece.decrypt(
        parcel.body, private_key=BROWSER, auth_secret=bytes(16), version="aes128gcm"
    )
    note: dict[str, Any] = msgspec.json.decode(plain)
    return note


def test_the_example_of_rfc_8291_comes_out_byte_for_byte() -> None:
    """Section 5 and appendix A."""
    ours = ec.derive_private_key(
        int.from_bytes(raw("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    theirs = device(
        p256dh=raw(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
        ),
        auth=raw("BTBZMqHH6r4Tts7J_aSIgg"),
    )
    text, salt = b"When I grow up, I want to be a watermelon", raw("DGv6ra1nlYgDCS1FRnbzlw")
    assert b64(push.seal(text, theirs, ours, salt)) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLoc"
        "InmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLV"
        "WGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_each_message_has_a_fresh_key_and_salt() -> None:
    one, two = (push.compose("t", device(), (event(),), NOW).body for _ in range(2))
    assert one[:16] != two[:16]
    assert one[21:86] != two[21:86]


def test_a_note_says_what_happened_where_it_leads_and_which_record_it_is() -> None:
    note = read(push.compose("Acme", device(), (event(),), NOW))
    assert note == {
        "id": "ab-7", "kind": "order.rejected", "title": "The broker refused an order",
        "body": "buy · BTC_USDT · 31.5 · balance 77 is short · a-1\nAcme", "url": "/console/",
        "at": "2026-01-01T00:00:00.000000000Z", "language": "en", "records": 1, "urgent": True,
    }  # fmt: skip
    chinese = read(push.compose("Acme", device(language="zh_Hant"), (event(),), NOW))
    assert chinese["title"] == "券商拒絕了委託"


def test_who_may_not_read_orders_reads_no_amounts() -> None:
    operator = device(actions=ROLES["operator"], roles=("operator",))
    asked = event(kind="approval.asked", alert=None)
    note = read(push.compose("Acme", operator, (asked,), NOW))
    assert (note["body"], note["url"]) == ("buy · BTC_USDT · a-1\nAcme", "/console/approvals")
    assert "31.5" in read(push.compose("Acme", device(), (asked,), NOW))["body"]


def test_several_records_are_one_note_under_the_most_urgent_ones_title() -> None:
    fills = [event(n, "order.fill", alert=None) for n in (3, 4)]
    doubt = event(5, "order.in_doubt")
    parcel = push.compose("Acme", device(), (*fills, doubt), NOW)
    note = read(parcel)
    assert (note["id"], note["records"], note["title"]) == ("ab-3..5", 3, "Order in doubt")
    assert note["body"].splitlines()[1:] == ["+2 Order filled", "Acme"]
    assert (parcel.urgency, note["urgent"]) == ("high", True)


@pytest.mark.parametrize(
    ("message", "urgency", "ttl_s"),
    [
        (event(), "high", 86_400),
        (event(kind="kill_switch"), "high", 86_400),
        (event(kind="order.fill", alert=None), "normal", 43_200),
        (event(kind="approval.asked", alert=None, facts={"expires_at": "2026-01-01T00:10:00Z"}), "high", 600),
        (event(kind="approval.asked", alert=None, facts={"expires_at": "2025-01-01T00:00:00Z"}), "high", 60),
        (event(kind="approval.asked", alert=None, facts={"expires_at": "2026-01-01"}), "high", 86_400),
        (event(kind="approval.asked", alert=None, facts={}), "high", 86_400),
    ],
)  # fmt: skip
def test_urgency_and_time_to_live_follow_what_it_is(
    message: Message, urgency: str, ttl_s: int
) -> None:
    parcel = push.compose("Acme", device(), (message,), NOW)
    assert (parcel.urgency, parcel.ttl_s) == (urgency, ttl_s)


def test_a_digest_waits_unless_something_in_it_failed() -> None:
    def digest(failures: int) -> Message:
        said = Digest(
            first=1, last=9, since="2026-01-01T10:00:00.000000000Z", until="2026-01-01T11:00:00.000000000Z",
            counts={"order.fill": 8}, failures=failures, events=(),
        )  # fmt: skip
        return Message("ab-1-9-digest", "digest", said.until, b"{}", 10, said)

    assert [push.urgency(digest(n)) for n in (0, 1)] == ["low", "normal"]
    note = read(push.compose("Acme", device(), (digest(0),), NOW))
    assert (note["title"], note["body"]) == ("Digest: 8", "10:00-11:00 UTC: Order filled 8\nAcme")


def test_a_gap_is_named() -> None:
    said = Gap(first=3, last=8, why="older than the backlog")
    gap = Message("ab-3-gap", "gap", "2026-01-01T00:00:00.000000000Z", b"{}", 9, said)
    note = read(push.compose("Acme", device(), (gap,), NOW))
    assert (note["title"], note["body"]) == (
        "Some records are not told", "3-8: older than the backlog\nAcme",
    )  # fmt: skip


@pytest.mark.parametrize("letter", ["x", "委", "\U0001f4a9", '"', "\\"])
def test_no_text_makes_it_longer_than_a_push_service_takes(letter: str) -> None:
    facts = dict.fromkeys((*words.PLAIN, *words.AMOUNTS), letter * 5000)
    others = [event(n, "order.fill", alert=None, facts=facts) for n in range(200)]
    parcel = push.compose(letter * 100, device(), (*others, event(300, facts=facts)), NOW)
    assert len(parcel.body) <= push.PLAIN_MOST_BYTES + 103
    assert read(parcel)["records"] == 201


def test_the_length_tells_steps_and_not_the_text() -> None:
    lengths = {
        len(push.compose("Acme", device(), (event(facts={"symbol": "B" * n}),), NOW).body)
        for n in range(1, 40)
    }
    assert len(lengths) == 1


def test_a_text_with_line_ends_and_turned_direction_is_one_plain_line() -> None:
    note = read(
        push.compose("A\u202ecme", device(), (event(facts={"text": "a\nb\u202ec\x00d"}),), NOW)
    )
    assert note["body"] == "a b c d · a-1\nA cme"


def test_every_kind_and_alert_that_is_told_has_a_title_in_both_languages() -> None:
    names = {kind.value for kind in TOLD} | {alert.name for alert in ALERTS}
    untitled = [
        n for n in sorted(names) for language in ("en", "zh_Hant") if words.title(n, language) == n
    ]
    assert untitled == []
    assert all(
        english and chinese and english != chinese for english, chinese in words.TITLES.values()
    )


# ------------------------------------------------------------------ who hears what


def test_a_device_hears_what_its_person_may_and_nothing_without_a_needed_second_factor() -> None:
    assert device().may("orders:read")
    assert not device(actions=ROLES["operator"], roles=("operator",)).may("orders:read")
    weak = device(actions=ROLES["admin"], roles=("admin",), strong=False)
    assert not weak.may("orders:read")
    assert device(strong=False).may("orders:read"), "a trader needs none"


def test_a_device_shows_neither_its_address_nor_its_secret() -> None:
    assert "push.example" not in repr(device())


# ------------------------------------------------------------------ VAPID


def test_the_word_is_signed_for_one_push_service_and_half_a_day() -> None:
    public, private = new_key()
    value = authorization(
        "https://push.example:8443/a/b", public, private, "mailto:o@example.com", 1_000
    )
    token, _, k = value.removeprefix("vapid t=").partition(", k=")
    assert raw(k) == public
    x, y = b64(public[1:33]), b64(public[33:])
    claims = jwt.decode(
        token, ECKey.import_key({"kty": "EC", "crv": "P-256", "x": x, "y": y}), algorithms=["ES256"]
    ).claims
    assert claims == {
        "aud": "https://push.example:8443", "exp": 44_200, "sub": "mailto:o@example.com",
    }  # fmt: skip


def test_a_private_number_is_32_bytes_and_does_not_show_itself() -> None:
    _, private = new_key()
    assert (type(private), len(private)) == (Plain, 32)


@pytest.mark.parametrize(
    "text", ["", "A" * 86, "A" * 88, "é" * 87, "B" + "A" * 86, "A" * 85 + "=="]
)
def test_what_is_no_point_of_the_curve_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_point(text, "p256dh")
    assert caught.value.field == "p256dh"


def test_base64_that_has_two_spellings_is_taken_in_one() -> None:
    assert read_b64("AAAAAAAAAAAAAAAAAAAAAA", 16, "auth") == bytes(16)
    with pytest.raises(Invalid):
        read_b64("AAAAAAAAAAAAAAAAAAAAAB", 16, "auth")


# ------------------------------------------------------------------ settings


def test_a_push_service_is_known_by_its_host() -> None:
    settings = PushSettings(contact="mailto:o@example.com")
    for host in ("fcm.googleapis.com", "web.push.apple.com", "updates.push.services.mozilla.com"):
        assert settings.knows(host)
    for host in (
        "googleapis.com",
        "evilfcm.googleapis.com",
        "push.apple.com",
        "fcm.googleapis.com.evil.example",
        "",
    ):
        assert not settings.knows(host)


@pytest.mark.parametrize("services", [["https://a.example"], ["a.*.example"], ["A.example"], [""]])
def test_what_is_no_host_is_refused(services: list[str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"contact": "mailto:o@example.com", "services": services}, PushSettings)


@pytest.mark.parametrize(
    "contact", ["o@example.com", "mailto:", "http://example.com", "mailto:a@b\n"]
)
def test_a_contact_is_a_mailbox_or_a_page(contact: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"contact": contact}, PushSettings)
