"""SQL of subscriptions. One that would silently fall back to a product default is refused."""

from __future__ import annotations

import msgspec
import psycopg

from tenancy.database import Connection
from tenancy.errors import Invalid, NotFound
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.store.resolvable import require_resolvable
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, StrategyID, SubscriptionID

_INSERT = """
INSERT INTO subscriptions (subscription_id, tenant_id, strategy_id, account_id, priority, settings)
VALUES (%s, %s, %s, %s, %s, %s::jsonb)"""


async def create_subscription(
    conn: Connection,
    scope: TenantScope,
    strategy: StrategyID,
    account: AccountID,
    *,
    settings: SubscriptionSettings,
    priority: int = 0,
) -> SubscriptionID:
    """Tie the account to the strategy.

    Raises NotFound for a strategy or an account of nobody in this tenant, Invalid for a parameter
    that neither signal, subscription, group nor strategy could set, or for a pair that is tied
    already.
    """
    for table, key, identity in (
        ("strategies", "strategy_id", strategy),
        ("accounts", "account_id", account),
    ):
        query = f"SELECT 1 FROM {table} WHERE {key} = %s"  # noqa: S608 - constants only
        if await (await conn.execute(query.encode(), (identity,))).fetchone() is None:
            raise NotFound(f"no {key.removesuffix('_id')} {identity} in this tenant")
    subscription = SubscriptionID(new_id())
    encoded = msgspec.json.encode(settings).decode()
    try:
        await conn.execute(
            _INSERT, (subscription, scope.tenant_id, strategy, account, priority, encoded)
        )
    except psycopg.errors.UniqueViolation:
        raise Invalid("this account has a subscription to this strategy already") from None
    await require_resolvable(conn, subscription=subscription)
    return subscription
