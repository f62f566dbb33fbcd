"""Slippage on both sides, by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.slippage import slippage_bps

D = Decimal


@pytest.mark.parametrize(
    ("side", "paid", "reference", "bps"),
    [
        ("buy", "101", "100", "100"),  # a hundredth dearer: worse
        ("buy", "99", "100", "-100"),
        ("sell", "99", "100", "100"),  # a hundredth less for it: worse
        ("sell", "101", "100", "-100"),
        ("buy", "100", "100", "0"),
        ("sell", "0.00012345", "0.00012346", "0.8100"),
        ("buy", "50000", "49900", "20.0401"),
    ],
)
def test_positive_is_worse_for_the_client_on_both_sides(side, paid, reference, bps):
    assert slippage_bps(side, D(paid), D(reference)) == D(bps)


@pytest.mark.parametrize(
    ("paid", "reference"), [(None, "1"), ("1", None), ("1", "0"), ("1", "-37.63")]
)
def test_without_a_price_or_a_positive_reference_there_is_none(paid, reference):
    value = slippage_bps("buy", paid and D(paid), reference and D(reference))
    assert value is None


PRICES = st.decimals("0.00000001", "1000000", places=8)


@given(PRICES, PRICES)
def test_what_one_side_loses_the_other_gains(paid, reference):
    bought, sold = slippage_bps("buy", paid, reference), slippage_bps("sell", paid, reference)
    assert bought is not None
    assert sold is not None
    assert bought == -sold
