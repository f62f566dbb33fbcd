"""Sizing equals exact rational arithmetic, to the last lot, on all its paths."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from fanout import sizing
from fanout.exact import Column, many, one
from fanout.sizing import divided, steps_of

ROUNDINGS = ("down", "nearest", "up")


def oracle(factors: list[Decimal], divisor: Fraction, mode: str) -> int:
    """By fractions alone: an arithmetic that shares nothing with the code."""
    exact = Fraction(1)
    for factor in factors:
        exact *= Fraction(factor)
    exact /= divisor
    whole, rest = divmod(exact, 1)
    if mode == "up":
        return int(whole) + (rest > 0)
    return int(whole) + (mode == "nearest" and rest >= Fraction(1, 2))


@pytest.mark.parametrize("seed", range(300))
def test_every_account_gets_exactly_what_fractions_say(seed):
    """Over 100,000 accounts in all, each with numbers of its own, many instruments and all roundings."""
    rng = random.Random(seed)
    accounts, width = rng.choice([1, 400, 800]), rng.choice([1, 2, 3])
    scale, size = rng.choice([0, 2, 8, 18]), rng.choice([2, 6, 12, 18])
    columns = [
        [Decimal(rng.randrange(10**size)).scaleb(-scale) for _ in range(accounts)]
        for _ in range(width)
    ]
    divisor = Fraction(rng.randrange(1, 10**9), 10 ** rng.choice([0, 4, 9]))
    mode = rng.choice(ROUNDINGS)
    got = steps_of([many(column) for column in columns], divisor, mode)
    want = [oracle([column[row] for column in columns], divisor, mode) for row in range(accounts)]
    assert got.tolist() == want
    alone = [one(column[0]) for column in columns]
    assert steps_of(alone, divisor, mode) == want[0]


def test_the_quick_path_is_really_taken_and_agrees_at_its_edges(monkeypatch):
    """Products far beyond 2^64 still divide exactly, as long as the quotient is small."""
    taken = []
    quick = sizing._divide_wrapped

    def watched(*args):
        result = quick(*args)
        taken.append(result is not None)
        return result

    monkeypatch.setattr(sizing, "_divide_wrapped", watched)
    equity = [Decimal("99999999.99999999") - index for index in range(1000)]
    percent, leverage = Decimal("33.33"), [Decimal("2.75")] * 1000
    divisor = Fraction("65432.1") * Fraction("0.0001") * 100
    for mode in ROUNDINGS:
        got = steps_of([many(equity), one(percent), many(leverage)], divisor, mode)
        assert got.tolist() == [oracle([e, percent, leverage[0]], divisor, mode) for e in equity]
    assert taken == [True] * 3


def test_floats_would_be_wrong_here():
    """0.29 / 0.01 is 29, and 28 by floored float64."""
    assert int(0.29 / 0.01) == 28
    assert steps_of([one(Decimal("0.29"))], Fraction("0.01"), "down") == 29
    assert steps_of([many([Decimal("0.29")])], Fraction("0.01"), "down").tolist() == [29]


def test_negative_and_senseless_input_is_refused():
    with pytest.raises(ValueError, match="negative"):
        divided([one(Decimal(-1))], Fraction(1))
    with pytest.raises(ValueError, match="negative"):
        divided([Column(np.array([1, -1]), 0)], Fraction(1))
    with pytest.raises(ValueError, match="divisor"):
        divided([one(1)], Fraction(0))


def test_a_column_takes_the_finest_scale_wherever_it_hides():
    """The scale is guessed from the first few: one finer number far behind must not be cut off."""
    numbers = [Decimal("1.5")] * 5000 + [Decimal("0.000000000000000001"), Decimal("-2.25")]
    column = many(numbers)
    assert column.scale == 18
    assert [Fraction(int(v), 10**18) for v in column.values] == [Fraction(n) for n in numbers]
