"""What every answer of Gate.io is read with: status, label, exact numbers, rate headers. Pure.

Whatever cannot be read strictly is Unreadable; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

import msgspec

from tenancy.errors import UNREADABLE, Invalid
from tenancy.values import exact

T = TypeVar("T")


class Unreadable(Invalid):
    """An answer that cannot be taken at its word: unknown enum value, wrong order, missing field."""

    code = "unreadable_answer"


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer. `headers` is looked up case-insensitively where it came off the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class _Error(msgspec.Struct):
    label: str
    message: str | None = None
    detail: str | None = None


_error_decoder = msgspec.json.Decoder(_Error)


def label_of(answer: Answer) -> tuple[str, str]:
    """Gate's label and its own words; ("", "") where the body holds none."""
    try:
        error = _error_decoder.decode(answer.body)
    except UNREADABLE:
        return "", ""
    return error.label, error.message or error.detail or error.label


# ------------------------------------------------------------------ rate headers


def rate_hint(answer: Answer, now: datetime) -> tuple[int, float] | None:
    """(remaining, seconds until the count starts anew) by X-Gate-RateLimit-*, or None."""
    remaining = answer.headers.get("X-Gate-RateLimit-Requests-Remain")
    reset = answer.headers.get("X-Gate-RateLimit-Reset-Timestamp")
    if remaining is None or reset is None:
        return None
    try:
        return int(remaining), max(0.0, float(reset) - now.timestamp())
    except ValueError:
        return None


def retry_after_s(answer: Answer, now: datetime) -> float:
    """How long a 429 asks us to wait: Retry-After, else the reset header, else one second."""
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        pass
    hint = rate_hint(answer, now)
    # The reset is in whole seconds of Gate's clock: a wait of 0 would come back at once.
    return 1.0 if hint is None else max(0.05, hint[1])


# ------------------------------------------------------------------ values


def decode(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except UNREADABLE as why:
        raise Unreadable(f"unexpected answer: {why}") from None


def finite(value: Decimal, name: str) -> Decimal:
    """msgspec takes "NaN" for a Decimal: money goes through the one door."""
    try:
        return exact(value, name)
    except ValueError as why:
        raise Unreadable(str(why)) from None


def optional(value: Decimal | None, name: str) -> Decimal | None:
    """Gate writes an unknown price as 0 or leaves it out."""
    if value is None:
        return None
    number = finite(value, name)
    return None if name.endswith("price") and number <= 0 else number


def moment(seconds: float | None) -> datetime:
    try:
        return datetime.fromtimestamp(seconds or 0.0, UTC)
    except (OverflowError, ValueError, OSError):
        raise Unreadable(f"time {seconds!r}") from None


class _Time(msgspec.Struct):
    server_time: int


def server_time_ms(answer: Answer) -> int | None:
    """Gate's clock, Unix ms; None where the answer holds none."""
    if answer.status != 200:
        return None
    try:
        return decode(answer.body, _Time).server_time
    except Unreadable:
        return None
