"""Decimals as text: plain numbers only, wherever a type says Decimal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tenancy.decimals import refuse_loose_decimals
from tenancy.strategy import StrategySettings
from tenancy.values import Name, Positive, exact

LOOSE = ["1_000", " 5", "5 ", "5\n", "٣", "NaN", "sNaN", "Infinity", "-inf", "", "1,5", ".5", "5.", "0x10",
         "1e1_0"]  # fmt: skip


class Inner(msgspec.Struct):
    amount: Positive | None = None


class Outer(msgspec.Struct):
    name: Name
    amount: Decimal | None = None
    inner: Inner | None = None
    rates: dict[str, Decimal] = {}
    steps: list[tuple[Decimal, str]] = []
    again: Outer | None = None


@pytest.mark.parametrize("text", LOOSE)
def test_loose_text_is_refused_by_its_place(text: str):
    for document, place in (
        ({"amount": text}, "$.amount"),
        ({"inner": {"amount": text}}, "$.inner.amount"),
        ({"rates": {"USD": "1", "TWD": text}}, "$.rates.TWD"),
        ({"steps": [["1", text], [text, "x"]]}, "$.steps[1][0]"),
        ({"again": {"again": {"amount": text}}}, "$.again.again.amount"),
    ):
        with pytest.raises(ValueError, match="a decimal number is needed") as caught:
            refuse_loose_decimals({"name": "n", **document}, Outer)
        assert str(caught.value).endswith(f" - at `{place}`")
    with pytest.raises(ValueError, match="not a decimal number"):
        exact(text)


@pytest.mark.parametrize("text", ["1", "-1.50", "+2", "1e18", "1E-5", "0"])
def test_plain_numbers_pass(text: str):
    refuse_loose_decimals({"amount": text, "rates": {"USD": text}}, Outer)
    assert exact(text) == Decimal(text)


def test_text_that_is_no_decimal_is_left_alone():
    """A name may be ` 5`; another type's mistake is the decoder's to tell."""
    refuse_loose_decimals({"name": " 5", "inner": 3, "rates": ["x"], "steps": {"a": 1}}, Outer)
    refuse_loose_decimals("x", str)
    refuse_loose_decimals(["1_0"], list[Any])


def test_a_strategys_own_settings_are_looked_at():
    with pytest.raises(ValueError, match="default_quantity"):
        refuse_loose_decimals({"default_quantity": "1_000"}, StrategySettings)


def test_no_digit_is_rounded_away():
    assert (
        str(exact("123456789012345678.123456789012345678"))
        == "123456789012345678.123456789012345678"
    )
    for text in ("123456789012345678.1234567890123456789", "1000000000000000000.0000000000001"):
        with pytest.raises(ValueError, match=r"18 decimal places|larger than"):
            exact(text)
    assert str(exact("0e-400")) == "0"
