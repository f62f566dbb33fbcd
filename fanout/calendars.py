"""Exchanges' trading days, from the package exchange_calendars, read when a window first names one.

The package brings pandas with it (half a second and some 50 MB), so a worker without such a window
never loads it. Whoever holds locks never waits for it: inside a transaction `known` answers from
memory or raises NotLoaded; the caller ends the transaction, awaits `load` (a thread), begins again.

What was read holds for a week, for it reaches a month ahead. A calendar that cannot be read is
left out: its windows are then "cannot tell", which refuses, and it is tried again after a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import structlog

from fanout.windows import Sessions
from tenancy.errors import Unavailable

log = structlog.get_logger()

BEFORE = timedelta(days=10)
AFTER = timedelta(days=30)
KEPT = timedelta(days=7)
AGAIN = timedelta(minutes=1)


class NotLoaded(Unavailable):
    """These calendars are not in memory: load() them outside the transaction and begin again."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(names))
        super().__init__(f"calendars are not loaded yet: {', '.join(self.names)}")


class Calendars:
    """The trading days that plans ask for."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[date, Sessions]] = {}
        self._failed: dict[str, datetime] = {}
        self._loading = asyncio.Lock()

    def known(self, names: Iterable[str], now: datetime) -> dict[str, Sessions]:
        """Those of `names` that can be read, from memory. Raises NotLoaded where one was not tried yet."""
        wanted = frozenset(names)
        missing = [name for name in wanted if self._wants_reading(name, now)]
        if missing:
            raise NotLoaded(missing)
        return {name: self._kept[name][1] for name in wanted if name in self._kept}

    async def load(self, names: Iterable[str], now: datetime) -> None:
        """Read those that memory does not hold, or too long. Never raises for what cannot be read."""
        async with self._loading:
            for name in sorted(names):
                if not self._wants_reading(name, now):
                    continue
                try:
                    sessions = await asyncio.to_thread(read_sessions, name, now.date())
                except Exception as error:
                    log.error("calendar_not_read", calendar=name, error=repr(error))
                    self._kept.pop(name, None)
                    self._failed[name] = now
                    continue
                self._failed.pop(name, None)
                self._kept[name] = (now.date(), sessions)

    async def get(self, names: Iterable[str], now: datetime) -> dict[str, Sessions]:
        """Load, then what is known: for whoever holds no locks meanwhile."""
        wanted = frozenset(names)
        await self.load(wanted, now)
        return self.known(wanted, now)

    def _wants_reading(self, name: str, now: datetime) -> bool:
        failed_at = self._failed.get(name)
        if failed_at is not None:
            return not timedelta(0) <= now - failed_at < AGAIN
        read_on, _ = self._kept.get(name, (None, None))
        return read_on is None or not timedelta(0) <= now.date() - read_on < KEPT


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
