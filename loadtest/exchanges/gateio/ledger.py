"""Who owns what: accounts, their positions, fees and profit, in USDT.

`total` is the wallet balance: deposits, realised profit and fees. Available is total plus the
unrealised profit of cross positions less what positions and open orders hold back. No funding, no
liquidation.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from loadtest.exchanges.gateio.contracts import Contract
from loadtest.exchanges.gateio.orders import Order
from loadtest.exchanges.gateio.positions import ZERO, Closed, Leg, Position

if TYPE_CHECKING:
    from loadtest.exchanges.gateio.triggers import Triggered

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
    pnl: Decimal = ZERO  # realised by it
    balance: Decimal = ZERO  # of the wallet after it


class Feed(Protocol):
    """Who is told at once what happens to an account: its WebSocket subscriptions (ws/hub.py)."""

    def order(self, order: Order) -> None: ...

    def fill(self, account: Account, trade: Trade, position: Position) -> None: ...

    def position(self, account: Account, position: Position) -> None: ...

    def auto_order(self, it: Triggered) -> None: ...


class Account(msgspec.Struct, kw_only=True, eq=False):
    """One user with one key. `balance` is None until the futures account was funded for the first time.

    `permissions` the key may use, those in `read_only` without changing anything; `wallet` is the one
    that withdraws. `listed`: how account/main_keys shows it (views.py). `main`: the uid of the account
    that this is a sub-account of. `unified`: the equity is asked of unified/accounts. `evolved`: Gate's
    newer classic margin mode, which shows cross_margin_balance. `feed`: told of everything, where
    anybody listens.
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
    evolved: bool = False
    dual_mode: bool = False
    ip_whitelist: tuple[str, ...] = ()
    main: int | None = None
    feed: Feed | None = None
    created_at: float = 0.0
    deposits: Decimal = ZERO
    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    order_margin: Decimal = ZERO
    positions: dict[tuple[str, Leg], Position] = {}
    open_orders: dict[int, Order] = {}
    orders: list[Order] = []
    by_text: dict[str, Order] = {}
    trades: list[Trade] = []
    closed: list[Closed] = []

    def __repr__(self) -> str:
        return f"Account(uid={self.uid}, key={self.key!r})"

    def position(self, contract: Contract, leg: Leg = "single") -> Position:
        found = self.positions.get((contract.name, leg))
        if found is None:
            found = Position(contract=contract, leg=leg, cross_limit=self.leverage)
            self.positions[contract.name, leg] = found
        return found

    def size_of(self, contract: str, leg: Leg = "single") -> Decimal:
        found = self.positions.get((contract, leg))
        return found.size if found else ZERO

    def legs(self) -> tuple[Leg, ...]:
        return ("dual_long", "dual_short") if self.dual_mode else ("single",)

    def unrealised(self, marks: dict[str, Decimal]) -> Decimal:
        return sum((p.unrealised(marks[name]) for (name, _), p in self.positions.items()), ZERO)

    def cross_unrealised(self, marks: dict[str, Decimal]) -> Decimal:
        held = self.positions.items()
        return sum((p.unrealised(marks[name]) for (name, _), p in held if not p.leverage), ZERO)

    def position_margin(self, marks: dict[str, Decimal]) -> Decimal:
        held = self.positions.items()
        return sum((p.margin(marks[name]) for (name, _), p in held if p.size), ZERO)

    def available(self, marks: dict[str, Decimal]) -> Decimal:
        """At least zero."""
        free = (self.balance or ZERO) - self.order_margin
        for (name, _), held in self.positions.items():  # one walk: every order comes by here
            if held.size:
                mark = marks[name]
                free -= held.margin(mark)
                if not held.leverage:
                    free += held.unrealised(mark)
        return max(ZERO, free)

    def fill(self, order: Order, qty: Decimal, price: Decimal, *, taker: bool, trade: int,
             contract: Contract, now: float) -> None:  # fmt: skip
        """Book `qty` (> 0) of an order of ours at `price`: position, fee, profit, the order itself."""
        signed = qty.copy_sign(order.size)
        position = self.position(contract, order.leg)
        before = position.size
        was = (position.entry_price, position.max_size, position.accum_size, position.open_time)
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
        made = Trade(
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
            pnl=pnl,
            balance=self.balance,
        )
        self.trades.append(made)
        if not position.size or before * position.size < 0:
            self._ended(position, order.text, before, was, price)
        if self.feed is not None:
            self.feed.fill(self, made, position)

    def _ended(
        self,
        position: Position,
        text: str,
        held: Decimal,
        was: tuple[Decimal, Decimal, Decimal, float],
        price: Decimal,
    ) -> None:
        """Keep the life of a position that is empty or turned round. `held` and `was`: just before."""
        entry_price, max_size, accum_size, opened_at = was
        pnl = position.realised_pnl - position.pnl_before
        fees = position.realised_fee - position.fee_before
        net = pnl - fees
        position.last_close_pnl = net
        position.history_pnl += net
        position.extra_margin = ZERO
        self.closed.append(
            Closed(
                at=position.update_time,
                contract=position.contract.name,
                side="long" if held > 0 else "short",
                pnl=pnl,
                fees=fees,
                text=text,
                max_size=max_size,
                accum_size=accum_size,
                opened_at=opened_at,
                entry_price=entry_price,
                exit_price=price,
            )
        )
        position.pnl_before, position.fee_before = position.realised_pnl, position.realised_fee
