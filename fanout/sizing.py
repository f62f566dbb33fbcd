"""How many lots each account trades: exact, for one account or for all of a situation. Pure.

Every mode is round(a product of integers / one integer D): decimals are integers of a common step
(10^-s) by then (fanout/exact.py). Over accounts the products and the division are numpy int64:

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
from fractions import Fraction
from math import gcd, prod

import numpy as np

from fanout.exact import Column, Whole, settled
from tenancy.parameters import Rounding

LARGEST_DIVISOR = 2**61
LARGEST_QUOTIENT = 2.0**50


def steps_of(factors: Sequence[Column], divisor: Fraction, rounding: Rounding) -> Whole:
    """round(product of each account's factors / divisor), exactly.

    Every factor is ≥ 0. `divisor` > 0: what one step costs in the product's unit. `rounding`:
    `down` (toward zero), `nearest` (half up) or `up`.
    """
    quotient, remainder, below = divided(factors, divisor)
    if rounding == "up":
        return quotient + (remainder > 0)
    if rounding == "nearest":
        return quotient + (2 * remainder >= below)
    return quotient


def divided(factors: Sequence[Column], divisor: Fraction) -> tuple[Whole, Whole, int]:
    """Quotient and remainder of the same division, and what the remainder is counted in.

    Raises ValueError for a divisor or a factor below nothing.
    """
    if divisor <= 0:
        raise ValueError("the divisor must be greater than 0")
    above = divisor.denominator
    below = divisor.numerator * 10 ** sum(column.scale for column in factors)
    columns: list[Whole] = []
    for column in factors:
        single = isinstance(column.values, int)
        if (column.values if single else np.min(column.values, initial=0)) < 0:
            raise ValueError("sizing takes no negative numbers")
        if single:
            above *= column.values
        else:
            columns.append(column.values)
    shared = gcd(above, below)
    above, below = above // shared, below // shared
    if not columns:
        return *divmod(above, below), below
    quick = _divide_wrapped(columns, above, below)
    if quick is not None:
        return *quick, below
    exact = prod((column.astype(object) for column in columns), start=above)
    return settled(exact // below), settled(exact % below), below


def _divide_wrapped(columns: list[Whole], above: int, below: int) -> tuple[Whole, Whole] | None:
    """The same by numpy, or None where its bounds do not hold."""
    if below >= LARGEST_DIVISOR or above >= 2**63:
        return None
    if any(column.dtype == object for column in columns):
        return None
    wrapped = np.full(len(columns[0]), above, dtype=np.uint64)
    estimate = np.full(len(columns[0]), float(above) / below)
    for column in columns:
        wrapped *= column.view(np.uint64)  # modulo 2^64, on purpose
        estimate *= column
    if estimate.size and not estimate.max() < LARGEST_QUOTIENT:
        return None
    quotient = np.floor(estimate).astype(np.int64)
    remainder = (wrapped - quotient.view(np.uint64) * np.uint64(below)).view(np.int64)
    # The estimate is off by at most one at these sizes: |remainder| < 2·D < 2^62.
    carry = (remainder >= below).astype(np.int64) - (remainder < 0)
    quotient += carry
    remainder -= below * carry
    return quotient, remainder
