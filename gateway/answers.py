"""An answer, whole before its first byte is sent: status, headers, body.

Decisions return answers as values; one place, `send_answer`, touches ASGI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"


class Answer(msgspec.Struct, frozen=True):
    """What goes back. `code` names the outcome for metrics and logs."""

    status: int
    code: str
    body: bytes
    content_type: bytes = JSON
    headers: Headers = ()


def json_answer(status: int, code: str, content: object, headers: Headers = ()) -> Answer:
    """An answer with `content` as JSON; decimals become strings, times RFC 3339."""
    return Answer(status, code, msgspec.json.encode(content), JSON, headers)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send it. Nothing is cached by anybody on the way."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.content_type),
                (b"content-length", str(len(answer.body)).encode()),
                (b"cache-control", b"no-store"),
                *answer.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body})
