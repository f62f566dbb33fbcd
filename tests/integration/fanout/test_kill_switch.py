"""The kill switch in workers: what it stops that was planned already, what it cancels, what it closes."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from fanout import interventions
from fanout.intervention_rules import HOLDS_EVERYWHERE_S
from tests.integration.fanout.conftest import Bench
from tests.integration.fanout.thrown import release, throw

WITHIN_S = 1.0
"""The promise: so long after the halt's commit no worker begins to send what it forbids."""
FLAT = "SELECT count(*) FROM positions WHERE qty <> 0"
STATE = "SELECT state FROM interventions"
FILLED = "SELECT count(*) FROM orders WHERE state = 'filled'"


def submissions(bench: Bench) -> list[tuple[float, Any]]:
    """When each order went to the broker, and which."""
    seen: list[tuple[float, Any]] = []
    bench.broker.on_submit = lambda order: seen.append((time.monotonic(), order))
    return seen


async def queued(bench: Bench, signals: int) -> None:
    """Signals that open, each behind the other in its account's lane."""
    for _ in range(signals):
        await bench.signal(quantity=1)
    await bench.until("SELECT count(*) FROM signals WHERE state = 'planned'", signals)
    await bench.until("SELECT count(*) FROM plan_parts", 0)


@pytest.mark.parametrize("level", ["no_open", "block_all"])
async def test_what_waits_in_lanes_is_not_sent_a_second_after_the_switch_on_any_worker(
    bench, level
):
    """Six orders for each account, a broker that takes 0.4 s for each, two workers, no Redis."""
    await bench.set_up(8, allow_add_to_position=True)
    seen = submissions(bench)
    async with bench.worker(name="w1") as w1, bench.worker(name="w2") as w2:
        await bench.until("SELECT count(DISTINCT holder) FROM leases WHERE expires_at > now()", 2)
        bench.broker.delay_s = 0.4
        await queued(bench, 6)
        thrown = await throw(bench, level)
        at = time.monotonic()
        open_now = "SELECT count(*) FROM orders WHERE state IN ('intent', 'new', 'in_doubt')"
        await bench.until(open_now, 0, 10)
        assert w1.leases.parts()
        assert w2.leases.parts()
    assert seen, "some went out before"
    assert max(moment for moment, _ in seen) < at + WITHIN_S
    states = dict(await bench.rows("SELECT state, count(*) FROM orders GROUP BY state"))
    assert states["denied"] > 20
    assert states["denied"] + states["filled"] == 48
    named = await bench.rows(
        "SELECT DISTINCT intervention_id, split_part(text, ':', 1) FROM orders WHERE state = 'denied'"
    )
    code = "tenant_halted" if level == "block_all" else "reduce_only"
    assert named == [(thrown, code)]


async def test_every_denied_order_has_a_record_that_names_the_intervention(bench):
    await bench.set_up(3, allow_add_to_position=True)
    async with bench.worker():
        bench.broker.delay_s = 0.3
        await queued(bench, 3)
        thrown = await throw(bench, "block_all", "strategy", bench.strategy)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 0)
    denied = await bench.rows("SELECT order_id FROM orders WHERE state = 'denied' ORDER BY 1")
    told = [
        (oid, json.loads(bytes(payload)))
        for oid, payload in await bench.rows(
            "SELECT oid, payload FROM audit_inbox WHERE kind = 'order.close' ORDER BY oid"
        )
    ]
    stopped = [(oid, p) for oid, p in told if p["state"] == "denied"]
    assert [(oid,) for oid, _ in stopped] == denied != []
    assert {p["intervention"] for _, p in stopped} == {str(thrown)}
    assert {p["code"] for _, p in stopped} == {"strategy_halted"}


async def test_under_no_open_a_close_that_waits_in_its_lane_is_sent(bench):
    await bench.set_up(2, allow_add_to_position=True)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(FILLED, 2)
        bench.broker.delay_s = 0.3
        await bench.signal(quantity=1)
        await bench.signal(action="exit")
        await bench.until("SELECT count(*) FROM orders", 6)
        await throw(bench, "no_open")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 0)
    exits = await bench.rows("SELECT state FROM orders WHERE reduce_only")
    assert exits == [("filled",), ("filled",)]


async def test_the_opening_leg_of_a_flip_is_denied_and_the_closing_one_is_not(bench):
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(FILLED, 1)
        bench.broker.delay_s = 0.4
        await bench.signal(action="sell", quantity=3)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'waiting'", 1)
        await throw(bench, "no_open", "account", bench.accounts[0])
        await bench.until("SELECT count(*) FROM orders WHERE state = 'denied'", 1)
    assert await bench.rows("SELECT qty FROM positions") == [(Decimal(0),)]


@pytest.mark.parametrize("whose", ["tenant", "platform"])
async def test_an_instrument_is_halted_for_a_tenant_or_for_everybody(bench, whose):
    await bench.set_up(1)
    async with bench.worker() as worker:
        if whose == "tenant":
            await throw(bench, "block_all", "instrument", broker="gateio", symbol="BTC_USDT")
        else:
            await bench.rows(
                "WITH p AS (INSERT INTO tenants (tenant_id, name, kind) VALUES"
                " (gen_random_uuid(), 'platform', 'platform') RETURNING tenant_id)"
                " INSERT INTO instrument_halts (instrument_id, tenant_id, broker, symbol, state)"
                " SELECT gen_random_uuid(), tenant_id, 'gateio', 'BTC_USDT', 'halted' FROM p RETURNING 1"
            )
        await worker.switch.read()
        (stop,) = worker.switch.stops._by_key.values()
        assert stop.what == ("instrument" if whose == "tenant" else "platform_instrument")
        assert (stop.broker, stop.symbol, stop.state) == ("gateio", "BTC_USDT", "halted")
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM signals WHERE state = 'planned'", 1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 0)
    assert bench.broker.executed == []


# ------------------------------------------------------------------ cancel_open


async def test_cancel_open_cancels_what_rests_and_what_is_held_and_leaves_protection(bench):
    await bench.set_up(3)
    async with bench.worker():
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 3)
        held = "'held', cl_ord_id || 'h', order_id || 'h', 'main'"
        stop = "'held', cl_ord_id || 's', order_id || 's', 'stop'"
        for leg, values in enumerate((held, stop), start=2):
            await bench.rows(
                "INSERT INTO orders (state, cl_ord_id, order_id, role, tenant_id, signal_id, strategy_id,"
                " account_id, part, leg, attempt, place, broker, symbol, side, order_qty, ord_type,"
                " time_in_force, deadline, epoch, traceparent, intent_at)"
                f" SELECT {values}, tenant_id, signal_id, strategy_id, account_id, part, {leg}, 1, place,"
                " broker, symbol, side, order_qty, 'stop', time_in_force, deadline, epoch, traceparent,"
                " intent_at FROM orders WHERE leg = 0 RETURNING 1"
            )
        thrown = await throw(bench, "cancel_open")
        await bench.until(STATE, "done")
    assert await bench.rows(
        "SELECT role, state, count(*) FROM orders GROUP BY role, state ORDER BY 1, 2"
    ) == [("main", "canceled", 6), ("stop", "held", 3)]
    named = "SELECT count(*) FROM orders WHERE intervention_id = %s AND state = 'canceled'"
    assert await bench.rows(named, thrown) == [(6,)]
    wished = "SELECT count(*) FROM audit_inbox WHERE kind = 'order.cancel'"
    assert await bench.rows(wished) == [(6,)]


async def test_cancel_open_reaches_an_order_that_was_on_its_way(bench):
    """It was submitted when the switch was thrown, and rests when its answer comes."""
    await bench.set_up(1)
    bench.broker.delay_s = 0.5
    async with bench.worker():
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 1)
        await throw(bench, "cancel_open", "strategy", bench.strategy)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 1)
        await bench.until(STATE, "done")


async def test_cancel_open_leaves_what_is_ordered_after_it(bench):
    """An exit that its sender wants at a limit, while only closing is allowed."""
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until(FILLED, 1)
        await throw(bench, "cancel_open")
        await bench.signal(action="exit", orderType="limit", limitPrice=90_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        await bench.until(STATE, "done")
    assert await bench.rows("SELECT count(*) FROM orders WHERE state = 'new'") == [(1,)]


# ------------------------------------------------------------------ flatten


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
