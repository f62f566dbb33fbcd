"""How many lots each account trades: exact, for all accounts at once. Pure.

Every mode is floor(a product of integers / one integer D): decimals are brought to integers of
a common step first (10^-s). Over accounts the products and the division are numpy int64:

1. the quotient is estimated in float64,
2. the remainder N - q·D is taken in wrapped 64-bit arithmetic, where it is exact because it
   is small, however far N itself overflows,
3. the estimate is corrected by the remainder.

Where the bounds of that trick do not hold (D ≥ 2^61, quotient ≥ 2^50, a factor beyond int64),
Python's integers do the same division. Floats alone are wrong for 3.5 % of accounts (spec
performance.md): 0.29 / 0.01 floors to 28.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

LARGEST_DIVISOR = 2**61
LARGEST_QUOTIENT = 2.0**50
DOWN, NEAREST, UP = 0, 1, 2
ROUNDING = {"down": DOWN, "nearest": NEAREST, "up": UP}


def lots(
    factors: Sequence[Sequence[Decimal]], divisor: Fraction, rounding: Sequence[int]
) -> list[int]:
    """round(product of each account's factors / divisor), in whole lots, exactly.

    `factors`: columns of equal length, every value ≥ 0. `divisor` > 0: what one lot costs in
    the product's unit. `rounding`: DOWN (toward zero), NEAREST (half up) or UP, per account.
    """
    if divisor <= 0:
        raise ValueError("the divisor must be greater than 0")
    columns: list[list[int]] = []
    scale = 0
    for column in factors:
        integers, exponent = _integers(column)
        columns.append(integers)
        scale += exponent
    numerator, denominator = divisor.denominator, divisor.numerator * 10**scale
    common = Fraction(numerator, denominator)
    numerator, denominator = common.numerator, common.denominator
    fast = _divide_wrapped(columns, numerator, denominator, rounding)
    return fast if fast is not None else _divide_exact(columns, numerator, denominator, rounding)


def _integers(column: Sequence[Decimal]) -> tuple[list[int], int]:
    """The column as integers of 10^-s, and s."""
    scale = 0
    for value in column:
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and -exponent > scale:
            scale = -exponent
    # int(Decimal) truncates; scaleb would round to the context's precision.
    return [_scaled(value, scale) for value in column], scale


def _scaled(value: Decimal, scale: int) -> int:
    sign, digits, exponent = value.as_tuple()
    if sign and any(digits):
        raise ValueError("sizing takes no negative numbers")
    assert isinstance(exponent, int)
    whole = 0
    for digit in digits:
        whole = whole * 10 + digit
    return int(whole * 10 ** (exponent + scale))


def _divide_exact(
    columns: list[list[int]], numerator: int, denominator: int, rounding: Sequence[int]
) -> list[int]:
    result = []
    for row, mode in zip(zip(*columns, strict=True), rounding, strict=True):
        quotient, remainder = divmod(prod(row) * numerator, denominator)
        result.append(quotient + _carry(remainder, denominator, mode))
    return result


def _carry(remainder: int, denominator: int, mode: int) -> int:
    if mode == UP:
        return int(remainder > 0)
    if mode == NEAREST:
        return int(2 * remainder >= denominator)
    return 0


def _divide_wrapped(
    columns: list[list[int]], numerator: int, denominator: int, rounding: Sequence[int]
) -> list[int] | None:
    """The same by numpy, or None where its bounds do not hold."""
    if denominator >= LARGEST_DIVISOR or numerator >= 2**63:
        return None
    if any(value >= 2**63 for column in columns for value in column):
        return None
    arrays = [np.array(column, dtype=np.uint64) for column in columns]
    wrapped = np.full(len(rounding), numerator, dtype=np.uint64)
    estimate = np.full(len(rounding), float(numerator) / denominator)
    for array in arrays:
        wrapped *= array  # modulo 2^64, on purpose
        estimate *= array.astype(np.float64)
    if not (estimate < LARGEST_QUOTIENT).all():
        return None
    quotient = np.floor(estimate).astype(np.int64)
    modes = np.asarray(rounding, dtype=np.int64)
    remainder = (wrapped - quotient.astype(np.uint64) * np.uint64(denominator)).view(np.int64)
    # The estimate is off by at most one at these sizes: |remainder| < 2·D < 2^62.
    low, high = remainder < 0, remainder >= denominator
    quotient += high.astype(np.int64) - low.astype(np.int64)
    remainder += denominator * (low.astype(np.int64) - high.astype(np.int64))
    up = (modes == UP) & (remainder > 0)
    nearest = (modes == NEAREST) & (2 * remainder >= denominator)
    result: list[int] = (quotient + (up | nearest)).tolist()
    return result
