"""Numbers, times and ids as a reader wants them, in the reader's language and zone. Pure.

Decimals come from the API as text and are shown digit for digit: grouped, never rounded, unless the page asks
for places. A time is shown in the reader's zone with UTC beside it, because two people on the telephone
are seldom in the same one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal
from markupsafe import Markup

ZONE_COOKIE = "portcullis_zone"
NOTHING = "–"


def zone_of(cookie: str | None) -> ZoneInfo:
    """The zone that the browser said; UTC where it said none, or none that exists."""
    try:
        return ZoneInfo(cookie or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a directory's name is an OSError
        return ZoneInfo("UTC")


def moment(text: str | datetime | None) -> datetime | None:
    """A time of the API, aware."""
    if text is None or isinstance(text, datetime):
        return text
    return datetime.fromisoformat(text)


def when(text: str | datetime | None, *, zone: ZoneInfo, locale: Locale) -> Markup:
    """Day and time in the reader's zone, UTC beside."""
    at = moment(text)
    if at is None:
        return Markup("–")
    own = format_datetime(at, "yyyy-MM-dd HH:mm:ss", tzinfo=zone, locale=locale)
    return _time(at, own, f"{at.astimezone(UTC):%H:%M:%S} UTC", zone)


def clock(text: str | datetime | None, *, zone: ZoneInfo, locale: Locale) -> Markup:
    """Only the time of the day, to the millisecond, UTC beside."""
    at = moment(text)
    if at is None:
        return Markup("–")
    own = format_datetime(at, "HH:mm:ss.SSS", tzinfo=zone, locale=locale)
    return _time(at, own, f"{at.astimezone(UTC):%H:%M:%S} UTC", zone)


def _time(at: datetime, own: str, utc: str, zone: ZoneInfo) -> Markup:
    beside = "" if zone.key == "UTC" else utc
    return Markup(
        '<time datetime="{}" title="{}">{}{}</time>'
    ).format(
        f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC",
        own if beside else f"{own} UTC",
        Markup(' <span class="utc">{}</span>').format(beside) if beside else "",
    )  # fmt: skip


def age(text: str | datetime | None, *, now: datetime) -> Markup:
    """How long ago, in short; the console's script keeps it going."""
    at = moment(text)
    if at is None:
        return Markup("–")
    seconds = max(0, int((now - at).total_seconds()))
    return Markup('<time class="age" datetime="{}">{}</time>').format(
        f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}", span(seconds)
    )


def span(seconds: float) -> str:
    """42 s, 5 min, 3 h, 2 d: the largest unit that fits."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{int(seconds)} s"


def number(
    value: str | int | float | Decimal | None, places: int | None = None, *, locale: Locale
) -> str:
    """Grouped, every digit kept; with `places`, rounded to so many."""
    if value is None or value == "":
        return NOTHING
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    if not exact.is_finite():
        return str(value)
    if places is not None:
        exact = round(exact, places)
    else:
        exact = exact.normalize() if exact == exact.to_integral_value() else exact
    return str(format_decimal(exact, locale=locale, decimal_quantization=False))


def milliseconds(value: float | None, *, locale: Locale) -> str:
    """With as many places as are worth reading: 0.42 ms, 8.1 ms, 350 ms, 2.10 s."""
    if value is None:
        return NOTHING
    if value >= 1000:
        return f"{number(value / 1000, 2, locale=locale)} s"
    return f"{number(value, 2 if value < 1 else 1 if value < 100 else 0, locale=locale)} ms"


def short(identifier: str | None) -> str:
    """The last eight characters of an id: of UUIDv7s the first ones are all the same."""
    return NOTHING if not identifier else identifier[-8:]
