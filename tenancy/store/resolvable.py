"""No subscription is left with a parameter that nothing sets, whichever layer a change was made in.

Call `require_resolvable` in the transaction of the change, after its write: it reads what the
change would leave behind and raises, so that the caller's transaction rolls back.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from tenancy.database import Connection
from tenancy.effective import resolve, unresolvable
from tenancy.errors import Invalid
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings

NAMED = 5
"""At most so many subscriptions are named in the error."""

_AFFECTED = """
SELECT s.settings::text, s.asset_class, g.settings::text, u.settings::text,
       min(u.subscription_id::text), count(*)
FROM subscriptions u JOIN strategies s USING (strategy_id) JOIN accounts a USING (account_id)
LEFT JOIN account_groups g USING (group_id)
WHERE u.shadow_of IS NULL  -- a shadow's are its twin's
  AND (%(strategy)s::uuid IS NULL OR u.strategy_id = %(strategy)s)
  AND (%(group)s::uuid IS NULL OR a.group_id = %(group)s)
  AND (%(account)s::uuid IS NULL OR u.account_id = %(account)s)
  AND (%(subscription)s::uuid IS NULL OR u.subscription_id = %(subscription)s)
GROUP BY s.strategy_id, s.settings, s.asset_class, g.group_id, g.settings, u.settings
ORDER BY 5"""


class Unresolvable(Invalid):
    """A signal's value is switched off, and no layer sets one in its place."""

    code = "unresolvable"


async def require_resolvable(
    conn: Connection,
    *,
    strategy: UUID | None = None,
    group: UUID | None = None,
    account: UUID | None = None,
    subscription: UUID | None = None,
) -> None:
    """Raises Unresolvable where a subscription of all that are given lacks a parameter.

    Give the object that was changed: a strategy, a group, an account (whose group changed) or a
    subscription; nothing at all looks through the whole tenant, as `apply` does at its end.
    """
    asked: dict[str, Any] = {
        "strategy": strategy, "group": group, "account": account, "subscription": subscription,
    }  # fmt: skip
    lacking: list[str] = []
    for defaults, asset_class, shared, own, first, count in await (
        await conn.execute(_AFFECTED, asked)
    ).fetchall():
        missing = unresolvable(
            resolve(
                msgspec.json.decode(defaults, type=StrategySettings),
                None if shared is None else msgspec.json.decode(shared, type=SubscriptionSettings),
                msgspec.json.decode(own, type=SubscriptionSettings),
                asset_class=asset_class,
            )
        )
        if missing:
            more = f" and {count - 1} more" if count > 1 else ""
            lacking.append(f"subscription {first}{more}: {', '.join(missing)}")
    if lacking:
        raise Unresolvable(
            f"{'; '.join(lacking[:NAMED])}: the signal's value is switched off, and neither"
            " subscription, group nor strategy sets one; set an override or a default, or use the"
            " signal's"
        )
