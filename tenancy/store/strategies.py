"""SQL of strategies."""

from __future__ import annotations

import msgspec
import psycopg

from tenancy.database import Connection
from tenancy.errors import Invalid
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.strategy import Sequence, StrategySettings
from tenancy.values import StrategyID, partition

_INSERT = """
INSERT INTO strategies (strategy_id, tenant_id, name, asset_class, sequence, settings, part)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s)"""


async def create_strategy(
    conn: Connection,
    scope: TenantScope,
    name: str,
    *,
    asset_class: str = "crypto",
    sequence: Sequence = "rotate",
    settings: StrategySettings | None = None,
) -> StrategyID:
    """A new strategy. Raises Invalid for a name that the tenant uses already."""
    strategy = StrategyID(new_id())
    encoded = msgspec.json.encode(settings or StrategySettings()).decode()
    try:
        await conn.execute(
            _INSERT,
            (
                strategy, scope.tenant_id, name, asset_class, sequence, encoded, partition(strategy),
            ),
        )  # fmt: skip
    except psycopg.errors.UniqueViolation:
        raise Invalid(f"strategy name {name!r} is in use in this tenant") from None
    return strategy
