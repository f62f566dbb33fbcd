"""Is a trading window open at this moment? Pure; what exchanges do is an argument.

By the clocks of the window's own time zone: a window that starts at 22:00 starts at 22:00 on both
sides of a change to summer time. "Cannot tell" is an answer of its own, and refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from tenancy.windows import DAYS, TradingWindow


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange's trading days from `first` to `last`, and when the short ones end (UTC)."""

    first: date
    last: date
    days: frozenset[date]
    early_closes: dict[date, datetime] = {}


class Windows:
    """All windows of one plan, at its one moment; each set is looked at once."""

    def __init__(self, at: datetime, calendars: Mapping[str, Sessions]) -> None:
        self._at = at
        self._calendars = calendars
        self._seen: dict[tuple[TradingWindow, ...], bool | None] = {}

    def open(self, windows: tuple[TradingWindow, ...]) -> bool | None:
        """True without any window, or while one is open; None where that cannot be told."""
        if not windows:
            return True
        if windows not in self._seen:
            answers = [is_open(window, self._at, self._calendars) for window in windows]
            unknown = None if None in answers else False
            self._seen[windows] = True if True in answers else unknown
        return self._seen[windows]


def is_open(window: TradingWindow, at: datetime, calendars: Mapping[str, Sessions]) -> bool | None:
    """Whether `at` lies in the window; None where its calendar is not known for that day."""
    local = at.astimezone(ZoneInfo(window.time_zone)).replace(tzinfo=None)
    start, end = time.fromisoformat(window.start), time.fromisoformat(window.end)
    for day in (local.date(), local.date() - timedelta(days=1)):
        ends_on = day if end > start else day + timedelta(days=1)
        if not datetime.combine(day, start) <= local < datetime.combine(ends_on, end):
            continue
        if DAYS[day.weekday()] not in window.days:
            continue
        answer = True if window.calendar is None else _session(window, day, at, calendars)
        if answer is not False:
            return answer
    return False


def _session(
    window: TradingWindow, day: date, at: datetime, calendars: Mapping[str, Sessions]
) -> bool | None:
    assert window.calendar is not None
    sessions = calendars.get(window.calendar)
    if sessions is None or not sessions.first <= day <= sessions.last:
        return None
    if day not in sessions.days:
        return False
    close = sessions.early_closes.get(day)
    # A window that begins after an early close (a night session) has nothing to do with it.
    return close is None or at < close or _starts_after(window, day, close)


def _starts_after(window: TradingWindow, day: date, close: datetime) -> bool:
    zone = ZoneInfo(window.time_zone)
    return datetime.combine(day, time.fromisoformat(window.start), zone) >= close
