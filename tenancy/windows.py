"""When a subscription trades: days, hours, a time zone and, where one is named, an exchange's calendar.

Facts and their checks only; whether a moment is inside is decided in fanout/windows.py. The names
of calendars are those of the package exchange_calendars (a test compares them), written out here
so that saving and the OpenAPI document need not load it.
"""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tenancy.rules import EACH_ONCE
from tenancy.values import whole

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Clock = Annotated[str, msgspec.Meta(pattern=whole("([01][0-9]|2[0-3]):[0-5][0-9]"), max_length=5)]
Zone = Annotated[
    str,
    msgspec.Meta(pattern=whole("[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"), max_length=64),
]

Calendar = Literal[
    "24/5", "24/7", "AIXK", "ASEX", "BVMF", "CMES", "IEPA", "XAMS", "XASX", "XBDA", "XBEL", "XBKK",
    "XBOG", "XBOM", "XBRA", "XBRU", "XBSE", "XBUD", "XBUE", "XCBF", "XCSE", "XCYS", "XDUB", "XDUS",
    "XEEE", "XETR", "XEUR", "XFRA", "XHAM", "XHEL", "XHKG", "XICE", "XIDX", "XIST", "XJSE", "XKAR",
    "XKLS", "XKRX", "XLIM", "XLIS", "XLIT", "XLJU", "XLON", "XLUX", "XMAD", "XMEX", "XMIL", "XMOS",
    "XNYS", "XNZE", "XOSL", "XPAR", "XPHS", "XPRA", "XRIS", "XSAU", "XSES", "XSGO", "XSHG", "XSTO",
    "XSTU", "XSWX", "XTAE", "XTAI", "XTAL", "XTKS", "XTSE", "XWAR", "XWBO", "XZAG", "us_futures",
]  # fmt: skip


class TradingWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From `start` up to, not including, `end`, on each of `days`, by the clocks of `time_zone`.

    An `end` at or before `start` is on the next day; the window belongs to the day it starts on.
    With a `calendar` only that exchange's trading days count, and on a day that closes early the
    window ends with it.
    """

    days: Annotated[
        tuple[Day, ...], msgspec.Meta(min_length=1, max_length=7, extra_json_schema=EACH_ONCE)
    ]
    start: Clock
    end: Clock
    time_zone: Zone
    calendar: Calendar | None = None

    def __post_init__(self) -> None:
        if len(set(self.days)) != len(self.days):
            raise ValueError("days: each at most once")
        known_zone(self.time_zone)


class TradingDay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From `start` to the next `start`, by the clocks of `time_zone`."""

    start: Clock = "00:00"
    time_zone: Zone = "UTC"

    def __post_init__(self) -> None:
        known_zone(self.time_zone)


def known_zone(name: str) -> None:
    """Raises ValueError, naming the member, for a name that is no IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"time_zone: {name!r} is no IANA time zone") from None
