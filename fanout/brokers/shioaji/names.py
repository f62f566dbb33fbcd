"""What an order of ours is called at SinoPac, and how one of its orders is named by us. Pure.

`custom_field` takes six characters of [0-9A-Z]: 36^6, 2.2 thousand million names. Ten thousand orders in
a day hold two of one name with 2 % chance, so a name alone proves nothing. An order is ours where name,
contract, side, quantity, price and time agree and no other fits (matching.py), or where the session's
journal wrote down which id SinoPac gave it.

SinoPac's own ids are unique in a trading day only. Ours of them is therefore `20261122.c21b876d.429832`:
the day in Taipei, `id`, `seqno`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta, timezone

import msgspec

TAIPEI = timezone(timedelta(hours=8), "Asia/Taipei")
"""No summer time since 1979."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LENGTH = 6


def custom_field(cl_ord_id: str) -> str:
    """Six of [0-9A-Z] from SHA-256 of the ClOrdID: the same in every process."""
    number = int.from_bytes(hashlib.sha256(cl_ord_id.encode()).digest()[:16], "big")
    letters = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return "".join(letters)


def day_of(at: datetime) -> date:
    """The calendar day in Taipei."""
    return at.astimezone(TAIPEI).date()


def taipei(at: datetime) -> datetime:
    """The SDK's times without a zone are Taipei's."""
    return at.replace(tzinfo=TAIPEI).astimezone(UTC) if at.tzinfo is None else at.astimezone(UTC)


class BrokerName(msgspec.Struct, frozen=True):
    """`broker_order_id`, taken apart."""

    day: date
    id: str
    seqno: str

    def __str__(self) -> str:
        return f"{self.day:%Y%m%d}.{self.id}.{self.seqno}"


def broker_name(text: str) -> BrokerName | None:
    """None for what is no such name."""
    parts = text.split(".")
    if len(parts) != 3 or not parts[1]:
        return None
    try:
        day = datetime.strptime(parts[0], "%Y%m%d").date()
    except ValueError:
        return None
    return BrokerName(day, parts[1], parts[2])
