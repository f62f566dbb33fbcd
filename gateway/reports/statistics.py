"""The few statistics that reports use, said as what they are. Pure.

- *mean and 95 % interval*: of n differences with sample standard deviation s, mean ± t · s / √n, where t is the
  97.5 % quantile of Student's t with n - 1 degrees of freedom. It supposes that the signals are independent of
  each other, which they are only roughly; with few of them it is wide, as it should be. Under two there is none.
- *place*: of m accounts that traded a signal, the one that was r-th (from 0) stands at (r + ½) / m, between 0
  (first) and 1 (last). If every order of the accounts is equally likely, its mean is ½ exactly and its variance
  (m² - 1) / 12m². Over many signals the mean lies within ½ ± 1.96 · √Σvariance / n nineteen times in twenty.
  Rotation is more even than chance, so under it fewer lie outside.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Z_975 = 1.959964
_T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
)  # fmt: skip
"""For 1 to 10 degrees of freedom."""

Standing = Literal["early", "as_expected", "late"]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A mean of n values, and the interval in which the true one lies nineteen times in twenty."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


class PlaceEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """An account's mean place between 0 (first) and 1 (last), and where chance alone would put it."""

    n: int
    mean: float
    low: float
    """Of the interval around ½ that chance alone keeps to."""
    high: float
    standing: Standing
    first_share: float
    """In how many of its signals it was in the first tenth (of ten accounts, the first one)."""
    first_expected: float
    last_share: float
    last_expected: float


def t_975(freedom: int) -> float:
    """The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5 above ten degrees of freedom)."""
    if freedom < 1:
        raise ValueError("a quantile needs one degree of freedom")
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = Z_975
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third


def estimate(n: int, mean: float | None, deviation: float | None) -> Estimate:
    """Of `n` values with this mean and sample standard deviation."""
    if n == 0 or mean is None:
        return Estimate(n=0, mean=None, low=None, high=None)
    if n < 2 or deviation is None:
        return Estimate(n=n, mean=_short(mean), low=None, high=None)
    reach = t_975(n - 1) * deviation / math.sqrt(n)
    return Estimate(n=n, mean=_short(mean), low=_short(mean - reach), high=_short(mean + reach))


def place(
    n: int,
    mean: float,
    variance: float,
    *,
    first: float,
    first_expected: float,
    last: float,
    last_expected: float,
) -> PlaceEstimate:
    """`variance`: the sum over the signals of what one place varies by chance."""
    reach = Z_975 * math.sqrt(variance) / n
    low, high = 0.5 - reach, 0.5 + reach
    standing: Standing = "early" if mean < low else "late" if mean > high else "as_expected"
    return PlaceEstimate(
        n=n,
        mean=_short(mean),
        low=_short(low),
        high=_short(high),
        standing=standing,
        first_share=_short(first),
        first_expected=_short(first_expected),
        last_share=_short(last),
        last_expected=_short(last_expected),
    )


def _short(value: float) -> float:
    """Four decimals, and no minus before a nought."""
    return round(value, 4) + 0.0
