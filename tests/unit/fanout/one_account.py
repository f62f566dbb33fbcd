"""One account under one signal: its whole plan entry, in a line."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from fanout.mandate import Mandate
from fanout.market import AccountNow, Usage
from fanout.plan import PlanEntry
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tests.builders import instrument, market, plan, signal, snapshot, subscribed

D = Decimal
RATES = {"USD/TWD": D("32.1"), "USDT/USD": D("0.5")}


def traded(
    row: Any = None,
    held: Any = 0,
    *,
    lots: Any = None,
    now: AccountNow | None = None,
    usage: Usage | None = None,
    changed: dict[str, Any] | None = None,
    mandate: Mandate | None = None,
    settings: StrategySettings | None = None,
    **fields: Any,
) -> PlanEntry:
    """One account's entry; `held` is its position, `changed` what differs in the market."""
    row = row or subscribed()
    snap = snapshot(row, settings=settings or StrategySettings())
    snap = msgspec.structs.replace(
        snap, tenant=msgspec.structs.replace(snap.tenant, fx_rates=RATES)
    )
    now = now or AccountNow(position=D(held))
    mkt = market(snap, {0: now}, lots or instrument())
    more = {} if usage is None else {"usage": {row.account.account_id: usage}}
    mkt = msgspec.structs.replace(mkt, **more, **(changed or {}))
    asked = {} if mandate is None else {"mandate": mandate}
    return plan(signal(**fields), snap, mkt, **asked).entries[0]


def legs(entry: PlanEntry) -> list[tuple[str, Decimal, bool]]:
    return [(leg.side, leg.order_qty, leg.reduce_only) for leg in entry.legs]


def own(**settings: Any) -> Any:
    return subscribed(SubscriptionSettings(**settings))
