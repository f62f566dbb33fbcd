"""Orders of a given account for tests of brokers, and the way dispatch sends them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fanout.order import Order
from fanout.ports import Broker, BrokerAccount, Outcome
from tests.builders import broker_account, order

LEASE_S = 30.0


def an_account(**changed: Any) -> BrokerAccount:
    """With leverage and a credential."""
    facts: dict[str, Any] = {"leverage": Decimal(10), "api_key": "key", "credential": b"sealed"}
    return broker_account(**(facts | changed))


def an_order(account: BrokerAccount, **changed: Any) -> Order:
    """A market order to buy one BTC_USDT contract now, of a signal of its own."""
    facts: dict[str, Any] = {
        "account_id": account.account_id,
        "tenant_id": account.tenant_id,
        "order_qty": Decimal(1),
        "intent_at": datetime.now(UTC),
    }
    return order(**(facts | changed))


async def submitted(broker: Broker, account: BrokerAccount, order: Order) -> Outcome:
    """Submit under a lease that lasts."""
    lease_ends = datetime.now(UTC) + timedelta(seconds=LEASE_S)
    return await broker.submit(account, order, not_after=lease_ends)
