"""What can be traded: the fixed facts of each perpetual contract."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that do not change while the simulator runs. Sizes are in contracts, prices in USDT."""

    name: str
    quanto_multiplier: Decimal  # units of the underlying in one contract
    order_price_round: Decimal  # tick
    order_size_min: Decimal
    order_size_max: Decimal
    first_price: Decimal
    enable_decimal: bool = False
    size_step: Decimal = Decimal(1)
    leverage_max: Decimal = Decimal(100)
    maintenance_rate: Decimal = Decimal("0.005")
    maker_fee_rate: Decimal = Decimal("0.0002")
    taker_fee_rate: Decimal = Decimal("0.0005")
    order_price_deviate: Decimal = Decimal("0.5")  # of the mark price
    market_order_slip_ratio: Decimal = Decimal("0.05")
    orders_limit: int = 100


def _contract(
    name: str, multiplier: str, tick: str, price: str, *, decimal_sizes: bool = False
) -> Contract:
    step = Decimal("0.1") if decimal_sizes else Decimal(1)
    return Contract(
        name=name,
        quanto_multiplier=Decimal(multiplier),
        order_price_round=Decimal(tick),
        order_size_min=step,
        order_size_max=Decimal(1_000_000),
        first_price=Decimal(price),
        enable_decimal=decimal_sizes,
        size_step=step,
    )


DEFAULT_CONTRACTS = (
    _contract("BTC_USDT", "0.0001", "0.1", "60000"),
    _contract("ETH_USDT", "0.01", "0.01", "3000"),
    _contract("SOL_USDT", "1", "0.01", "150", decimal_sizes=True),
    _contract("DOGE_USDT", "10", "0.00001", "0.2"),
)
"""Multipliers and ticks as on the live venue; SOL_USDT is one whose sizes may be fractions."""
