"""Pages by cursor: where the last page ended, not how many rows to skip."""

from __future__ import annotations

import base64
import binascii
from uuid import UUID

from tenancy.errors import Invalid

LIMIT_MAX = 100


def read_limit(text: str | None) -> int:
    """How many rows; 1 to 100, 50 if not said. Raises Invalid."""
    if text is None:
        return 50
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LIMIT_MAX:
        raise Invalid(f"limit: 1 to {LIMIT_MAX} is needed, got {text[:20]!r}")
    return int(text)


def write_cursor(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def read_cursor(text: str | None) -> UUID | None:
    """The id after which the page begins. Raises Invalid for what write_cursor() never wrote."""
    if text is None:
        return None
    try:
        return UUID(bytes=base64.urlsafe_b64decode(text + "=="))
    except (binascii.Error, ValueError):
        raise Invalid("cursor: take it from `next` of the page before, unchanged") from None
