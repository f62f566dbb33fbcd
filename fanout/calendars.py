"""Exchanges' trading days, from the package exchange_calendars, read when a window first names one.

The package brings pandas with it (half a second and some 50 MB), so a worker without such a window
never loads it, and one with such a window loads it in a thread, outside the event loop. What was
read holds for a day. A calendar that cannot be read is left out: its windows are then "cannot
tell", which refuses, and it is tried again with the next plan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import structlog

from fanout.windows import Sessions

log = structlog.get_logger()

BEFORE = timedelta(days=10)
AFTER = timedelta(days=30)


class Calendars:
    """The trading days that plans ask for."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[date, Sessions]] = {}

    async def get(self, names: Iterable[str], now: datetime) -> dict[str, Sessions]:
        """Those of `names` that can be read, for the days around `now`."""
        today = now.date()
        found: dict[str, Sessions] = {}
        for name in names:
            read_on, sessions = self._kept.get(name, (None, None))
            if sessions is None or read_on != today:
                try:
                    sessions = await asyncio.to_thread(read_sessions, name, today)
                except Exception as error:
                    log.error("calendar_not_read", calendar=name, error=repr(error))
                    continue
                self._kept[name] = (today, sessions)
            found[name] = sessions
        return found


def read_sessions(name: str, today: date) -> Sessions:
    """The calendar's days around `today`. Raises what the package raises."""
    from exchange_calendars import get_calendar

    first, last = today - BEFORE, today + AFTER
    calendar = get_calendar(name, start=str(first), end=str(last))
    short = {stamp.date() for stamp in calendar.early_closes}
    return Sessions(
        first=first,
        last=last,
        days=frozenset(stamp.date() for stamp in calendar.sessions),
        early_closes={
            stamp.date(): calendar.session_close(stamp).to_pydatetime().astimezone(UTC)
            for stamp in calendar.sessions
            if stamp.date() in short
        },
    )
