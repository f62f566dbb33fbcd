"""SQL of a strategy's snapshot. The version in the strategies row says whether a kept one still holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from tenancy.account import Account
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.strategy import Parameters, Strategy
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, StrategyID

_STRATEGY = """
SELECT s.strategy_id, s.tenant_id, s.name, s.asset_class, s.state, s.sequence, s.defaults::text,
       s.part, s.version, t.state
FROM strategies s JOIN tenants t USING (tenant_id) WHERE s.strategy_id = %s"""

_ACCOUNT_COLUMNS = """
    a.account_id, a.tenant_id, a.name, a.broker, a.currency, a.stated_equity, a.leverage, a.state,
    a.settings::text, a.part, c.api_key, c.sealed"""

_ROWS = f"""
SELECT u.subscription_id, u.enabled, u.priority, u.settings::text, {_ACCOUNT_COLUMNS}
FROM subscriptions u JOIN accounts a USING (account_id)
LEFT JOIN credentials c ON c.account_id = a.account_id AND c.revoked_at IS NULL
WHERE u.strategy_id = %s ORDER BY u.priority, u.subscription_id"""  # noqa: S608 - constants only

_ACCOUNTS = f"""
SELECT {_ACCOUNT_COLUMNS} FROM accounts a
LEFT JOIN credentials c ON c.account_id = a.account_id AND c.revoked_at IS NULL
WHERE a.account_id = ANY(%b::uuid[])"""  # noqa: S608 - constants only


async def read_version(conn: Connection, strategy: StrategyID) -> tuple[int, str]:
    """The version of the strategy's settings now, and its tenant's state. Raises NotFound."""
    row = await (
        await conn.execute(
            "SELECT s.version, t.state FROM strategies s JOIN tenants t USING (tenant_id)"
            " WHERE s.strategy_id = %s",
            (strategy,),
        )
    ).fetchone()
    if row is None:
        raise NotFound(f"no strategy {strategy} in this tenant")
    return row[0], row[1]


async def read_snapshot(conn: Connection, strategy: StrategyID) -> Snapshot:
    """The whole snapshot, as the caller's transaction sees it. Raises NotFound."""
    head = await (await conn.execute(_STRATEGY, (strategy,))).fetchone()
    if head is None:
        raise NotFound(f"no strategy {strategy} in this tenant")
    rows = await (await conn.execute(_ROWS, (strategy,))).fetchall()
    return Snapshot(
        strategy=Strategy(
            strategy_id=head[0],
            tenant_id=head[1],
            name=head[2],
            asset_class=head[3],
            state=head[4],
            sequence=head[5],
            defaults=msgspec.json.decode(head[6], type=Parameters),
            part=head[7],
            version=head[8],
        ),
        tenant_state=head[9],
        rows=tuple(
            Subscribed(
                subscription_id=row[0],
                enabled=row[1],
                priority=row[2],
                settings=msgspec.json.decode(row[3], type=SubscriptionSettings),
                account=_account(row[4:]),
            )
            for row in rows
        ),
    )


async def read_accounts(conn: Connection, accounts: Sequence[AccountID]) -> list[Account]:
    """The accounts of this tenant among `accounts`, with their live credentials."""
    rows = await (await conn.execute(_ACCOUNTS, (list(accounts),))).fetchall()
    return [_account(row) for row in rows]


def _account(row: tuple[Any, ...]) -> Account:
    return Account(
        account_id=row[0],
        tenant_id=row[1],
        name=row[2],
        broker=row[3],
        currency=row[4],
        stated_equity=row[5],
        leverage=row[6],
        state=row[7],
        settings=json.loads(row[8]),
        part=row[9],
        api_key=row[10],
        sealed=row[11],
    )
