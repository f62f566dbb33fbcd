"""What the exchange keeps, and how the SDK shows it: rows of orders and accounts, and the four kinds of events."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta, timezone
from typing import Any

TAIPEI = timezone(timedelta(hours=8))
LIVE = ("PendingSubmit", "PreSubmitted", "Submitted", "PartFilled")
Event = tuple[str, dict[str, Any]]


@dataclass
class Listed:
    """A contract, and its price."""

    kind: str
    code: str
    root: str
    price: float
    multiplier: int = 1
    limit_up: float = 0.0
    limit_down: float = 0.0
    reference: float = 0.0
    target_code: str = ""
    delivery_date: str = ""
    option_right: str = ""
    strike_price: float = 0.0
    margin: float = 0.0


@dataclass
class Account:
    kind: str
    broker_id: str
    account_id: str
    cash: float
    signed: bool = True
    held: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def number(self) -> str:
        return f"{self.broker_id}-{self.account_id}"


@dataclass
class Order:
    id: str
    seqno: str
    ordno: str
    account: str
    code: str
    security_type: str
    action: str
    price: float
    quantity: int
    price_type: str
    time_in_force: str
    lot: str
    octype: str
    custom_field: str
    ordered_at: float
    status: str = "PendingSubmit"
    status_code: str = ""
    msg: str = ""
    modified_price: float = 0.0
    canceled: int = 0
    deals: list[dict[str, Any]] = field(default_factory=list)
    stuck: bool = False

    @property
    def left(self) -> int:
        return self.quantity - self.canceled - sum(deal["quantity"] for deal in self.deals)

    @property
    def limit(self) -> float:
        return self.modified_price or self.price


def account_row(account: Account) -> dict[str, Any]:
    return {
        "account_type": account.kind, "broker_id": account.broker_id,
        "account_id": account.account_id, "signed": account.signed, "person_id": "A123456789",
        "username": "",
    }  # fmt: skip


def order_row(order: Order) -> dict[str, Any]:
    row = asdict(order)
    del row["stuck"]
    row["deals"] = list(row["deals"])
    return row


def order_event(event_id: str, order: Order, op_type: str, code: str, text: str) -> Event:
    stock = order.security_type == "STK"
    broker_id, account_id = order.account.split("-")
    details: dict[str, Any] = {
        "id": order.id, "seqno": order.seqno, "ordno": order.ordno,
        "account": {
            "account_type": "S" if stock else "F", "person_id": "", "broker_id": broker_id,
            "account_id": account_id, "signed": True, "username": "",
        },
        "action": order.action, "price": order.price, "quantity": order.quantity,
        "time_in_force": order.time_in_force, "order_type": order.time_in_force,
        "price_type": order.price_type,
    }  # fmt: skip
    contract: dict[str, Any] = {"security_type": order.security_type, "code": order.code}
    if stock:
        details |= {"order_cond": "Cash", "order_lot": order.lot}
        details |= {"custom_field": order.custom_field}
        contract |= {
            "exchange": "TSE",
            "symbol": f"TSE{order.code}",
            "name": "",
            "currency": "TWD",
        }
    else:
        details |= {
            "market_type": "Day",
            "oc_type": order.octype,
            "subaccount": "",
            "combo": False,
        }
        contract |= {
            "exchange": "TAIFEX", "delivery_month": "", "full_code": order.code,
            "delivery_date": "", "strike_price": 0.0, "option_right": "Future",
        }  # fmt: skip
    return "SORDER" if stock else "FORDER", {
        "event_id": event_id,
        "operation": {"op_type": op_type, "op_code": code, "op_msg": text},
        "order": details,
        "status": {
            "id": order.id, "exchange_ts": order.ordered_at,
            "modified_price": order.modified_price, "cancel_quantity": order.canceled,
            "order_quantity": order.quantity, "web_id": "P",
        },
        "contract": contract,
        "_row": order_row(order),
    }  # fmt: skip


def deal_event(event_id: str, order: Order, deal: dict[str, Any]) -> Event:
    stock = order.security_type == "STK"
    broker_id, account_id = order.account.split("-")
    event: dict[str, Any] = {
        "event_id": event_id, "trade_id": order.id, "seqno": order.seqno,
        "ordno": order.ordno, "exchange_seq": deal["seq"], "broker_id": broker_id,
        "account_id": account_id, "action": order.action, "code": order.code,
        "price": deal["price"], "quantity": deal["quantity"], "ts": deal["ts"],
        "_row": order_row(order),
    }  # fmt: skip
    if stock:
        event |= {
            "order_cond": "Cash", "order_lot": order.lot, "web_id": "P",
            "custom_field": order.custom_field,
        }  # fmt: skip
        return "SDEAL", event
    event |= {
        "full_code": order.code, "subaccount": "", "security_type": order.security_type,
        "delivery_month": "", "strike_price": 0.0, "option_right": "Future",
        "market_type": "Day", "combo": False,
    }  # fmt: skip
    return "FDEAL", event
