"""A change in any layer is in force for the very next signal of a worker that runs, and the plan says so."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from tenancy.errors import NotFound
from tenancy.ids import new_id
from tenancy.limits import Limits
from tenancy.scope import TenantScope
from tenancy.store.resolvable import Unresolvable, require_resolvable
from tenancy.store.snapshots import read_effective, read_platform, read_snapshot, read_version
from tenancy.values import SubscriptionID
from tests.fixtures.proving import prove_all
from tests.plans import by_account

LIMIT = json.dumps({"max_order_quantity": "4", "over_limit": "cut"})
PLANS = "SELECT count(*) FROM plans"


async def platform(bench) -> Any:
    """The platform's row, as a tenant with people of its own."""
    identity = new_id()
    await bench.rows(
        "INSERT INTO tenants (tenant_id, name, kind) VALUES (%s, 'platform', 'platform') RETURNING 1",
        identity,
    )
    return identity


async def grouped(bench) -> Any:
    """A group with every account of the bench in it."""
    group = new_id()
    await change(
        bench,
        "INSERT INTO account_groups (group_id, tenant_id, name) VALUES (%s, %s, 'all')",
        group,
        bench.scope.tenant_id,
    )
    await change(bench, "UPDATE accounts SET group_id = %s", group)
    return group


async def change(bench, query: str, *values: Any, scope: TenantScope | None = None) -> None:
    """As the admin process changes things: one tenant, one transaction."""
    admin = await bench.open("admin")
    try:
        async with admin.tenant(scope or bench.scope) as conn:
            await conn.execute(query, values)
    finally:
        await admin.close()


async def planned(bench, **fields: Any) -> dict[str, Any]:
    """The plan of one more signal."""
    count = (await bench.rows(PLANS))[0][0]
    await bench.signal(**{"quantity": 10, **fields})
    await bench.until(PLANS, count + 1)
    await bench.until("SELECT count(*) FROM plan_parts", 0)
    rows = await bench.rows("SELECT plan, version FROM plans ORDER BY rotation DESC LIMIT 1")
    plan, version = rows[0]
    assert plan["version"] == version
    return by_account(plan)


CHANGES = {
    "tenant limits": ("UPDATE tenants SET limits = %s::jsonb", "max_order_quantity 4 of the tenant"),
    "strategy limits": (
        "UPDATE strategies SET limits = %s::jsonb", "max_order_quantity 4 of the strategy",
    ),
    "group limits": (
        "UPDATE account_groups SET limits = %s::jsonb", "max_order_quantity 4 of the group",
    ),
    "account limits": (
        "UPDATE accounts SET limits = %s::jsonb", "max_order_quantity 4 of the account",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
async def test_a_limit_of_any_layer_holds_for_the_next_signal(bench, case):
    query, words = CHANGES[case]
    await bench.set_up(2, allow_add_to_position=True)
    await grouped(bench)
    async with bench.worker():
        before = await planned(bench)
        await change(bench, query, LIMIT)
        after = await planned(bench)
    assert [e["legs"][0]["order_qty"] for e in before["entries"]] == ["10", "10"]
    assert [e["legs"][0]["order_qty"] for e in after["entries"]] == ["4", "4"]
    assert all(words in entry["words"] for entry in after["entries"])
    assert after["version"] > before["version"]


async def test_a_limit_of_the_platform_holds_for_every_tenants_next_signal(bench):
    await bench.set_up(2, allow_add_to_position=True)
    identity = await platform(bench)
    scope = TenantScope(tenant_id=identity, actor=bench.scope.actor)
    async with bench.worker():
        before = await planned(bench)
        await change(
            bench, "UPDATE tenants SET limits = %s::jsonb, revision = revision + 1", LIMIT,
            scope=scope,
        )  # fmt: skip
        after = await planned(bench)
        await change(bench, "UPDATE tenants SET state = 'halted'", scope=scope)
        halted = await planned(bench)
    assert [e["legs"][0]["order_qty"] for e in after["entries"]] == ["4", "4"]
    assert "max_order_quantity 4 of the platform" in after["entries"][0]["words"]
    assert (before["platform_revision"], after["platform_revision"]) == (1, 2)
    assert after["version"] == before["version"]
    # A state may move without a revision: it is compared itself.
    assert {entry["reason"] for entry in halted["entries"]} == {"platform_halted"}


SETTING = json.dumps({"use_signal_quantity": False, "override_quantity": "3"})


@pytest.mark.parametrize(
    ("query", "document", "source"),
    [
        ("UPDATE subscriptions SET settings = settings || %s::jsonb", SETTING, "subscription"),
        ("UPDATE account_groups SET settings = %s::jsonb", SETTING, "group"),
    ],
)
async def test_a_setting_of_any_layer_holds_for_the_next_signal(bench, query, document, source):
    await bench.set_up(2, allow_add_to_position=True)
    await grouped(bench)
    async with bench.worker():
        before = await planned(bench)
        await change(bench, query, document)
        after = await planned(bench)
    assert {e["source"]["quantity"] for e in before["entries"]} == {"signal"}
    assert {e["source"]["quantity"] for e in after["entries"]} == {source}
    assert [e["legs"][0]["order_qty"] for e in after["entries"]] == ["3", "3"]
    assert after["version"] > before["version"]


async def test_a_strategys_default_holds_for_the_next_signal(bench):
    await bench.set_up(1, use_signal_quantity=False, allow_add_to_position=True)
    async with bench.worker():
        before = await planned(bench)
        await change(bench, """UPDATE strategies SET settings = '{"default_quantity": "6"}'""")
        after = await planned(bench)
    assert before["entries"][0]["legs"][0]["order_qty"] == "1"
    assert after["entries"][0]["legs"][0]["order_qty"] == "6"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("UPDATE tenants SET state = 'halted'", "tenant_halted"),
        ("UPDATE strategies SET state = 'halted'", "strategy_halted"),
        ("UPDATE account_groups SET state = 'halted'", "group_halted"),
        ("UPDATE accounts SET state = 'halted'", "account_halted"),
        ("UPDATE accounts SET archived_at = now()", "archived"),
        ("UPDATE account_groups SET archived_at = now()", "archived"),
        ("UPDATE strategies SET archived_at = now()", "archived"),
        ("UPDATE subscriptions SET enabled = false", "subscription_disabled"),
    ],
)
async def test_a_state_of_any_layer_holds_for_the_next_signal(bench, query, reason):
    await bench.set_up(1, allow_add_to_position=True)
    await grouped(bench)
    async with bench.worker():
        before = await planned(bench)
        await change(bench, query)
        after = await planned(bench)
    assert before["entries"][0]["reason"] == "order"
    assert after["entries"][0]["reason"] == reason
    assert after["version"] > before["version"]


async def test_a_credential_that_is_proven_moves_the_version(bench):
    await bench.set_up(1)
    worker = await bench.open("worker")
    async with worker.tenant(bench.scope) as conn:
        before = await read_version(conn, bench.strategy)
    await change(
        bench,
        "INSERT INTO credentials (credential_id, tenant_id, account_id, broker, api_key, sealed)"
        " VALUES (%s, %s, %s, 'gateio', 'k', 'x')",
        new_id(), bench.scope.tenant_id, bench.accounts[0],
    )  # fmt: skip
    async with worker.tenant(bench.scope) as conn:
        before = await read_version(conn, bench.strategy)
    assert await prove_all(bench.made) == 1
    async with worker.tenant(bench.scope) as conn:
        assert (await read_version(conn, bench.strategy)).strategy > before.strategy
        assert (await read_snapshot(conn, bench.strategy)).rows[0].account.api_key == "k"
    await worker.close()


async def test_a_snapshots_version_is_true_of_every_row_in_it(bench):
    """Settings change while snapshots are read: none mixes two versions."""
    await bench.set_up(3)
    worker, admin = await bench.open("worker"), await bench.open("admin")
    stop = asyncio.Event()

    async def keep_changing() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            # Two statements, two versions: what is between them is no snapshot.
            async with admin.tenant(bench.scope) as conn:
                await conn.execute("UPDATE strategies SET name = %s", (str(number),))
                await conn.execute("UPDATE accounts SET stated_equity = %s", (number,))
            await asyncio.sleep(0.001)

    changing = asyncio.create_task(keep_changing())
    for _ in range(100):
        async with worker.tenant(bench.scope) as conn:
            shot = await read_snapshot(conn, bench.strategy)
        if shot.strategy.name != "trend":
            equities = {row.account.stated_equity for row in shot.rows}
            assert equities == {Decimal(shot.strategy.name)}
    stop.set()
    await changing
    await worker.close()
    await admin.close()


async def test_what_is_explained_is_what_trades(bench):
    await bench.set_up(2, override_quantity=Decimal(2), override_quantity_type="multiplier")
    group = await grouped(bench)
    await change(bench, "UPDATE account_groups SET limits = %s::jsonb, state = 'reducing'", LIMIT)
    admin = await bench.open("admin")
    rows = await bench.rows("SELECT subscription_id FROM subscriptions ORDER BY priority")
    async with admin.tenant(bench.scope) as conn:
        view = await read_effective(conn, SubscriptionID(rows[0][0]))
        shot = await read_snapshot(conn, bench.strategy, [bench.accounts[0]])
        assert await read_platform(conn) == shot.platform
        with pytest.raises(NotFound):
            await read_effective(conn, SubscriptionID(new_id()))
    await admin.close()
    assert (view.settings, view.limits) == (shot.rows[0].settings, shot.rows[0].limits)
    assert shot.rows[0].group.group_id == group
    assert (view.settings.quantity.value, view.settings.quantity.source) == (2, "subscription")
    assert (view.limits.max_order_quantity.value, view.limits.max_order_quantity.source) == (
        4,
        "group",
    )
    assert (view.states.trading, view.states.source, view.states.enabled) == (
        "reducing",
        "group",
        True,
    )
    assert view.version == shot.strategy.version


class TestUnresolvable:
    """What would leave a subscription without a value is refused, in whichever layer it is saved."""

    async def check(self, bench, query: str, *values: Any, **changed: Any) -> None:
        admin = await bench.open("admin")
        try:
            async with admin.tenant(bench.scope) as conn:
                await conn.execute(query, values)
                await require_resolvable(conn, **changed)
        finally:
            await admin.close()

    async def test_a_default_that_a_subscription_relies_on_stays(self, bench):
        await bench.set_up(2, use_signal_quantity=False)
        with pytest.raises(Unresolvable, match=r"and 1 more: quantity"):
            await self.check(
                bench, "UPDATE strategies SET settings = '{}'", strategy=bench.strategy
            )
        rows = await bench.rows("SELECT settings FROM strategies")
        assert rows == [({"default_quantity": "1"},)]

    async def test_a_groups_override_that_a_subscription_relies_on_stays(self, bench):
        await bench.set_up(1)
        group = await grouped(bench)
        off = json.dumps({"use_signal_order_type_entry": False})
        on = json.dumps({"override_order_type_entry": "market"})
        with pytest.raises(Unresolvable, match="order_type_entry"):
            await self.check(
                bench, "UPDATE account_groups SET settings = %s::jsonb", off, group=group
            )
        query = "UPDATE account_groups SET settings = %s::jsonb || %s::jsonb"
        await self.check(bench, query, off, on, group=group)
        with pytest.raises(Unresolvable):
            await self.check(
                bench, "UPDATE account_groups SET settings = %s::jsonb", off, group=group
            )

    async def test_an_account_that_leaves_its_group_still_needs_its_values(self, bench):
        await bench.set_up(1)
        group = await grouped(bench)
        profit = json.dumps({"override_take_profit": {"percent": "1"}})
        query = "UPDATE account_groups SET settings = %s::jsonb"
        await self.check(bench, query, profit, group=group)
        off = json.dumps({"use_signal_take_profit": False})
        await self.check(bench, "UPDATE subscriptions SET settings = %s::jsonb", off)
        with pytest.raises(Unresolvable, match="take_profit"):
            await self.check(
                bench, "UPDATE accounts SET group_id = NULL", account=bench.accounts[0]
            )


async def test_limits_that_were_stored_are_read_exactly(bench):
    await bench.set_up(1)
    await change(
        bench, """UPDATE accounts SET limits = '{"max_order_notional": "0.123456789012345678"}'"""
    )
    worker = await bench.open("worker")
    async with worker.tenant(bench.scope) as conn:
        shot = await read_snapshot(conn, bench.strategy)
    await worker.close()
    assert shot.rows[0].account.limits == Limits(max_order_notional=Decimal("0.123456789012345678"))
