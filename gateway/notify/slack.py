"""A message for a chat in the form of Slack's incoming webhooks: `{"text": …, "blocks": …}`. Pure.

Sources: Slack's reference of incoming webhooks and of message formatting (`&`, `<`, `>` are escaped, and nothing
else is); Mattermost's notes on Slack's format: it reads `text` and passes `blocks` by, so `text` says everything.
Mattermost turns every `@name` into a mention, whatever a broker or a sender wrote there, so an @ is followed by
a word joiner. Teams' workflows take Adaptive Cards only: not this.

One message holds up to LINES_MOST records, for a chat takes one message a second; each line names its record's
id, and a reader who sees one twice has seen it twice for that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.admin.event_feed import Event
from gateway.notify.outcome import Digest, Message
from gateway.notify.words import cut, headline, line, one_line, place

LINES_MOST = 20
BLOCK_MOST = 2_900
"""Characters of a section's text; Slack takes 3,000."""
_WORD_JOINER = "\u2060"


def compose(tenant: str, messages: Sequence[Message], console_url: str) -> bytes:
    """The body. `console_url`: where links begin, without a slash at the end; empty: no links."""
    head = f"{tenant}: {_about(messages)}"
    lines = [text for message in messages for text in _lines(message, console_url)]
    text = "\n".join([f"*{_safe(head)}*", *lines])
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": cut(one_line(head), 150)}}
    ]
    blocks += [
        {"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in _sections(lines)
    ]
    return msgspec.json.encode({"text": text, "blocks": blocks})


def _about(messages: Sequence[Message]) -> str:
    if len(messages) == 1:
        return headline(messages[0].said)
    return f"{len(messages)} notifications"


def _lines(message: Message, console_url: str) -> list[str]:
    said = message.said
    link = f"{console_url}{place(said)}" if console_url else ""
    made = [
        _one(
            headline(said), line(said, amounts=True), f"{message.timestamp[:19]}Z", link, message.id
        )
    ]
    if isinstance(said, Digest):
        made += [f"    {_event(event)}" for event in said.events]
    return made


def _one(head: str, more: str, at: str, link: str, name: str) -> str:
    title = f"<{link}|{_safe(head)}>" if link else _safe(head)
    return " · ".join(part for part in (title, _safe(more), at, f"`{_safe(name)}`") if part)


def _event(event: Event) -> str:
    return _safe(f"{event.at[11:19]} {headline(event)} {line(event, amounts=True)}".rstrip())


def _sections(lines: Sequence[str]) -> list[str]:
    """The lines in as few sections as they fit into."""
    sections: list[str] = []
    for text in lines:
        text = cut(text, BLOCK_MOST)
        if sections and len(sections[-1]) + len(text) < BLOCK_MOST:
            sections[-1] += "\n" + text
        else:
            sections.append(text)
    return sections


def _safe(text: str) -> str:
    """No mark-up and no mention of its own."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("@", "@" + _WORD_JOINER).replace("`", "'")
