"""Pages by cursor: where the last page ended, not how many rows to skip."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin.errors import Malformed
from tenancy.values import whole

T = TypeVar("T")

LIMIT_MAX = 100
Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="How many items at most.")]
Cursor = Annotated[
    str,
    Meta(
        min_length=1, max_length=500, pattern=whole("[A-Za-z0-9_-]+"),
        description="`next` of the page before, unchanged.",
    ),
]  # fmt: skip


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page."""

    limit: Limit = 50
    cursor: Cursor | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True, omit_defaults=True):
    """Some items; `next` is there where more may follow."""

    items: list[T]
    next: str | None = None


def write_cursor(last: str) -> str:
    """An opaque name for the place after `last`."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def read_cursor(text: str | None) -> str | None:
    """What write_cursor() was given. Raises Malformed for what it never wrote."""
    if text is None:
        return None
    try:
        return base64.b64decode(
            text + "=" * (-len(text) % 4), altchars=b"-_", validate=True
        ).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise Malformed(
            "cursor: take it from `next` of the page before, unchanged", field="cursor"
        ) from None


def read_id(cursor: str | None) -> UUID | None:
    """The id in the cursor of a list that goes by ids. Raises Malformed."""
    text = read_cursor(cursor)
    try:
        return UUID(text) if text is not None else None
    except ValueError:
        raise Malformed(
            "cursor: take it from `next` of the page before, unchanged", field="cursor"
        ) from None
