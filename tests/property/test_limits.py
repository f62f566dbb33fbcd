"""What limits leave of an order equals what fractions say, by an arithmetic that shares nothing with it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from fanout.checks import Opening, check
from tenancy.limits import Limits, tightest
from tests.builders import instrument

amounts = st.decimals(
    min_value=Decimal("0.000001"), max_value=Decimal(10) ** 12, allow_nan=False, places=6
)
steps = st.sampled_from([Decimal("0.001"), Decimal(1), Decimal(7)])
maybe = st.none() | amounts


@given(
    steps,
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    amounts,
    amounts,
    maybe,
    maybe,
    maybe,
    maybe,
)
def test_a_cut_is_the_most_that_every_limit_allows(
    step, lots, before, price, multiplier, order, order_value, position, position_value
):
    quantity, exposure = lots * step, before * step
    limits = Limits(
        max_order_quantity=order, max_order_notional=order_value, max_position_quantity=position,
        max_position_notional=position_value, over_limit="cut",
    )  # fmt: skip
    got = check(
        Opening(
            side="buy", quantity=quantity, exposure=exposure, currency="USDT", price=price,
            limit_price=None, market_price=price,
            instrument=instrument(multiplier=multiplier, lot_step=step, min_qty=step),
        ),
        tightest([("account", limits)]),
    )  # fmt: skip

    def fits(steps_of_it: int) -> bool:
        size = steps_of_it * Fraction(step)
        whole, lot = size + Fraction(exposure), Fraction(price) * Fraction(multiplier)
        bounds = (
            (size, order), (size * lot, order_value), (whole, position), (whole * lot, position_value),
        )  # fmt: skip
        return all(limit is None or value <= Fraction(limit) for value, limit in bounds)

    kept = Fraction(got.quantity) / Fraction(step)
    assert kept.denominator == 1
    assert kept == 0 or fits(int(kept))
    assert kept == lots or not fits(int(kept) + 1)
    assert (got.reason is None) == (kept > 0)
    assert bool(got.words) == (kept < lots)
