"""Exact values: decimals that are finite and of sane size from birth, ids that cannot be mixed up.

Quantities, prices and money are `Decimal` at every edge, never floats. `exact()` is the one
door: it refuses NaN, infinities, floats and numbers outside ±10^18 or finer than 10^-18, so
that integer arithmetic in sizing has known bounds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Annotated, NewType
from uuid import UUID

from msgspec import Meta

TenantID = NewType("TenantID", UUID)
StrategyID = NewType("StrategyID", UUID)
AccountID = NewType("AccountID", UUID)
SubscriptionID = NewType("SubscriptionID", UUID)
SignalID = NewType("SignalID", UUID)
GroupID = NewType("GroupID", UUID)

PARTITIONS = 16
"""Into how many partitions accounts and strategies fall; one row each in `leases`."""

END = r"$(?!\n)"
"""The end of a text for msgspec's patterns: Python's `$` alone also matches before a last line break."""


def whole(pattern: str) -> str:
    """The pattern of a text that is this from its first to its last character; alternatives in brackets."""
    return f"^{pattern}{END}"


PRINTABLE = r"[^\x00-\x1f\x7f-\x9f]"
"""No control character: nobody sees one, and PostgreSQL keeps no NUL in text."""
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=whole(PRINTABLE + "+"))]
Positive = Annotated[Decimal, Meta(extra_json_schema={"exclusiveMinimum": 0})]
"""A decimal that its struct checks with positive(), and the OpenAPI document says so."""

Percent = Annotated[Decimal, Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 100})]
"""Above 0, at most 100; checked like Positive."""
Currency = Annotated[str, Meta(pattern=whole("[A-Z]{3,5}"), min_length=3, max_length=5)]

DECIMAL = re.compile(r"[+-]?[0-9]{1,60}(?:\.[0-9]{1,60})?(?:[eE][+-]?[0-9]{1,3})?")
"""How a decimal is written. Python's Decimal takes more: `1_000`, ` 5`, `.5`, other scripts' digits, NaN."""
LARGEST = Decimal(10) ** 18
FINEST_EXPONENT = -18


def exact(value: str | int | Decimal, name: str = "value") -> Decimal:
    """The decimal that `value` says, exactly.

    Raises ValueError, naming `name`, where it is not finite, |value| > 10^18, or has more
    than 18 decimal places. Floats are refused: they are not what somebody wrote.
    """
    if isinstance(value, (bool, float)):
        raise ValueError(f"{name}: a decimal is needed, got {type(value).__name__} {value!r}")
    if isinstance(value, str) and DECIMAL.fullmatch(value) is None:
        raise ValueError(f"{name}: {_said(value)} is not a decimal number")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{name}: {_said(value)} is not a finite number")
    if number.copy_abs() > LARGEST:  # abs() would round to the context's 28 digits
        raise ValueError(f"{name}: {_said(value)} is larger than 10^18")
    _, digits, exponent = number.as_tuple()
    if isinstance(exponent, int) and exponent < FINEST_EXPONENT:
        number = number.normalize(_every_digit(len(digits)))
        if not number:
            return Decimal(0)
        if number.as_tuple().exponent < FINEST_EXPONENT:  # type: ignore[operator]
            raise ValueError(f"{name}: {_said(value)} has more than 18 decimal places")
    return number


def _every_digit(count: int) -> Context:
    """A context that rounds nothing of a number of so many digits."""
    return Context(prec=count, Emin=MIN_EMIN, Emax=MAX_EMAX)


def _said(value: str | int | Decimal) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def positive(value: str | int | Decimal, name: str = "value") -> Decimal:
    """As exact(), and greater than zero."""
    number = exact(value, name)
    if number <= 0:
        raise ValueError(f"{name}: must be greater than 0, got {value}")
    return number


def utc(at: datetime, name: str = "time") -> datetime:
    """The same moment in UTC. Raises ValueError, naming `name`, for one before year 1 or after 9999 there."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name}: in UTC its year is not from 1 to 9999") from None


def plain(number: Decimal) -> str:
    """The shortest text without an exponent: `1E+3` is "1000", `0.10` is "0.1"."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def partition(identity: UUID) -> int:
    """The partition of an account or a strategy: the low bits of its id (random in UUIDv7)."""
    return identity.int % PARTITIONS
