"""What an account holds in one contract: a net position, or one of the two sides of hedge mode.

In one-way mode (`single`) a contract has one position, whose sign is its direction. In hedge mode it
has two, `dual_long` (never below zero) and `dual_short` (never above). Margin is cross (the account
stands behind it, `leverage` zero) or isolated (`leverage` and `extra_margin` are its own).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from loadtest.exchanges.gateio.contracts import Contract

Leg = Literal["single", "dual_long", "dual_short"]
ZERO = Decimal(0)


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a position, from empty to empty. `fees` > 0 were paid."""

    at: float
    contract: str
    side: Literal["long", "short"]
    pnl: Decimal
    fees: Decimal
    text: str
    max_size: Decimal
    accum_size: Decimal
    opened_at: float
    entry_price: Decimal
    exit_price: Decimal


class Position(msgspec.Struct, kw_only=True, eq=False):
    """`size` is signed contracts, `entry_price` its average cost."""

    contract: Contract
    leg: Leg = "single"
    size: Decimal = ZERO
    entry_price: Decimal = ZERO
    leverage: Decimal = ZERO  # zero: cross margin
    cross_limit: Decimal = Decimal(10)
    extra_margin: Decimal = ZERO  # added to an isolated position by its owner
    realised_pnl: Decimal = ZERO  # of price moves
    realised_fee: Decimal = ZERO  # fees paid, positive
    history_pnl: Decimal = ZERO  # of the lives that ended, fees taken off
    last_close_pnl: Decimal = ZERO
    update_id: int = 0
    update_time: float = 0.0
    open_time: float = 0.0
    max_size: Decimal = ZERO  # of this life
    accum_size: Decimal = ZERO
    pnl_before: Decimal = ZERO  # realised by the lives before this one
    fee_before: Decimal = ZERO

    @property
    def isolated(self) -> bool:
        return self.leverage > 0

    @property
    def lever(self) -> Decimal:
        """The leverage that holds, of whichever kind."""
        return self.leverage or self.cross_limit

    def apply(self, qty: Decimal, price: Decimal, now: float) -> tuple[Decimal, Decimal]:
        """Trade `qty` (signed) at `price`; returns realised profit and contracts closed (signed)."""
        before = self.size
        closed = ZERO
        pnl = ZERO
        after = before + qty
        if before * qty < 0:
            closed = min(abs(qty), abs(before)).copy_sign(qty)
            pnl = -closed * (price - self.entry_price) * self.contract.quanto_multiplier
            self.realised_pnl += pnl
        elif before:
            self.entry_price = (before * self.entry_price + qty * price) / after
            self.accum_size += abs(qty)
            self.max_size = max(self.max_size, abs(after))
        if after == 0:
            self.entry_price = ZERO
        elif before * after <= 0:  # opened, or turned round
            self.entry_price = price
            self.open_time = now
            self.accum_size = self.max_size = abs(after)
        self.size = after
        self.update_id += 1
        self.update_time = now
        return pnl, closed

    def touch(self, now: float) -> None:
        """Every change has a number and a time."""
        self.update_id += 1
        self.update_time = now

    def unrealised(self, mark: Decimal) -> Decimal:
        if not self.size:
            return ZERO
        return self.size * (mark - self.entry_price) * self.contract.quanto_multiplier

    def value(self, mark: Decimal) -> Decimal:
        return abs(self.size) * mark * self.contract.quanto_multiplier

    def margin(self, mark: Decimal) -> Decimal:
        """What it holds back: by the mark where it is cross, by its entry where it is isolated."""
        if not self.leverage:
            return self.value(mark) / self.cross_limit
        return self.value(self.entry_price) / self.leverage + self.extra_margin
