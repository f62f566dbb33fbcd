"""Sizing equals exact rational arithmetic, to the last lot, on both its paths."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import pytest

from fanout import sizing
from fanout.sizing import DOWN, NEAREST, UP, lots


def oracle(factors: list[Decimal], divisor: Fraction, mode: int) -> int:
    """By fractions alone: an arithmetic that shares nothing with the code."""
    exact = Fraction(1)
    for factor in factors:
        exact *= Fraction(factor)
    exact /= divisor
    whole, rest = divmod(exact, 1)
    if mode == UP:
        return int(whole) + (rest > 0)
    return int(whole) + (mode == NEAREST and rest >= Fraction(1, 2))


@pytest.mark.parametrize("seed", range(60))
def test_every_account_gets_exactly_what_fractions_say(seed):
    rng = random.Random(seed)
    accounts, width = rng.choice([1, 50, 500]), rng.choice([1, 2, 3])
    scale, size = rng.choice([0, 2, 8, 18]), rng.choice([2, 6, 12, 18])
    columns = [
        [Decimal(rng.randrange(10**size)).scaleb(-scale) for _ in range(accounts)]
        for _ in range(width)
    ]
    divisor = Fraction(rng.randrange(1, 10**9), 10 ** rng.choice([0, 4, 9]))
    modes = [rng.choice([DOWN, NEAREST, UP]) for _ in range(accounts)]
    got = lots(columns, divisor, modes)
    want = [
        oracle([column[row] for column in columns], divisor, modes[row]) for row in range(accounts)
    ]
    assert got == want


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
    percent, leverage = [Decimal("33.33")] * 1000, [Decimal("2.75")] * 1000
    divisor = Fraction("65432.1") * Fraction("0.0001") * 100
    modes = [DOWN, NEAREST, UP, DOWN] * 250
    got = lots([equity, percent, leverage], divisor, modes)
    assert taken == [True]
    assert got == [
        oracle([e, Decimal("33.33"), Decimal("2.75")], divisor, m)
        for e, m in zip(equity, modes, strict=True)
    ]


def test_floats_would_be_wrong_here():
    """0.29 / 0.01 is 29, and 28 by floored float64."""
    assert int(0.29 / 0.01) == 28
    assert lots([[Decimal("0.29")]], Fraction("0.01"), [DOWN]) == [29]


def test_negative_and_senseless_input_is_refused():
    with pytest.raises(ValueError, match="negative"):
        lots([[Decimal(-1)]], Fraction(1), [DOWN])
    with pytest.raises(ValueError, match="divisor"):
        lots([[Decimal(1)]], Fraction(0), [DOWN])
