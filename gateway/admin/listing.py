"""What the lists of trading share: filters with their bounds, times as ranges of ids, cursors that hold a key.

A signal's id is a UUIDv7 (RFC 9562): its first 48 bits are the millisecond in which it was received. So a time
is a range of ids, and whatever belongs to a signal is found by the signal's time without an index of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin.errors import Malformed
from gateway.admin.pages import Key
from gateway.admin.paging import PageQuery, read_cursor, write_cursor
from tenancy.values import PRINTABLE, whole

Since = Annotated[datetime, Meta(tz=True, description="Received at this time or later (RFC 3339).")]
Until = Annotated[datetime, Meta(tz=True, description="Received before this time (RFC 3339).")]
Word = Annotated[
    str,
    Meta(min_length=1, max_length=100, pattern=whole(PRINTABLE + "+"), description="Exactly this."),
]

Small = Annotated[int, Meta(ge=0, le=32767)]
OrderKey = tuple[UUID, UUID, Small, Small]
"""Signal, account, leg, attempt."""


class TimeQuery(PageQuery, frozen=True, kw_only=True):
    """Which page, of which time."""

    since: Since | None = None
    until: Until | None = None


def first_id(at: datetime | None) -> UUID | None:
    """The smallest UUIDv7 of that millisecond. A time that lies in it begins the next one."""
    if at is None:
        return None
    micros = (at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
    return UUID(int=max(0, -(-micros // 1000)) << 80)


_MICROSECOND = datetime(1970, 1, 1, microsecond=1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)


def write_key(key: Key | None) -> str | None:
    """A cursor for the place after that key; None stays None: the end."""
    return None if key is None else write_cursor(msgspec.json.encode(key).decode("ascii"))


def read_key(text: str | None, kind: Any) -> Any:
    """The key in a cursor, a `kind` (a tuple type); None where there is no cursor.

    Raises Malformed for what write_key() never wrote.
    """
    plain = read_cursor(text)
    if plain is None:
        return None
    try:
        key: Any = msgspec.json.decode(plain, type=kind)
    except msgspec.DecodeError:
        key = None
    if key is None or any(isinstance(part, str) and "\x00" in part for part in key):
        raise Malformed("cursor: take it from `next` of the page before, unchanged", field="cursor")
    return key
