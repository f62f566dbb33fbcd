"""The kill switch thrown as the admin API throws it: the layer's state and the intervention in one commit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fanout import intervention_rows as rows
from fanout.intervention_rows import STATE_OF, Intervention, Layer, Level
from tenancy.ids import new_id
from tenancy.scope import Actor
from tenancy.values import partition
from tests.integration.fanout.conftest import Bench

TABLES = {
    "tenant": ("tenants", "tenant_id"),
    "strategy": ("strategies", "strategy_id"),
    "group": ("account_groups", "group_id"),
    "account": ("accounts", "account_id"),
    "instrument": ("instrument_halts", "instrument_id"),
}
SOMEBODY = Actor(kind="human", id="test")


async def throw(
    bench: Bench,
    level: Level,
    scope: Layer = "tenant",
    object_id: UUID | None = None,
    **instrument: Any,
) -> UUID:
    """The id of the intervention, which is durable when this returns."""
    admin = await bench.open("admin")
    try:
        async with admin.tenant(bench.scope) as conn:
            if scope == "instrument":
                object_id = new_id()
                await conn.execute(
                    "INSERT INTO instrument_halts (instrument_id, tenant_id, broker, symbol)"
                    " VALUES (%s, %s, %s, %s)",
                    (object_id, bench.scope.tenant_id, instrument["broker"], instrument["symbol"]),
                )
            of = object_id or bench.scope.tenant_id
            table, key = TABLES[scope]
            await conn.execute(
                f"UPDATE {table} SET state = %s WHERE {key} = %s".encode(),
                (STATE_OF[level], of),
            )
            identity = new_id()
            carried = level in ("cancel_open", "flatten")
            await rows.insert(
                conn,
                Intervention(
                    intervention_id=identity, tenant_id=bench.scope.tenant_id, by=SOMEBODY,
                    part=partition(identity), level=level, scope=scope, object_id=of,
                    broker=instrument.get("broker"), symbol=instrument.get("symbol"),
                    reason="prices are wrong", at=datetime.now(UTC),
                    state="working" if carried else "done",
                ),
            )  # fmt: skip
    finally:
        await admin.close()
    return identity


async def release(bench: Bench, scope: Layer = "tenant", object_id: UUID | None = None) -> None:
    """The layer is active again."""
    table, key = TABLES[scope]
    admin = await bench.open("admin")
    try:
        async with admin.tenant(bench.scope) as conn:
            await conn.execute(
                f"UPDATE {table} SET state = 'active' WHERE {key} = %s".encode(),
                (object_id or bench.scope.tenant_id,),
            )
    finally:
        await admin.close()
