"""Several strategies that share accounts, on the bench of the fan-out's tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import psycopg

from tenancy.database import Database
from tenancy.ids import new_id
from tenancy.store.accounts import create_account
from tenancy.store.hooks import create_hook
from tenancy.store.strategies import create_strategy
from tenancy.store.subscriptions import create_subscription
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, SignalID, StrategyID, partition

DEFAULTS = SubscriptionSettings(allow_add_to_position=True)


async def another(bench: Any, admin: Database, name: str) -> StrategyID:
    """A strategy beside the bench's own, with a hook."""
    async with admin.tenant(bench.scope) as conn:
        strategy = await create_strategy(
            conn, bench.scope, name, settings=StrategySettings(default_quantity=1)
        )
        await create_hook(conn, bench.scope, strategy)
    return strategy


async def account(bench: Any, admin: Database, name: str) -> AccountID:
    async with admin.tenant(bench.scope) as conn:
        return await create_account(
            conn, bench.scope, name, broker="gateio", currency="USDT", stated_equity=10_000
        )


async def join(
    bench: Any,
    admin: Database,
    strategies: Sequence[StrategyID],
    of: AccountID,
    settings: SubscriptionSettings = DEFAULTS,
) -> None:
    """Each of the strategies comes to trade for the account, in a transaction of its own."""
    for strategy in strategies:
        async with admin.tenant(bench.scope) as conn:
            await create_subscription(conn, bench.scope, strategy, of, settings=settings)


async def leave(bench: Any, admin: Database, strategy: StrategyID, of: AccountID) -> None:
    async with admin.tenant(bench.scope) as conn:
        await conn.execute(
            "DELETE FROM subscriptions WHERE strategy_id = %s AND account_id = %s", (strategy, of)
        )


async def limit(bench: Any, admin: Database, limits: str, of: AccountID) -> None:
    async with admin.tenant(bench.scope) as conn:
        await conn.execute(
            "UPDATE accounts SET limits = %s::jsonb WHERE account_id = %s", (limits, of)
        )


async def signal_for(bench: Any, strategy: StrategyID, **fields: Any) -> SignalID:
    """As bench.signal, for another strategy."""
    own, hook = bench.strategy, bench.hook
    rows = await bench.rows("SELECT hook_id FROM hooks WHERE strategy_id = %s", strategy)
    bench.strategy, bench.hook = strategy, rows[0][0]
    try:
        return await bench.signal(**fields)
    finally:
        bench.strategy, bench.hook = own, hook


async def signals_for(
    bench: Any, strategies: Sequence[StrategyID], signals: Sequence[dict[str, Any]]
) -> None:
    """Many at once, the strategies one after another."""
    rows = await bench.rows("SELECT strategy_id, hook_id FROM hooks")
    hooks = dict(rows)
    async with (
        await connect(bench, "ingress") as conn,
        conn.cursor() as cursor,
    ):
        values = []
        for n, fields in enumerate(signals):
            strategy, signal = strategies[n % len(strategies)], new_id()
            body = json.dumps({"ticker": "BTC_USDT", "action": "buy", **fields}).encode()
            values.append((
                signal, bench.scope.tenant_id, strategy, hooks[strategy], str(signal),
                partition(strategy), body, hashlib.sha256(body).digest(),
                f"00-{signal.hex}-{'1' * 16}-01",
            ))  # fmt: skip
        await cursor.executemany(
            "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, body,"
            " body_sha256, traceparent, received_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())",
            values,
        )


async def version(bench: Any, strategy: StrategyID) -> int:
    rows = await bench.rows("SELECT version FROM strategies WHERE strategy_id = %s", strategy)
    return int(rows[0][0])


async def until_a_lock_is_waited_for(bench: Any) -> None:
    """Until a session of this database waits for another."""
    await bench.until(
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()",
        True,
    )


async def connect(bench: Any, role: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(bench.made.conninfo(role))
