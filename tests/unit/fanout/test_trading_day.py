"""A trading day begins where the tenant says, by the clocks that hang there."""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec
import pytest

from fanout.trading_day import began, day_of
from tenancy.windows import TradingDay

TAIPEI = TradingDay(start="15:00", time_zone="Asia/Taipei")
CHICAGO = TradingDay(start="17:00", time_zone="America/Chicago")


@pytest.mark.parametrize(
    ("setting", "at", "day"),
    [
        (TradingDay(), datetime(2026, 3, 8, 23, 59, 59, tzinfo=UTC), date(2026, 3, 8)),
        (TradingDay(), datetime(2026, 3, 9, tzinfo=UTC), date(2026, 3, 9)),
        (TAIPEI, datetime(2026, 3, 9, 6, 59, tzinfo=UTC), date(2026, 3, 8)),
        (TAIPEI, datetime(2026, 3, 9, 7, 0, tzinfo=UTC), date(2026, 3, 9)),
        # Clocks in Chicago go forward on 8 March 2026: 17:00 is 23:00 UTC before, 22:00 after.
        (CHICAGO, datetime(2026, 3, 7, 23, 0, tzinfo=UTC), date(2026, 3, 7)),
        (CHICAGO, datetime(2026, 3, 8, 21, 59, tzinfo=UTC), date(2026, 3, 7)),
        (CHICAGO, datetime(2026, 3, 8, 22, 0, tzinfo=UTC), date(2026, 3, 8)),
    ],
)
def test_a_moment_belongs_to_the_day_that_began_last(setting, at, day):
    assert day_of(setting, at) == day
    assert began(setting, day) <= at


def test_a_day_ends_where_the_next_begins():
    assert began(CHICAGO, date(2026, 3, 7)) == datetime(2026, 3, 7, 23, tzinfo=UTC)
    assert began(CHICAGO, date(2026, 3, 8)) == datetime(2026, 3, 8, 22, tzinfo=UTC)


def test_a_zone_that_this_machine_does_not_know_stops_no_fill():
    gone = TradingDay()
    msgspec.structs.force_setattr(gone, "time_zone", "Mars/Olympus")
    assert day_of(gone, datetime(2026, 3, 9, tzinfo=UTC)) == date(2026, 3, 9)
