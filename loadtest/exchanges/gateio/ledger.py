"""Who owns what: accounts, positions, fees and profit. One-way mode, cross margin, in USDT.

`total` is the wallet balance: deposits, realised profit and fees. Available is total plus
unrealised profit less what positions and open orders hold back. No funding, no liquidation.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from loadtest.exchanges.gateio.contracts import Contract
from loadtest.exchanges.gateio.orders import ZERO, Order

Listed = Literal["object", "list", "forbidden"]


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One fill as its owner sees it. `size` carries the side's sign; `fee` > 0 was paid."""

    id: int
    create_time: float
    contract: str
    order_id: int
    size: Decimal
    close_size: Decimal
    price: Decimal
    role: str
    text: str
    fee: Decimal


class Position(msgspec.Struct, kw_only=True, eq=False):
    """A net position. `size` is signed contracts, `entry_price` its average cost."""

    contract: Contract
    size: Decimal = ZERO
    entry_price: Decimal = ZERO
    realised_pnl: Decimal = ZERO  # of price moves
    realised_fee: Decimal = ZERO  # fees paid, positive
    update_id: int = 0
    update_time: float = 0.0
    open_time: float = 0.0

    def apply(self, qty: Decimal, price: Decimal, now: float) -> tuple[Decimal, Decimal]:
        """Trade `qty` (signed) at `price`; returns realised profit and contracts closed (signed)."""
        before = self.size
        closed = ZERO
        pnl = ZERO
        if before * qty < 0:
            closed = min(abs(qty), abs(before)).copy_sign(qty)
            pnl = -closed * (price - self.entry_price) * self.contract.quanto_multiplier
        after = before + qty
        if after == 0:
            self.entry_price = ZERO
        elif before * after <= 0:  # opened, or turned round
            self.entry_price = price
            self.open_time = now
        elif not closed:
            self.entry_price = (before * self.entry_price + qty * price) / after
        self.size = after
        self.realised_pnl += pnl
        self.update_id += 1
        self.update_time = now
        return pnl, closed

    def unrealised(self, mark: Decimal) -> Decimal:
        if not self.size:
            return ZERO
        return self.size * (mark - self.entry_price) * self.contract.quanto_multiplier

    def value(self, mark: Decimal) -> Decimal:
        return abs(self.size) * mark * self.contract.quanto_multiplier


class Account(msgspec.Struct, kw_only=True, eq=False):
    """One user with one key. `balance` is None until the futures account was funded for the first time.

    `permissions` the key may use, those in `read_only` without changing anything; `wallet` is the one
    that withdraws. `listed`: how account/main_keys shows it (views.py). `unified`, `dual_mode`: the
    account is of a kind that this venue knows by name only.
    """

    uid: int
    key: str
    secret: bytes
    balance: Decimal | None
    leverage: Decimal = Decimal(10)
    permissions: tuple[str, ...] = ("futures",)
    read_only: tuple[str, ...] = ()
    key_state: int = 1  # 1 normal, 2 locked, 3 frozen
    listed: Listed = "object"
    revoked: bool = False
    unified: bool = False
    dual_mode: bool = False
    ip_whitelist: tuple[str, ...] = ()
    deposits: Decimal = ZERO
    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    order_margin: Decimal = ZERO
    positions: dict[str, Position] = {}
    open_orders: dict[int, Order] = {}
    orders: list[Order] = []
    by_text: dict[str, Order] = {}
    trades: list[Trade] = []

    def __repr__(self) -> str:
        return f"Account(uid={self.uid}, key={self.key!r})"

    def position(self, contract: Contract) -> Position:
        found = self.positions.get(contract.name)
        if found is None:
            found = self.positions[contract.name] = Position(contract=contract)
        return found

    def size_of(self, contract: str) -> Decimal:
        found = self.positions.get(contract)
        return found.size if found else ZERO

    def unrealised(self, marks: dict[str, Decimal]) -> Decimal:
        return sum((p.unrealised(marks[name]) for name, p in self.positions.items()), ZERO)

    def position_margin(self, marks: dict[str, Decimal]) -> Decimal:
        held = sum((p.value(marks[name]) for name, p in self.positions.items() if p.size), ZERO)
        return held / self.leverage

    def available(self, marks: dict[str, Decimal]) -> Decimal:
        """At least zero."""
        free = (self.balance or ZERO) + self.unrealised(marks)
        return max(ZERO, free - self.position_margin(marks) - self.order_margin)

    def fill(self, order: Order, qty: Decimal, price: Decimal, *, taker: bool, trade: int,
             contract: Contract, now: float) -> None:  # fmt: skip
        """Book `qty` (> 0) of an order of ours at `price`: position, fee, profit, the order itself."""
        signed = qty.copy_sign(order.size)
        position = self.position(contract)
        pnl, closed = position.apply(signed, price, now)
        rate = order.taker_fee_rate if taker else order.maker_fee_rate
        fee = qty * price * contract.quanto_multiplier * rate
        position.realised_fee += fee
        self.balance = (self.balance or ZERO) + pnl - fee
        self.pnl += pnl
        self.fees += fee
        order.left -= signed
        order.value += qty * price
        order.update_time = now
        self.trades.append(
            Trade(
                id=trade,
                create_time=now,
                contract=order.contract,
                order_id=order.id,
                size=signed,
                close_size=closed,
                price=price,
                role="taker" if taker else "maker",
                text=order.text,
                fee=fee,
            )
        )
