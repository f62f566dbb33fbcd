"""Plans as somebody else has decided them: what is written of a given leg, without planning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from fanout.exact import one
from fanout.groups import Group, Leg, Shape, listed
from fanout.reasons import Reason
from tenancy.values import SignalID, partition
from tests.integration.fanout.conftest import Bench


async def plan(
    bench: Bench, *legs: Leg, symbol: str = "BTC_USDT", broker: str = "gateio", **changed: Any
) -> SignalID:
    """A signal that is planned as this for the first account; its intents are a worker's to write."""
    signal = await bench.signal(state="planned")
    account, now = bench.accounts[0], datetime.now(UTC)
    part = partition(account)
    group = Group(
        place=[0],
        account_id=[account],
        part=[part],
        broker=broker,
        reason=changed.pop("reason", Reason.ORDER),
        symbol=symbol,
        legs=tuple(_shape(leg) for leg in legs),
        numbers={f"leg{leg.leg}": listed(one(leg.order_qty)) for leg in legs},
        **changed,
    )
    rotation = (await bench.rows("SELECT count(*) FROM plans"))[0][0]
    made = {
        "signal_id": signal, "tenant_id": bench.scope.tenant_id, "strategy_id": bench.strategy,
        "version": 1, "seed": 1, "rotation": rotation, "planned_at": now,
        "deadline": now + timedelta(seconds=20), "groups": (group,),
    }  # fmt: skip
    text = msgspec.json.encode(made).decode()
    await bench.rows(
        "WITH kept AS (INSERT INTO plans"
        " (signal_id, tenant_id, strategy_id, version, seed, rotation, plan, planned_at)"
        " VALUES (%s, %s, %s, 1, 1, %s, %s::json, %s) RETURNING signal_id)"
        " INSERT INTO plan_parts (signal_id, part, tenant_id, strategy_id, planned_at)"
        " SELECT signal_id, %s, %s, %s, %s FROM kept RETURNING 1",
        signal, bench.scope.tenant_id, bench.strategy, rotation, text, now,
        part, bench.scope.tenant_id, bench.strategy, now,
    )  # fmt: skip
    return signal


def leg(side: str = "buy", qty: int = 10, **changed: Any) -> Leg:
    """A market order of so many lots."""
    facts: dict[str, Any] = {
        "leg": 0, "side": side, "order_qty": Decimal(qty), "ord_type": "market", "time_in_force": "gtc",
    }  # fmt: skip
    return Leg(**(facts | changed))


def _shape(leg: Leg) -> Shape:
    said = msgspec.structs.asdict(leg)
    del said["order_qty"]
    return Shape(lots=f"leg{leg.leg}", **said)
