"""What can be traded on spot: the fixed facts of each currency pair."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in base, prices in quote. None: no limit, which Gate says by `null`."""

    id: str
    base: str
    quote: str
    amount_precision: int
    precision: int
    min_base_amount: Decimal | None
    min_quote_amount: Decimal | None
    max_base_amount: Decimal | None
    first_price: Decimal
    fee_rate: Decimal = Decimal("0.002")
    slippage: Decimal = Decimal("0.05")
    """Of the last price: a market order goes no further than this."""
    deviation: Decimal = Decimal("0.5")
    """Of the last price: no limit price is taken beyond it."""

    @property
    def step(self) -> Decimal:
        return Decimal(1).scaleb(-self.amount_precision)

    @property
    def tick(self) -> Decimal:
        return Decimal(1).scaleb(-self.precision)


def _pair(base: str, amount: int, price: int, least: str, most: str | None, first: str) -> Pair:
    return Pair(
        id=f"{base}_USDT",
        base=base,
        quote="USDT",
        amount_precision=amount,
        precision=price,
        min_base_amount=Decimal(least),
        min_quote_amount=Decimal(3),
        max_base_amount=Decimal(most) if most else None,
        first_price=Decimal(first),
    )


DEFAULT_PAIRS = (
    _pair("BTC", 6, 1, "0.00001", None, "60000"),
    _pair("ETH", 4, 2, "0.001", None, "3000"),
    _pair("XRP", 2, 4, "1", "1000000", "2"),
    _pair("DOGE", 0, 5, "1", None, "0.2"),
)
"""Precisions as on the live venue when this was written; XRP_USDT is one that has a maximum."""
