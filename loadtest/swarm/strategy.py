"""What one strategy sends: buy where it is flat, exit where it is not, so that each signal owes an order to
each account that follows. Pure.

What has no clear answer (none at all, 408, 429, 5xx) is sent again as the next arrival, under its id and
with its body, as Standard Webhooks asks of senders. Signed by the customer's own kit (gateway/sender_kit).
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

from gateway.sender_kit.portcullis_sender.signing import read_key, signature_headers

BUY: dict[str, Any] = {"ticker": "BTC_USDT", "action": "buy", "quantity": 1, "signalPrice": 60000}
EXIT: dict[str, Any] = {"ticker": "BTC_USDT", "action": "exit"}


def receipt(status: int, content: bytes | None) -> tuple[int, str | None]:
    """What an answer says: its status, and the id of the signal that was accepted. 0 where it cannot be read."""
    if status != 202:
        return status, None
    try:
        return status, str(json.loads(content or b"")["signalId"])
    except (ValueError, KeyError, TypeError):
        return 0, None


@dataclass(frozen=True)
class Message:
    """One signal, however often it is sent."""

    message_id: str
    body: str


class Strategy:
    """A hook, and what comes next. Several senders may share it."""

    def __init__(self, hook_id: str, secret: str) -> None:
        self.hook_id = hook_id
        self._keys = (read_key(secret),)
        self._again: deque[Message] = deque()
        self._holds = False

    def __repr__(self) -> str:
        return f"Strategy({self.hook_id!r}, secret=…)"

    def next(self, message_id: str) -> Message:
        """What was not answered clearly; else something new, under `message_id`."""
        if self._again:
            return self._again.popleft()
        fields = EXIT if self._holds else BUY
        self._holds = not self._holds
        return Message(message_id, json.dumps(fields))

    def headers(self, message: Message, unix_s: float) -> dict[str, str]:
        """Of one attempt, signed for this moment."""
        signed = signature_headers(
            self._keys, message.message_id, int(unix_s), message.body.encode()
        )
        return {"content-type": "application/json", **signed}

    def answered(self, message: Message, status: int) -> None:
        """`status` 0: not at all."""
        if status in (0, 408, 429) or status >= 500:
            self._again.append(message)
