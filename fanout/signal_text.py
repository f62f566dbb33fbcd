"""From the bytes of a signal to plain values: one JSON object, exact numbers, moments with a zone. Pure.

1. JSON, strictly: UTF-8, one object, no member named twice (which of the two would trade?), no NaN
   and no Infinity, numbers as decimals to the last digit.
2. Numbers and switches may come as text, because TradingView's placeholders make them so
   (`"quantity": "{{strategy.order.contracts}}"`). Such text is plain ASCII digits: `1_000`, ` 5`,
   `1,5` and `NaN` are refused, for a guess would trade.
3. Moments are ISO 8601 with a zone, or Unix time in seconds or milliseconds.

Everything raised is a Misread: the path of the member, what was found, and what would be right.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

from tenancy.values import DECIMAL, exact

DIGITS_MAX = 40
"""Of a number's text: tenancy.values.exact() takes at most 18 before the point and 18 after it."""
NUMBER = DECIMAL
WHOLE_DIGITS_MAX = 18
WHOLE = re.compile(rf"[+-]?[0-9]{{1,{WHOLE_DIGITS_MAX}}}")
DELAY_MAX = timedelta(hours=24)
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM = 100_000_000_000
"""A Unix time from here on is in milliseconds: in seconds it would be the year 5138."""

_UNITS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "day": 86_400}
_STEP = re.compile(r"([0-9]{1,6}) ?(second|sec|minute|min|hour|day)s?")
_BEGINS_AS_DATE = re.compile(r"[0-9]{4}-")
_EXPIRATION = re.compile(r"\+([0-9]{1,3}) (day|week|month|year)s?")


class Misread(ValueError):
    """What cannot be read: `path` such as `$.stopLoss.percent`, and the sentence about it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` says. Raises Misread, and RecursionError where it is nested too deeply."""
    try:
        text = body.decode("utf-8")
        found = _DECODER.decode(text.strip(" \t\r\n"))
    except UnicodeDecodeError as error:
        raise Misread("", f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise Misread("", f"the body is not JSON: {error.msg} at character {error.pos}") from None
    if "\\ud" in text.lower():
        _whole_characters(found)
    if not isinstance(found, dict):
        raise Misread("$", "a JSON object is needed, such as"
                           ' {"ticker": "BTC_USDT", "action": "buy"}')  # fmt: skip
    return found


def number(value: Any, path: str) -> Decimal:
    """A number, or the text of one, at most 18 digits before and after the point. Raises Misread."""
    if isinstance(value, (str, bool)) and not (isinstance(value, str) and NUMBER.fullmatch(value)):
        raise Misread(path, f'a number is needed, such as 1.5 or "1.5"; found {shown(value)}')
    if not isinstance(value, (str, int, Decimal)):
        raise Misread(path, f'a number is needed, such as 1.5 or "1.5"; found {shown(value)}')
    try:
        return exact(value, path)
    except ValueError as error:
        raise Misread(path, str(error).removeprefix(f"{path}: ")) from None


def whole(value: Any, path: str) -> int:
    """A whole number, or the text of one. Raises Misread."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, Decimal) and value.adjusted() < WHOLE_DIGITS_MAX and value == int(value):
        return int(value)
    if isinstance(value, str) and WHOLE.fullmatch(value):
        return int(value)
    raise Misread(path, f"a whole number is needed, such as 5; found {shown(value)}")


def switch(value: Any, path: str) -> bool:
    """true or false, or the text of one of the two. Raises Misread."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    raise Misread(path, f"true or false is needed; found {shown(value)}")


def moment(value: Any, path: str) -> datetime:
    """ISO 8601 with a zone, or Unix seconds or milliseconds, in UTC. Raises Misread."""
    at: datetime | None = None
    try:
        if isinstance(value, str) and not NUMBER.fullmatch(value):
            at = datetime.fromisoformat(value)
            if at.tzinfo is None:
                raise Misread(path, f"{shown(value)} does not say its time zone: add Z for UTC")
            at = at.astimezone(UTC)
        else:
            seconds = number(value, path)
            if abs(seconds) >= MILLISECONDS_FROM:
                seconds = seconds / 1000
            at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(seconds * 1_000_000))
    except Misread as error:
        if "time zone" in str(error):
            raise
    except (ValueError, OverflowError):
        pass
    if at is None or not EARLIEST <= at <= LATEST:
        raise Misread(
            path,
            "a time is needed: ISO 8601 with a zone (2026-11-20T12:00:00Z), or Unix seconds or"
            f" milliseconds; found {shown(value)}",
        )
    return at


def delay(value: Any, path: str) -> timedelta | datetime:
    """Seconds, "+5 minutes", "+1 hour 30 seconds", or a moment. Raises Misread; over 24 h too.

    A bare number is always seconds to wait, never a Unix time: 24 h are 86,400.
    """
    if isinstance(value, str) and _BEGINS_AS_DATE.match(value):
        return moment(value, path)
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        wait = _relative(value, path)
    else:
        seconds = number(value, path)
        if not 0 <= seconds <= DELAY_MAX.total_seconds():
            _too_long(value, path)
        wait = timedelta(microseconds=int(seconds * 1_000_000))
    if wait > DELAY_MAX:
        _too_long(value, path)
    return wait


def _relative(text: str, path: str) -> timedelta:
    seconds, at = 0, 1
    while text.startswith("+") and at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            at = -1
            break
        seconds += int(step[1]) * _UNITS[step[2]]
        at = step.end()
        if text[at : at + 1] == " " and at + 1 < len(text):
            at += 1
    if at <= 1:
        raise Misread(
            path,
            f'seconds, "+5 minutes", "+1 hour 30 seconds" or a time is needed; found {shown(text)}',
        )
    return timedelta(seconds=seconds)


def _too_long(value: Any, path: str) -> NoReturn:
    raise Misread(path, f"from 0 seconds to 24 hours (86400 seconds); found {shown(value)}")


def expiration(value: Any, path: str) -> str:
    """A date, or "+6 months": as it was written, checked. Raises Misread."""
    if isinstance(value, str):
        if _EXPIRATION.fullmatch(value):
            return value
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    raise Misread(
        path, f'a date (2026-12-18) or a distance ("+6 months") is needed; found {shown(value)}'
    )


def shown(value: Any) -> str:
    """What was found, short enough for an error."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    text = text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair is no text
    return text if len(text) <= 60 else f"{text[:57]}…"


def member(path: str, name: str) -> str:
    """The path of a member whose name somebody sent."""
    return f"{path}.{shown(name)[1:-1]}"


def _whole_characters(found: Any) -> None:
    """An escape such as `\\ud800` alone is half a character: nothing that we keep or answer could hold it."""
    try:
        msgspec.json.encode(found)
    except UnicodeEncodeError:
        raise Misread(
            "", "the body holds half of a surrogate pair, which is no character"
        ) from None


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        seen: set[str] = set()
        twice = next(name for name, _ in members if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Misread(member("$", twice), "is there more than once in one object: say it once")
    return found


def _decimal(text: str) -> Decimal:
    if len(text) > 2 * DIGITS_MAX or NUMBER.fullmatch(text) is None:
        raise Misread("", f"the number {shown(text)} has more digits than anybody trades")
    return Decimal(text)


def _integer(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise Misread("", f"the number {shown(text)} has more digits than anybody trades")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise Misread("", f"{text} is no number in JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_float=_decimal, parse_int=_integer, parse_constant=_no_number
)
