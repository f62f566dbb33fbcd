"""The SDK's answers as plain Python, field by field: those of its classes that nobody can construct."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shioaji as real

from loadtest.exchanges.shioaji.showing import TAIPEI


@dataclass
class Deal:
    seq: str
    price: float
    quantity: int
    ts: float


@dataclass
class OrderResult:
    id: str
    seqno: str
    ordno: str
    action: Any
    price: float
    quantity: int
    time_in_force: Any
    order_type: Any
    price_type: Any
    custom_field: str
    account: Any
    order_lot: Any
    octype: Any


@dataclass
class OrderStatusInfo:
    id: str
    status: Any
    status_code: str
    order_datetime: datetime
    msg: str
    modified_price: float
    order_quantity: int
    deal_quantity: int
    cancel_quantity: int
    deals: list[Deal]


@dataclass
class Trade:
    contract: Any
    order: OrderResult
    status: OrderStatusInfo


@dataclass
class Position:
    """StockPosition and FuturePosition, as far as both have it."""

    id: int
    code: str
    direction: Any
    quantity: int
    price: float
    last_price: float
    pnl: float


@dataclass
class Margin:
    equity: float
    available_margin: float
    initial_margin: float
    future_open_position: float


@dataclass
class AccountBalance:
    acc_balance: float
    date: str
    errmsg: str


@dataclass
class UsageOut:
    connections: int
    bytes: int
    limit_bytes: int


@dataclass
class Snapshot:
    code: str
    ts: int
    close: float
    buy_price: float
    sell_price: float


@dataclass
class TradeCacheHealth:
    state: Any
    reasons: list[Any]


def account(row: dict[str, Any]) -> Any:
    kind = {"S": real.AccountType.Stock, "F": real.AccountType.Future}[row["account_type"]]
    return real.Account(**(row | {"account_type": kind}))


def contract(row: dict[str, Any]) -> Any:
    """A real Stock, Future or Option."""
    shared = {name: row[name] for name in ("code", "limit_up", "limit_down", "reference")}
    if row["kind"] == "stock":
        return real.Stock(exchange=real.Exchange.TSE, **shared)
    shared |= {
        "category": row["root"], "multiplier": row["multiplier"],
        "delivery_date": row["delivery_date"], "target_code": row["target_code"],
    }  # fmt: skip
    if row["kind"] == "future":
        return real.Future(**shared)
    right = real.OptionRight(row["option_right"])
    return real.Option(**shared, option_right=right, strike_price=row["strike_price"])


def trade(row: dict[str, Any], accounts: dict[str, Any]) -> Trade:
    stock = row["security_type"] == "STK"
    return Trade(
        contract=real.BaseContract(row["security_type"], "TSE" if stock else "TAIFEX", row["code"]),
        order=OrderResult(
            id=row["id"],
            seqno=row["seqno"],
            ordno=row["ordno"],
            action=real.Action(row["action"]),
            price=row["price"],
            quantity=row["quantity"],
            time_in_force=real.TimeInForce(row["time_in_force"]),
            order_type=real.OrderType(row["time_in_force"]),
            price_type=real.PriceType(row["price_type"]),
            custom_field=row["custom_field"],
            account=accounts[row["account"]],
            order_lot=real.StockOrderLot(row["lot"]) if stock else None,
            octype=None if stock else real.FuturesOCType(row["octype"]),
        ),
        status=OrderStatusInfo(
            id=row["id"],
            status=real.OrderStatus(row["status"]),
            status_code=row["status_code"],
            order_datetime=datetime.fromtimestamp(row["ordered_at"], TAIPEI).replace(tzinfo=None),
            msg=row["msg"],
            modified_price=row["modified_price"],
            order_quantity=row["quantity"],
            deal_quantity=sum(deal["quantity"] for deal in row["deals"]),
            cancel_quantity=row["canceled"],
            deals=[Deal(**deal) for deal in row["deals"]],
        ),
    )
