"""A total of the whole strategy, split over its accounts by largest remainder: all lots, and no more. Pure.

1. Each account's share is total · weight / sum of weights; its whole steps are its own.
2. What is left goes, a step each, to the largest remainders; of equals to who is earlier in this
   signal's fan-out order, so that no account is always the lucky one.

Steps are of the finest size that every account's instrument can trade (the least common multiple of
their lot steps), so that the lots add up where brokers differ; what of the total is no whole step
is left over.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm
from typing import Any, NamedTuple

import numpy as np

from fanout.draft import Draft
from fanout.exact import Column, Whole, largest, packed
from fanout.modes import Share
from fanout.numbers import Narrow, Numbers
from fanout.sizing import divided


class Member(NamedTuple):
    """Accounts of one situation that take part."""

    draft: Draft
    numbers: Numbers


def split(members: Sequence[Member], places: Sequence[int]) -> list[Whole]:
    """Steps of each member's own lot step, in the members' order. `places`: of each row in the fan-out."""
    if not members:
        return []
    unit = _common([Fraction(member.draft.case.instrument.lot_step) for member in members])
    weights = _weights(members)
    rows = [row for member in members for row in member.numbers.rows]
    shares = divide(_total(members), unit, weights, [places[row] for row in rows])
    result: list[Whole] = []
    start = 0
    for member in members:
        count = len(member.numbers.rows)
        of_unit = int(unit / Fraction(member.draft.case.instrument.lot_step))
        part = shares[start : start + count] * of_unit
        result.append(int(part[0]) if isinstance(member.numbers, Narrow) else part)
        start += count
    return result


def divide(total: Decimal, unit: Fraction, weights: Any, places: Sequence[int]) -> Any:
    """How many units each account gets; together as many whole units as the total has."""
    units = int(Fraction(total) / unit)
    together = int(weights.sum()) if weights.dtype == object else sum(weights.tolist())
    if together == 0:
        return np.zeros(len(weights), dtype=np.int64)
    whole, rest, _ = divided(
        [Column(weights, 0)], Fraction(together, units) if units else Fraction(1)
    )
    if units == 0:
        return np.zeros(len(weights), dtype=np.int64)
    left = units - int(whole.sum())
    # Every remainder is of the same division, so they compare as they are.
    luckiest = np.lexsort((np.asarray(places), -rest))[:left]
    whole[luckiest] += 1
    return whole


def _total(members: Sequence[Member]) -> Decimal:
    share = members[0].draft.formula
    assert isinstance(share, Share)
    return share.total


def _common(steps: Sequence[Fraction]) -> Fraction:
    """The least common multiple."""
    result = steps[0]
    for step in steps[1:]:
        above = lcm(result.numerator, step.numerator)
        result = Fraction(above, gcd(result.denominator, step.denominator))
    return result


def _weights(members: Sequence[Member]) -> Any:
    """All accounts' weights as integers of one unit."""
    columns, factors = [], []
    for member in members:
        share = member.draft.formula
        assert isinstance(share, Share)
        column = Column(1, 0) if share.weight == "one" else member.numbers.get(share.weight)
        columns.append((column, len(member.numbers.rows)))
        factors.append(share.currency_rate / 10**column.scale)
    below = lcm(*(factor.denominator for factor in factors))
    parts = []
    for (column, count), factor in zip(columns, factors, strict=True):
        times = int(factor * below)
        exact = largest(column.values) * times * count < 2**62
        values = (
            column.values
            if isinstance(column.values, int) or exact
            else column.values.astype(object)
        )
        parts.append(
            packed([values * times] * count) if isinstance(values, int) else values * times
        )
    return np.concatenate(parts)
