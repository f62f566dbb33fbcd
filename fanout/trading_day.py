"""Which trading day a moment belongs to, by the tenant's own clocks. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from tenancy.windows import TradingDay

log = structlog.get_logger()


def day_of(setting: TradingDay, at: datetime) -> date:
    """The day on which the trading day that `at` lies in has begun.

    One that starts at 17:00 and is called the 20th lasts until 17:00 of the 21st, also where the
    clocks change in between.
    """
    local = at.astimezone(_zone(setting)).replace(tzinfo=None)
    start = time.fromisoformat(setting.start)
    return (local - timedelta(hours=start.hour, minutes=start.minute)).date()


def began(setting: TradingDay, day: date) -> datetime:
    """When a day begins, UTC; where the clocks leave its start out, that much later."""
    local = datetime.combine(day, time.fromisoformat(setting.start), _zone(setting))
    return local.astimezone(UTC)


def _zone(setting: TradingDay) -> tzinfo:
    """UTC where this machine does not know the zone: a fill is learned whatever a setting says."""
    try:
        return ZoneInfo(setting.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        log.error("time_zone_unknown", time_zone=setting.time_zone)
        return UTC
