"""An order and an account for tests of execution; say only what the test is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fanout.order import Order, OrdState, cl_ord_id, order_id
from fanout.ports import BrokerAccount
from tenancy.ids import new_id
from tenancy.values import AccountID, SignalID, StrategyID, TenantID


def an_account(**changed: Any) -> BrokerAccount:
    facts: dict[str, Any] = {
        "account_id": AccountID(new_id()),
        "tenant_id": TenantID(new_id()),
        "currency": "USDT",
        "stated_equity": Decimal(10_000),
        "leverage": Decimal(10),
        "settings": {},
        "api_key": "key",
        "credential": b"sealed",
    }
    return BrokerAccount(**(facts | changed))


def an_order(account: BrokerAccount, **changed: Any) -> Order:
    """A market order to buy one BTC_USDT contract, of a signal of its own."""
    signal, now = SignalID(new_id()), datetime.now(UTC)
    name = order_id(signal, account.account_id, 0)
    facts: dict[str, Any] = {
        "cl_ord_id": cl_ord_id(name, 1),
        "order_id": name,
        "tenant_id": account.tenant_id,
        "signal_id": signal,
        "strategy_id": StrategyID(new_id()),
        "account_id": account.account_id,
        "part": 0,
        "leg": 0,
        "attempt": 1,
        "place": 0,
        "broker": "gateio",
        "symbol": "BTC_USDT",
        "side": "buy",
        "order_qty": Decimal(1),
        "ord_type": "market",
        "price": None,
        "time_in_force": "gtc",
        "reduce_only": False,
        "deadline": now + timedelta(seconds=30),
        "state": OrdState.INTENT,
        "epoch": 1,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "intent_at": now,
    }
    return Order(**(facts | changed))
