"""SQL of subscriptions. One that would silently fall back to a product default is refused."""

from __future__ import annotations

import msgspec
import psycopg

from tenancy.database import Connection
from tenancy.errors import Invalid, NotFound
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.strategy import Parameters
from tenancy.subscription import SubscriptionSettings, unresolvable
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

    Raises NotFound for a strategy of nobody in this tenant, Invalid for a parameter that neither
    signal, subscription nor strategy could set, or for a pair that is tied already.
    """
    row = await (
        await conn.execute(
            "SELECT defaults::text FROM strategies WHERE strategy_id = %s", (strategy,)
        )
    ).fetchone()
    if row is None:
        raise NotFound(f"no strategy {strategy} in this tenant")
    missing = unresolvable(settings, msgspec.json.decode(row[0], type=Parameters))
    if missing:
        raise Invalid(
            f"{', '.join(missing)}: the signal's value is switched off, and neither the subscription"
            " nor the strategy sets one; set an override, or use the signal's"
        )
    subscription = SubscriptionID(new_id())
    encoded = msgspec.json.encode(settings).decode()
    try:
        await conn.execute(
            _INSERT, (subscription, scope.tenant_id, strategy, account, priority, encoded)
        )
    except psycopg.errors.UniqueViolation:
        raise Invalid("this account has a subscription to this strategy already") from None
    return subscription
