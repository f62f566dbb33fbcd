"""Read a request's body, no further than the limit, for no longer than the time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.answers import Receive
from tenancy.errors import Invalid


class BodyTooLarge(Invalid):
    """More bytes than are read; nothing beyond the limit was buffered."""

    code = "too_large"


class BodyTooSlow(Invalid):
    """The body did not arrive in time."""

    code = "request_timeout"


class SenderLeft(Exception):
    """The connection closed before the body was whole."""


async def read_body(
    headers: Iterable[tuple[bytes, bytes]], receive: Receive, *, most_bytes: int, timeout_s: float
) -> bytes:
    """The whole body. Raises BodyTooLarge, BodyTooSlow, SenderLeft."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and _more(value, most_bytes):
            raise BodyTooLarge(f"at most {most_bytes} bytes are read")
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(receive, most_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"the body was not whole after {timeout_s:g} s") from None


def _more(digits: bytes, most_bytes: int) -> bool:
    """Whether this number is larger. A sender may write thousands of digits, and int() reads 4,300."""
    digits = digits.lstrip(b"0")
    return len(digits) > 18 or int(digits or b"0") > most_bytes


async def _collect(receive: Receive, most_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise SenderLeft
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise BodyTooLarge(f"at most {most_bytes} bytes are read")
        if not message.get("more_body", False):
            return bytes(body)
