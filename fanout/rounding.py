"""Prices to the instrument's tick: a buy limit down, a sell limit up. Pure, exact. Spec: sizing.md."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from fanout.order import Side


def to_tick(price: Decimal, tick: Decimal, side: Side) -> Decimal:
    """The nearest price on the grid that is no worse for the account. `tick` > 0."""
    if tick <= 0:
        raise ValueError(f"a tick must be greater than 0, got {tick}")
    with localcontext() as context:
        context.prec = 60
        steps = (price / tick).to_integral_value(ROUND_FLOOR if side == "buy" else ROUND_CEILING)
        return (steps * tick).normalize()
