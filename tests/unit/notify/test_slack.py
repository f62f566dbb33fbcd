"""What a chat is sent: all of it in `text`, no mark-up and no mention that somebody else wrote."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.notify import slack
from gateway.notify.outcome import Digest, Message
from tests.unit.notify.test_push import event

URL = "https://manage.example:8443"


def composed(*messages: Message, tenant: str = "Acme", url: str = URL) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(slack.compose(tenant, messages, url))
    return body


def test_one_record_is_a_headline_a_line_a_link_and_an_id() -> None:
    body = composed(event())
    line = (
        "<https://manage.example:8443/console/|The broker refused an order>"
        " · buy · BTC_USDT · 31.5 · balance 77 is short · a-1 · 2026-01-01T00:00:00Z · `ab-7`"
    )
    assert body["text"] == f"*Acme: The broker refused an order*\n{line}"
    assert body["blocks"] == [
        {"type": "header", "text": {"type": "plain_text", "text": "Acme: The broker refused an order"}},
        {"type": "section", "text": {"type": "mrkdwn", "text": line}},
    ]  # fmt: skip


def test_several_records_are_one_message_of_several_lines() -> None:
    body = composed(*[event(n) for n in range(3)])
    assert body["text"].splitlines()[0] == "*Acme: 3 notifications*"
    assert [f"`ab-{n}`" in line for n, line in enumerate(body["text"].splitlines()[1:])] == [
        True
    ] * 3


def test_what_a_sender_or_a_broker_wrote_is_no_markup_and_calls_nobody() -> None:
    facts = {"text": "<!channel> <https://evil.example|look> & @here `x`\n*b*"}
    body = composed(event(facts=facts), tenant="<!here>@all")
    for text in (body["text"], body["blocks"][1]["text"]["text"]):
        assert "<!" not in text
        assert "<https://evil" not in text
        assert "@here" not in text
        assert "&lt;!channel&gt;" in text
        assert "&amp;" in text
    assert "@all" not in body["text"]


def test_a_section_is_no_longer_than_slack_takes() -> None:
    facts = {"text": "&" * 1000, "why": "&" * 1000}
    body = composed(*[event(n, facts=facts) for n in range(20)])
    assert all(len(block["text"]["text"]) < 3_000 for block in body["blocks"][1:])
    assert len(body["blocks"]) <= 50
    assert len(composed(event(), tenant="x" * 300)["blocks"][0]["text"]["text"]) <= 150


def test_without_an_address_of_the_console_there_is_no_link() -> None:
    assert "https://" not in composed(event(), url="")["text"]


def test_a_digest_lists_what_is_worth_a_line() -> None:
    said = Digest(
        first=3, last=9, since="2026-01-01T10:00:00.000000000Z", until="2026-01-01T11:00:00.000000000Z",
        counts={"order.rejected": 2, "order.fill": 1}, failures=2,
        events=tuple(event(n).said for n in (4, 5)),  # type: ignore[misc]
    )  # fmt: skip
    text = composed(Message("ab-3-9-digest", "digest", said.until, b"{}", 10, said))["text"]
    lines = text.splitlines()
    assert lines[0] == "*Acme: Digest: 3*"
    assert "10:00-11:00 UTC: The broker refused an order 2, Order filled 1" in lines[1]
    assert len(lines) == 4
