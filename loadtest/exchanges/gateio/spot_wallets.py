"""Who owns what on spot: balances, open orders and trades of one user."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.spot_orders import SpotOrder


class Holding(msgspec.Struct, kw_only=True):
    """How much of one currency a user has. `locked` by open orders."""

    available: Decimal = ZERO
    locked: Decimal = ZERO
    update_id: int = 0


class SpotTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One fill as its owner sees it; `fee` in `fee_currency`."""

    id: int
    create_time: float
    pair: str
    side: str
    role: str
    amount: Decimal
    price: Decimal
    order_id: int
    fee: Decimal
    fee_currency: str
    point_fee: Decimal
    text: str


class Wallet(msgspec.Struct, kw_only=True, eq=False):
    """One user's spot account. `pays_in_points`: fees are not taken from what is received."""

    pays_in_points: bool = False
    held: dict[str, Holding] = {}
    open_orders: dict[int, SpotOrder] = {}
    finished: list[SpotOrder] = []
    trades: list[SpotTrade] = []
    countdowns: dict[str, float] = {}  # pair, or "" for all: when it cancels

    def of(self, currency: str) -> Holding:
        return self.held.setdefault(currency, Holding())

    def move(self, currency: str, available: Decimal, locked: Decimal = ZERO) -> None:
        holding = self.of(currency)
        holding.available += available
        holding.locked += locked
        holding.update_id += 1
