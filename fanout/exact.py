"""Exact whole numbers, of one account or of ten thousand: the same lines of arithmetic serve both. Pure.

A `Column` is integers of 10^-scale: one Python integer, or a numpy array with one for each account
of a situation (fanout/situations.py). Arrays are int64 where a checked bound says that nothing can
overflow, and Python's own integers (dtype object) where it does not: slower, and never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from itertools import repeat
from math import gcd, lcm
from typing import Any, NamedTuple

import numpy as np

Whole = Any
"""An int, or an array of int64 or of Python integers. numpy's types cannot say this and stay readable."""
Truth = Any
"""A bool, or an array of them."""

SAMPLE = 16
ROOM = 2**62
"""Sums and products below it fit int64, with room for a carry."""
WIDE_CONTEXT = Context(prec=200)
WHOLE_CONTEXT = Context(prec=200, traps=[Inexact])


class Column(NamedTuple):
    """Numbers as integers of 10^-scale."""

    values: Whole
    scale: int


def one(number: Decimal | int) -> Column:
    """A single number. Raises TypeError for what is none."""
    if isinstance(number, int):
        return Column(number, 0)
    if number is None:
        raise TypeError("a number is needed, there is none")
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "a finite number"
    if exponent >= 0:
        return Column(int(number), 0)
    return Column(int(WIDE_CONTEXT.scaleb(number, -exponent)), -exponent)


def many(numbers: Sequence[Decimal | int | None]) -> Column:
    """One for each account, of one scale; None counts as 0."""
    if not any(numbers):
        return Column(np.zeros(len(numbers), dtype=np.int64), 0)
    try:
        return _column(numbers)  # type: ignore[arg-type]  # as nearly always
    except TypeError:
        return _column([0 if number is None else number for number in numbers])


def _column(numbers: Sequence[Decimal | int]) -> Column:
    """Raises TypeError where one is None."""
    scale = _finest(numbers[:SAMPLE])  # a few of them nearly always show the scale of all
    try:
        integers = _moved(numbers, scale)
    except Inexact:
        scale = _finest(numbers)
        integers = _moved(numbers, scale)
    return Column(packed(integers), scale)


def _moved(numbers: Sequence[Decimal | int], scale: int) -> list[int]:
    """As integers of 10^-scale. Raises Inexact where one has more places, TypeError for None."""
    moved = map(WIDE_CONTEXT.scaleb, numbers, repeat(scale)) if scale else numbers
    return list(map(int, map(WHOLE_CONTEXT.to_integral_exact, moved)))


def _finest(numbers: Sequence[Decimal | int]) -> int:
    """The most decimal places among them."""
    return max(one(number).scale for number in numbers)


def packed(integers: list[int]) -> Whole:
    """An array of int64, or of Python integers where one does not fit."""
    try:
        return np.array(integers, dtype=np.int64)
    except OverflowError:
        return np.array(integers, dtype=object)


def largest(values: Whole) -> int:
    """The largest magnitude."""
    if isinstance(values, int):
        return abs(values)
    if values.size == 0:
        return 0
    return max(abs(int(values.max())), abs(int(values.min())))


def safe(values: Whole, *, bound: int) -> Whole:
    """As they are where `bound`, the largest that comes of them, fits int64; else as Python's integers."""
    if isinstance(values, int) or bound < ROOM or values.dtype == object:
        return values
    return values.astype(object)


def settled(values: Whole) -> Whole:
    """Python's integers back to int64 where all of them fit."""
    if isinstance(values, int) or values.dtype != object or largest(values) >= ROOM:
        return values
    return values.astype(np.int64)


def times(column: Column, number: int) -> Column:
    """The column, `number` times."""
    values = safe(column.values, bound=largest(column.values) * abs(number))
    return Column(values * number, column.scale)


def product(left: Column, right: Column) -> Column:
    bound = largest(left.values) * largest(right.values)
    values = safe(left.values, bound=bound) * safe(right.values, bound=bound)
    return Column(values, left.scale + right.scale)


def at_scale(column: Column, scale: int) -> Column:
    """The same numbers, as integers of a finer unit."""
    return Column(times(column, 10 ** (scale - column.scale)).values, scale)


def total(*columns: Column) -> Column:
    scale = max(column.scale for column in columns)
    fine = [at_scale(column, scale).values for column in columns]
    bound = sum(largest(values) for values in fine)
    result = safe(fine[0], bound=bound)
    for values in fine[1:]:
        result = result + safe(values, bound=bound)
    return Column(result, scale)


def negative(column: Column) -> Column:
    return Column(-column.values, column.scale)


def floor_of(terms: Sequence[tuple[Fraction, Column]], divisor: Fraction) -> Whole:
    """floor(sum of coefficient · column, / divisor), exactly. `divisor` > 0."""
    # Brought to whole numbers by hand: Fraction's own arithmetic costs more than all the rest.
    above, under = divisor.denominator, divisor.numerator
    parts = [
        (weight.numerator * above, weight.denominator * under * 10**column.scale)
        for weight, column in terms
    ]
    below = lcm(*(part for _, part in parts))
    whole = [number * (below // part) for number, part in parts]
    shared = gcd(below, *whole)
    below, whole = below // shared, [number // shared for number in whole]
    bound = max(below, *(abs(weight) for weight in whole))
    bound = max(
        bound,
        sum(
            abs(weight) * largest(column.values)
            for weight, (_, column) in zip(whole, terms, strict=True)
        ),
    )
    total_of: Whole = 0
    for weight, (_, column) in zip(whole, terms, strict=True):
        total_of = total_of + safe(column.values, bound=bound) * weight
    return settled(total_of // below)


def least(left: Whole, right: Whole) -> Whole:
    return choose(left < right, left, right)


def most(left: Whole, right: Whole) -> Whole:
    return choose(left > right, left, right)


def choose(where: Truth, this: Whole, other: Whole) -> Whole:
    """`this` where it is so, `other` elsewhere."""
    if isinstance(where, bool):
        return this if where else other
    return settled(np.where(where, this, other))


def both(left: Truth, right: Truth) -> Truth:
    return left & right


def neither(left: Truth) -> Truth:
    """Where it is not so."""
    return not left if isinstance(left, bool) else ~left


def anywhere(where: Truth) -> bool:
    return where if isinstance(where, bool) else bool(where.any())


def text(value: int, scale: int) -> str:
    """The number as people write it, without an exponent and without closing zeros."""
    if scale == 0:
        return str(value)
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    digits = digits.rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}".rstrip("0").rstrip(".")


def decimal(value: int, scale: int) -> Decimal:
    """The number as a decimal, exactly."""
    return Decimal(value) if scale == 0 else WIDE_CONTEXT.scaleb(Decimal(value), -scale)
