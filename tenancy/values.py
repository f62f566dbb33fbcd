"""Exact values: decimals that are finite and of sane size from birth, ids that cannot be mixed up.

Quantities, prices and money are `Decimal` at every edge, never floats. `exact()` is the one
door: it refuses NaN, infinities, floats and numbers outside ±10^18 or finer than 10^-18, so
that integer arithmetic in sizing has known bounds.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NewType
from uuid import UUID

TenantID = NewType("TenantID", UUID)
StrategyID = NewType("StrategyID", UUID)
AccountID = NewType("AccountID", UUID)
SubscriptionID = NewType("SubscriptionID", UUID)
SignalID = NewType("SignalID", UUID)
GroupID = NewType("GroupID", UUID)

PARTITIONS = 16
"""Into how many partitions accounts and strategies fall; one row each in `leases`."""

LARGEST = Decimal(10) ** 18
FINEST_EXPONENT = -18


def exact(value: str | int | Decimal, name: str = "value") -> Decimal:
    """The decimal that `value` says, exactly.

    Raises ValueError, naming `name`, where it is not finite, |value| > 10^18, or has more
    than 18 decimal places. Floats are refused: they are not what somebody wrote.
    """
    if isinstance(value, (bool, float)):
        raise ValueError(f"{name}: a decimal is needed, got {type(value).__name__} {value!r}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{name}: {value!r} is not a decimal number") from None
    if not number.is_finite():
        raise ValueError(f"{name}: {value!r} is not a finite number")
    if abs(number) > LARGEST:
        raise ValueError(f"{name}: {value!r} is larger than 10^18")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < FINEST_EXPONENT:
        number = number.normalize()
        exponent = number.as_tuple().exponent
        if isinstance(exponent, int) and exponent < FINEST_EXPONENT:
            raise ValueError(f"{name}: {value!r} has more than 18 decimal places")
    return number


def positive(value: str | int | Decimal, name: str = "value") -> Decimal:
    """As exact(), and greater than zero."""
    number = exact(value, name)
    if number <= 0:
        raise ValueError(f"{name}: must be greater than 0, got {value}")
    return number


def plain(number: Decimal) -> str:
    """The shortest text without an exponent: `1E+3` is "1000", `0.10` is "0.1"."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def partition(identity: UUID) -> int:
    """The partition of an account or a strategy: the low bits of its id (random in UUIDv7)."""
    return identity.int % PARTITIONS
