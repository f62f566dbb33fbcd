"""The kill switch in workers: what it stops that was planned already, what it cancels, what it closes."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.fanout.conftest import Bench
from tests.integration.fanout.thrown import throw

WITHIN_S = 1.0
"""The promise: so long after the halt's commit no worker begins to send what it forbids."""
STATE = "SELECT state FROM interventions"
FILLED = "SELECT count(*) FROM orders WHERE state = 'filled'"


def submissions(bench: Bench) -> list[tuple[float, Any]]:
    """When each order went to the broker, and which."""
    seen: list[tuple[float, Any]] = []
    bench.broker.on_submit = lambda order: seen.append((time.monotonic(), order))
    return seen


async def queued(bench: Bench, signals: int) -> None:
    """Signals that open, each behind the other in its account's lane; the first orders have just left."""
    all_there, left = asyncio.Event(), asyncio.Event()
    turn, submit = bench.broker.turn, bench.broker.submit

    async def held(account, *, closes=False):
        await all_there.wait()
        await turn(account, closes=closes)

    async def noted(account, order, *, not_after):
        left.set()
        return await submit(account, order, not_after=not_after)

    bench.broker.turn, bench.broker.submit = held, noted
    for _ in range(signals):
        await bench.signal(quantity=1)
    await bench.until("SELECT count(*) FROM signals WHERE state = 'planned'", signals)
    await bench.until("SELECT count(*) FROM plan_parts", 0)
    all_there.set()
    await left.wait()


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
        # Protection ends where its position is flat: these stops buy, so there is a short one.
        await bench.rows(
            "INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, avg_px, updated_at)"
            " SELECT account_id, strategy_id, symbol, tenant_id, -1, 50000, now() FROM orders RETURNING 1"
        )
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
