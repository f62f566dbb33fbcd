"""When a trading window is open, by its own clocks and its exchange's days."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import msgspec
import pytest

from fanout.calendars import Calendars, NotLoaded, read_sessions
from fanout.windows import Sessions, Windows, is_open
from tenancy.windows import DAYS, TradingWindow

WEEK = ("mon", "tue", "wed", "thu", "fri")
DAY = TradingWindow(days=WEEK, start="09:00", end="13:30", time_zone="Asia/Taipei")
NIGHT = TradingWindow(days=WEEK, start="15:00", end="05:00", time_zone="Asia/Taipei")
NEW_YORK = TradingWindow(
    days=WEEK, start="09:30", end="16:00", time_zone="America/New_York", calendar="XNYS"
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("moment", "open_then"),
    [
        ("2026-11-20T08:59:59.999999+08:00", False),
        ("2026-11-20T09:00:00+08:00", True),
        ("2026-11-20T13:29:59.999999+08:00", True),
        ("2026-11-20T13:30:00+08:00", False),
        ("2026-11-20T01:00:00+00:00", True),  # the same clock, from elsewhere
        ("2026-11-21T10:00:00+08:00", False),  # a Saturday
    ],
)
def test_open_from_start_up_to_end_on_its_days(moment, open_then):
    assert is_open(DAY, at(moment), {}) is open_then


@pytest.mark.parametrize(
    ("moment", "open_then"),
    [
        ("2026-11-20T15:00:00+08:00", True),  # Friday
        ("2026-11-21T04:59:00+08:00", True),  # Saturday morning still is Friday's night
        ("2026-11-21T05:00:00+08:00", False),
        ("2026-11-21T15:00:00+08:00", False),
        ("2026-11-23T04:00:00+08:00", False),  # Monday morning would be Sunday's night
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_it_starts_on(moment, open_then):
    assert is_open(NIGHT, at(moment), {}) is open_then


def test_start_equal_to_end_is_the_whole_day():
    window = TradingWindow(days=("fri",), start="00:00", end="00:00", time_zone="UTC")
    assert is_open(window, at("2026-11-20T23:59:59Z"), {}) is True
    assert is_open(window, at("2026-11-21T00:00:00Z"), {}) is False


@pytest.mark.parametrize("day", ["2026-03-06", "2026-03-09"])  # before and after the clocks change
def test_summer_time_moves_the_window_with_the_clocks(day):
    window = TradingWindow(days=WEEK, start="09:30", end="16:00", time_zone="America/New_York")
    opens = {"2026-03-06": "14:30", "2026-03-09": "13:30"}[day]
    assert is_open(window, at(f"{day}T{opens}:00Z"), {}) is True
    hour, minute = opens.split(":")
    assert is_open(window, at(f"{day}T{hour}:{int(minute) - 1}:00Z"), {}) is False


def sessions(**changes: object) -> Sessions:
    values = {
        "first": date(2026, 11, 16),
        "last": date(2026, 11, 30),
        "days": frozenset(date(2026, 11, d) for d in (20, 23, 24, 25, 27, 30)),
        "early_closes": {date(2026, 11, 27): datetime(2026, 11, 27, 18, 0, tzinfo=UTC)},
    }
    return Sessions(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("moment", "open_then"),
    [
        ("2026-11-25T15:00:00Z", True),
        ("2026-11-26T15:00:00Z", False),  # Thanksgiving
        ("2026-11-27T17:59:00Z", True),
        ("2026-11-27T18:00:00Z", False),  # closes at 13:00 there
        ("2026-12-01T15:00:00Z", None),  # beyond what is known
    ],
)
def test_an_exchanges_holidays_and_short_days_count(moment, open_then):
    assert is_open(NEW_YORK, at(moment), {"XNYS": sessions()}) is open_then


def test_an_early_close_does_not_end_the_night_session_after_it():
    night = TradingWindow(
        days=WEEK, start="18:00", end="17:00", time_zone="America/New_York", calendar="XNYS"
    )
    assert is_open(night, at("2026-11-28T01:00:00Z"), {"XNYS": sessions()}) is True


class TestTogether:
    def test_without_any_it_is_open(self):
        assert Windows(at("2026-11-22T00:00:00Z"), {}).open(()) is True

    def test_one_open_window_is_enough_whatever_the_others_say(self):
        friday = at("2026-11-20T02:00:00Z")
        assert Windows(friday, {}).open((NEW_YORK, DAY)) is True
        assert Windows(friday, {}).open((NIGHT,)) is False

    def test_what_cannot_be_told_is_not_open(self):
        assert Windows(at("2026-11-20T15:00:00Z"), {}).open((DAY, NEW_YORK)) is None


class TestThePackage:
    def test_it_knows_new_yorks_holiday_and_short_day(self):
        read = read_sessions("XNYS", date(2026, 11, 20))
        assert date(2026, 11, 26) not in read.days
        assert date(2026, 11, 25) in read.days
        assert read.early_closes == sessions().early_closes

    def test_it_knows_taipeis_lunar_new_year(self):
        days = read_sessions("XTAI", date(2026, 2, 17)).days
        assert date(2026, 2, 17) not in days
        assert date(2026, 3, 2) in days

    async def test_a_calendar_that_cannot_be_read_is_left_out_and_tried_again(self, monkeypatch):
        asked = []

        def broken(name, today):
            asked.append(name)
            raise ImportError("no such package")

        monkeypatch.setattr("fanout.calendars.read_sessions", broken)
        calendars = Calendars()
        for moment in ("2026-11-20T00:00:00Z", "2026-11-20T00:00:59Z", "2026-11-20T00:01:00Z"):
            assert await calendars.get({"XNYS"}, at(moment)) == {}
        assert len(asked) == 2

    async def test_it_is_read_once_a_week(self, monkeypatch):
        asked = []

        def read(name, today):
            asked.append((name, today))
            return sessions()

        monkeypatch.setattr("fanout.calendars.read_sessions", read)
        calendars = Calendars()
        for moment in ("2026-11-20T00:00:00Z", "2026-11-26T23:00:00Z", "2026-11-27T00:00:00Z"):
            assert set(await calendars.get({"XNYS"}, at(moment))) == {"XNYS"}
        assert asked == [("XNYS", date(2026, 11, 20)), ("XNYS", date(2026, 11, 27))]

    async def test_whoever_holds_locks_is_told_and_never_waits(self, monkeypatch):
        monkeypatch.setattr("fanout.calendars.read_sessions", lambda name, today: sessions())
        calendars, now = Calendars(), at("2026-11-20T00:00:00Z")
        with pytest.raises(NotLoaded) as missing:
            calendars.known({"XTAI", "XNYS"}, now)
        assert missing.value.names == ("XNYS", "XTAI")
        await calendars.load(missing.value.names, now)
        assert set(calendars.known({"XTAI", "XNYS"}, now)) == {"XNYS", "XTAI"}


PAGE = Path(__file__).parents[3] / "docs/operating/trading-windows.md"


def presets() -> dict[str, tuple[TradingWindow, ...]]:
    """The page's own lists, as the API would read them."""
    found = re.findall(
        r"^### `(\w+)`.*?```json\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    return {
        name: msgspec.convert(json.loads(text)["trading_windows"], tuple[TradingWindow, ...])
        for name, text in found
    }


class TestThePresetsOfThePage:
    @pytest.mark.parametrize(
        ("moment", "day", "night"),
        [
            # Friday 20 November 2026, an ordinary week
            ("2026-11-20T08:44:59+08:00", False, False),
            ("2026-11-20T08:45:00+08:00", True, False),
            ("2026-11-20T13:44:59+08:00", True, False),
            ("2026-11-20T13:45:00+08:00", False, False),
            ("2026-11-20T14:59:59+08:00", False, False),
            ("2026-11-20T15:00:00+08:00", False, True),
            ("2026-11-21T04:59:59+08:00", False, True),  # Saturday: still Friday's night
            ("2026-11-21T05:00:00+08:00", False, False),
            ("2026-11-21T10:00:00+08:00", False, False),
            ("2026-11-22T16:00:00+08:00", False, False),  # Sunday has no night session
            ("2026-11-23T03:00:00+08:00", False, False),
            # Monday 5 February 2024, the last day before the Lunar New Year: its night is held
            ("2024-02-05T13:00:00+08:00", True, False),
            ("2024-02-05T20:00:00+08:00", False, True),
            ("2024-02-06T04:59:00+08:00", False, True),
            ("2024-02-06T05:00:00+08:00", False, False),
            ("2024-02-06T10:00:00+08:00", False, False),  # settlement only
            ("2024-02-06T20:00:00+08:00", False, False),
            ("2024-02-14T20:00:00+08:00", False, False),  # the eve of the first day has no night
            ("2024-02-15T03:00:00+08:00", False, False),
            ("2024-02-15T08:45:00+08:00", True, False),
            # 28 February 2024, a holiday on a Wednesday
            ("2024-02-27T23:00:00+08:00", False, True),
            ("2024-02-28T04:00:00+08:00", False, True),
            ("2024-02-28T10:00:00+08:00", False, False),
            ("2024-02-28T23:00:00+08:00", False, False),
            ("2024-02-29T10:00:00+08:00", True, False),
        ],
    )
    def test_taifex(self, moment, day, night):
        known = {"XTAI": taipei(at(moment).year)}
        windows = Windows(at(moment), known)
        assert windows.open(presets()["taifex_day"]) is day
        assert windows.open(presets()["taifex_night"]) is night
        assert windows.open(presets()["taifex_day"] + presets()["taifex_night"]) is (day or night)

    @pytest.mark.parametrize("month", range(1, 13))
    def test_taipei_never_changes_its_clocks(self, month):
        """So the day session is 00:45 to 05:45 UTC all year round."""
        (window,) = presets()["taifex_day"]
        bare = msgspec.structs.replace(window, calendar=None, days=DAYS)
        for clock, open_then in [
            ("00:44", False),
            ("00:45", True),
            ("05:44", True),
            ("05:45", False),
        ]:
            assert is_open(bare, at(f"2026-{month:02}-15T{clock}:00Z"), {}) is open_then

    def test_without_the_calendar_nobody_can_tell(self):
        friday = Windows(at("2026-11-20T10:00:00+08:00"), {})
        assert friday.open(presets()["taifex_day"]) is None
        assert friday.open(presets()["taifex_night"]) is False

    @pytest.mark.parametrize("hour", range(0, 24, 3))
    def test_crypto_is_open_on_every_day_at_every_hour(self, hour):
        for day in range(16, 23):
            moment = Windows(at(f"2026-11-{day}T{hour:02}:00:00Z"), {})
            assert moment.open(presets()["always"]) is True

    @pytest.mark.parametrize(
        ("moment", "regular", "extended"),
        [
            ("2026-11-25T09:30:00-05:00", True, True),
            ("2026-11-25T04:00:00-05:00", False, True),
            ("2026-11-25T19:59:00-05:00", False, True),
            ("2026-11-26T10:00:00-05:00", False, False),  # Thanksgiving
            ("2026-11-27T12:59:00-05:00", True, True),
            ("2026-11-27T13:00:00-05:00", False, False),  # the short day after it
        ],
    )
    def test_new_york(self, moment, regular, extended):
        windows = Windows(at(moment), {"XNYS": sessions()})
        assert windows.open(presets()["us_stocks"]) is regular
        assert windows.open(presets()["us_stocks_extended"]) is extended

    def test_these_are_all(self):
        assert set(presets()) == {
            "taifex_day", "taifex_night", "always", "us_stocks", "us_stocks_extended",
        }  # fmt: skip


@cache
def taipei(year: int) -> Sessions:
    """XTAI around the Lunar New Year of 2024, or around November 2026."""
    return read_sessions("XTAI", {2024: date(2024, 2, 8), 2026: date(2026, 11, 20)}[year])
