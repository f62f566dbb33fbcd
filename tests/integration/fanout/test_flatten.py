"""Flatten: what is in scope is closed, all of it, nothing else and each of it once."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from fanout import interventions
from fanout.intervention_rules import HOLDS_EVERYWHERE_S
from tests.integration.fanout.conftest import Bench
from tests.integration.fanout.thrown import release, throw

FLAT = "SELECT count(*) FROM positions WHERE qty <> 0"
STATE = "SELECT state FROM interventions"
FILLED = "SELECT count(*) FROM orders WHERE state = 'filled'"


def bought(bench: Bench) -> dict[Any, Decimal]:
    """What the broker executed, per account, signed."""
    sums: dict[Any, Decimal] = defaultdict(Decimal)
    for order in bench.broker.executed:
        sums[order.account_id] += order.order_qty if order.side == "buy" else -order.order_qty
    return sums


async def test_flatten_closes_every_position_while_signals_go_on_trying_to_open(bench):
    await bench.set_up(6, allow_add_to_position=True)
    bench.broker.delay_s = 0.05
    async with bench.worker(name="w1"), bench.worker(name="w2"):
        await bench.signal(quantity=2)
        await bench.until(FILLED, 6)
        stop = asyncio.Event()

        async def go_on() -> None:
            while not stop.is_set():
                await bench.signal(quantity=1)
                await asyncio.sleep(0.03)

        sender = asyncio.create_task(go_on())
        await asyncio.sleep(0.3)
        await throw(bench, "flatten")
        await bench.until(STATE, "done", 20)
        await asyncio.sleep(0.3)
        stop.set()
        await sender
        await bench.until("SELECT count(*) FROM signals WHERE state = 'accepted'", 0)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 0)
    assert await bench.rows(FLAT) == [(0,)]
    assert set(bought(bench).values()) == {Decimal(0)}


async def test_flatten_closes_even_where_everything_is_halted_and_switched_off(bench):
    await bench.set_up(2, needs_approval=False)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(FILLED, 2)
        await bench.rows("UPDATE subscriptions SET enabled = false RETURNING 1")
        await bench.rows(
            """UPDATE subscriptions SET settings = '{"needs_approval": true, "override_order_type_exit":
            "limit", "use_signal_order_type_exit": false}' RETURNING 1"""
        )
        await throw(bench, "block_all")
        await throw(bench, "flatten", "strategy", bench.strategy)
        await bench.until("SELECT count(*) FROM interventions WHERE state = 'done'", 2)
    assert await bench.rows(FLAT) == [(0,)]


async def test_flatten_closes_what_a_deleted_subscription_has_left(bench):
    await bench.set_up(2)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(FILLED, 2)
        await bench.rows(
            "DELETE FROM subscriptions WHERE account_id = %s RETURNING 1", bench.accounts[0]
        )
        await bench.rows("UPDATE strategies SET archived_at = now() RETURNING 1")
        await throw(bench, "flatten", "account", bench.accounts[0])
        await bench.until(STATE, "done")
    left = await bench.rows("SELECT account_id FROM positions WHERE qty <> 0")
    assert left == [(bench.accounts[1],)]


async def test_flatten_of_an_account_leaves_the_others_and_another_tenant_alone(bench, database):
    other = Bench(database)
    await bench.set_up(3)
    await other.set_up(2, tenant="Other")
    async with bench.worker():
        await bench.signal(quantity=2)
        await other.signal(quantity=3)
        await bench.until(FILLED, 5)
        await throw(bench, "flatten", "account", bench.accounts[1])
        await bench.until(STATE, "done")
        await other.signal(action="sell", quantity=1)
        await bench.until("SELECT count(*) FROM positions WHERE qty = -1", 2)
    left = await bench.rows(
        "SELECT qty FROM positions WHERE strategy_id = %s ORDER BY account_id", bench.strategy
    )
    assert left == [(Decimal(2),), (Decimal(0),), (Decimal(2),)]
    kept = await bench.rows(
        "SELECT tenant_id, origin, accounts FROM signals WHERE origin <> 'hook'"
    )
    assert kept == [(bench.scope.tenant_id, "kill_switch", [bench.accounts[1]])]


async def test_what_a_refused_or_lost_exit_leaves_gets_another_round(bench):
    await bench.set_up(2)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(FILLED, 2)
        bench.broker.faults.extend(["reject", "reject", "lost_before", "reject"])
        await throw(bench, "flatten")
        await bench.until(STATE, "done", 15)
    assert await bench.rows(FLAT) == [(0,)]
    assert set(bought(bench).values()) == {Decimal(0)}
    rounds = await bench.rows("SELECT round FROM intervention_exits ORDER BY round")
    assert [number for (number,) in rounds] == list(range(1, len(rounds) + 1))
    assert len(rounds) > 1


async def test_an_exit_is_not_sized_by_openings_that_will_be_denied(bench):
    """Two lots are held, three more wait in the lane: two are closed, never five."""
    await bench.set_up(1, allow_add_to_position=True)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(FILLED, 1)
        bench.broker.delay_s = 0.4
        await queued_after_one(bench)
        await throw(bench, "flatten")
        await bench.until(STATE, "done", 15)
    assert await bench.rows(FLAT) == [(0,)]
    held = Decimal(0)
    for order in bench.broker.executed:
        held += order.order_qty if order.side == "buy" else -order.order_qty
        assert held >= 0, "more was closed than was held"


async def queued_after_one(bench: Bench) -> None:
    for _ in range(3):
        await bench.signal(quantity=1)
    await bench.until("SELECT count(*) FROM orders", 4)


async def test_a_released_flatten_sends_no_more_exits(bench, monkeypatch):
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(FILLED, 1)
        bench.broker.faults.extend(["reject"] * 100)
        await throw(bench, "flatten")
        await bench.until("SELECT count(*) > 1 FROM intervention_exits", True)
        await release(bench)
        sent = await bench.rows("SELECT count(*) FROM intervention_exits")
        await asyncio.sleep(2.5)
        assert await bench.rows("SELECT count(*) FROM intervention_exits") == sent
    assert await bench.rows(STATE) == [("released",)]


async def test_a_flatten_that_is_not_done_in_time_tells_somebody_once(bench, monkeypatch):
    monkeypatch.setattr(interventions, "LATE_S", 0.5)
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(FILLED, 1)
        bench.broker.faults.extend(["reject"] * 100)
        await throw(bench, "flatten")
        await bench.until("SELECT count(*) FROM interventions WHERE late_at IS NOT NULL", 1)
        await asyncio.sleep(1.0)
    told = [
        json.loads(bytes(payload))
        for (payload,) in await bench.rows(
            "SELECT payload FROM audit_inbox WHERE kind = 'kill_switch'"
        )
    ]
    assert [(t["event"], t["positions_remaining"]) for t in told] == [("intervention.late", 1)]


async def test_the_platforms_flatten_reaches_every_customer_once(bench, database):
    other = Bench(database)
    await bench.set_up(2)
    await other.set_up(1, tenant="Other")
    async with bench.worker(name="w1"), bench.worker(name="w2"):
        await bench.signal(quantity=2)
        await other.signal(quantity=3)
        await bench.until(FILLED, 3)
        await bench.rows(
            "WITH p AS (INSERT INTO tenants (tenant_id, name, kind, state) VALUES"
            " (gen_random_uuid(), 'platform', 'platform', 'reducing') RETURNING tenant_id)"
            " INSERT INTO interventions (intervention_id, tenant_id, part, level, scope, object_id,"
            " reason, by, at) SELECT gen_random_uuid(), tenant_id, 3, 'flatten', 'platform',"
            """ tenant_id, 'all out', '{"kind": "human", "id": "o"}', now() FROM p RETURNING 1"""
        )
        await bench.until("SELECT count(*) FROM interventions WHERE state = 'done'", 3, 15)
    assert await bench.rows(FLAT) == [(0,)]
    assert await bench.rows(
        "SELECT count(*), count(DISTINCT tenant_id), count(parent_id) FROM interventions"
    ) == [(3, 3, 2)]


async def test_the_switch_is_not_done_before_it_holds_everywhere(bench):
    """Nothing to cancel or to close, and still not done before the last worker has looked."""
    await bench.set_up(1)
    async with bench.worker():
        began = time.monotonic()
        await throw(bench, "flatten")
        await bench.until(STATE, "done")
    assert time.monotonic() - began >= HOLDS_EVERYWHERE_S


# ------------------------------------------------------------------ who may keep what

INSERT = """
INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, body, body_sha256,
                     traceparent, received_at, origin, accounts)
VALUES (gen_random_uuid(), %s, %s, %s, gen_random_uuid()::text, 1, '{}', sha256('{}'), 't', now(), %s, %s)"""


@pytest.mark.parametrize(
    ("role", "hook", "origin", "accounts", "may"),
    [
        ("worker", "~kill_switch", "kill_switch", [], True),
        ("worker", "~kill_switch", "hook", [], False),
        ("worker", "someones-hook", "kill_switch", [], False),
        ("worker", "~kill_switch", "kill_switch", None, False),
        ("ingress", "someones-hook", "hook", None, True),
        ("ingress", "~kill_switch", "kill_switch", [], False),
    ],
)
async def test_the_database_itself_lets_a_worker_keep_exits_and_ingress_senders_signals(
    bench, role, hook, origin, accounts, may
):
    await bench.set_up(1)
    database = await bench.open(role)
    values = (bench.scope.tenant_id, bench.strategy, hook, origin, accounts)
    try:
        async with database.tenant(bench.scope) as conn:
            if may:
                await conn.execute(INSERT, values)
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    async with conn.transaction():
                        await conn.execute(INSERT, values)
    finally:
        await database.close()


async def test_a_worker_keeps_no_exit_in_another_tenant(bench, database):
    other = Bench(database)
    await bench.set_up(1)
    await other.set_up(1, tenant="Other")
    worker = await bench.open("worker")
    values = (other.scope.tenant_id, other.strategy, "~kill_switch", "kill_switch", [])
    async with worker.tenant(bench.scope) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with conn.transaction():
                await conn.execute(INSERT, values)
    await worker.close()
