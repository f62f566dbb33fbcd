"""Option contracts as text, and expirations as dates: what a ticker spells, what `+6 months` is. Pure.

`SQ 240510C68` (root, yymmdd, C or P, strike) and OSI's `SQ    240510C00068000` (eight digits:
thousandths) mean the same contract; the space may be left out.
"""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

OptionType = Literal["call", "put"]

_TICKER = re.compile(
    r"(?P<root>[A-Z][A-Z0-9.]{0,5}) *(?P<date>[0-9]{6})(?P<type>[CP])"
    r"(?:(?P<osi>[0-9]{8})|(?P<strike>[0-9]{1,7}(?:\.[0-9]{1,4})?))",
    re.ASCII,
)
_RELATIVE = re.compile(r"\+([0-9]{1,3}) (day|week|month|year)s?", re.ASCII)


class Named(msgspec.Struct, frozen=True):
    """A contract as a ticker spells it."""

    root: str
    expires_on: date
    option_type: OptionType
    strike: Decimal


def read_contract(ticker: str) -> Named | None:
    """The contract that the ticker spells, or None. Eight digits after C or P are OSI: thousandths."""
    found = _TICKER.fullmatch(ticker.upper())
    if found is None:
        return None
    digits = found["date"]
    try:
        expires_on = date(2000 + int(digits[:2]), int(digits[2:4]), int(digits[4:]))
    except ValueError:
        return None
    strike = Decimal(found["osi"]).scaleb(-3) if found["osi"] else Decimal(found["strike"])
    if strike <= 0:
        return None
    return Named(found["root"], expires_on, "call" if found["type"] == "C" else "put", strike)


def earliest(expiration: str | None, today: date) -> date:
    """The first day that counts: `2026-12-18`, `+6 months` from today, or today.

    Months and years keep the day, cut to the month's last. Raises ValueError for anything else.
    """
    if expiration is None:
        return today
    relative = _RELATIVE.fullmatch(expiration)
    if relative is None:
        return date.fromisoformat(expiration)
    count, unit = int(relative[1]), relative[2]
    if unit in ("day", "week"):
        return today + timedelta(days=count * (7 if unit == "week" else 1))
    months = today.year * 12 + today.month - 1 + count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    return date(year, month + 1, min(today.day, calendar.monthrange(year, month + 1)[1]))
