"""From a kept signal to filled orders, on a real database: once each, whatever the broker does."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal

import msgspec
import pytest

from tenancy.store.accounts import put_credential
from tests.fixtures.proving import prove_all

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"


def executed_orders(bench) -> Counter:
    """How often each (signal, account, leg) was executed at the broker."""
    return Counter((o.signal_id, o.account_id, o.leg) for o in bench.broker.executed)


async def test_one_signal_becomes_one_order_at_each_account(bench):
    await bench.set_up(12)
    signal = await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(DONE, 12)
    assert executed_orders(bench) == {(signal, account, 0): 1 for account in bench.accounts}
    positions = await bench.rows("SELECT account_id, qty, avg_px FROM positions")
    assert {row[0]: row[1:] for row in positions} == {
        account: (Decimal(2), Decimal(50_000)) for account in bench.accounts
    }
    assert await bench.rows("SELECT * FROM plan_parts") == []


async def test_every_step_is_in_the_audit_inbox(bench):
    await bench.set_up(2)
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(DONE, 2)
        await bench.until("SELECT count(*) FROM signal_outcomes WHERE done_at IS NOT NULL", 1)
    kinds = Counter(row[0] for row in await bench.rows("SELECT kind FROM audit_inbox"))
    assert kinds == {
        "signal.planned": 1,
        "limit.passed": 1,
        "signal.outcome": 1,
        "order.intent": 2,
        "order.sent": 2,
        "order.acknowledged": 2,
        "order.fill": 2,
        "order.close": 2,
        "account.reconciled": 2,
    }


async def test_accounts_trade_in_fan_out_order_that_rotates(bench):
    await bench.set_up(5, allow_add_to_position=True)
    async with bench.worker():
        for count in (1, 2):
            await bench.signal(quantity=1)
            await bench.until(DONE, 5 * count)
    places = await bench.rows(
        "SELECT account_id FROM orders JOIN plans USING (signal_id) ORDER BY rotation, place"
    )
    order = [row[0] for row in places]
    assert order[:5] == bench.accounts
    assert order[5:] == bench.accounts[1:] + bench.accounts[:1]


async def test_lost_answer_is_in_doubt_and_is_not_sent_again(bench):
    """The broker took the order and fell silent: ask it later, never send again."""
    await bench.set_up(3)
    bench.broker.faults.extend(["lost_after", "raise", "ok"])
    bench.broker.finds.extend(["unproven", "unproven"])
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(DONE, 3)
    assert set(executed_orders(bench).values()) == {1}
    assert await bench.rows("SELECT count(*) FROM orders") == [(3,)]
    kinds = Counter(row[0] for row in await bench.rows("SELECT kind FROM audit_inbox"))
    assert kinds["order.in_doubt"] == 2
    assert kinds["order.resolved"] == 2


async def test_an_order_proven_absent_is_sent_as_a_new_attempt(bench):
    await bench.set_up(1)
    bench.broker.faults.append("lost_before")
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(DONE, 1)
    rows = await bench.rows("SELECT attempt, state FROM orders ORDER BY attempt")
    assert rows == [(1, "absent"), (2, "filled")]
    assert set(executed_orders(bench).values()) == {1}


async def test_why_another_attempt_was_allowed_is_in_the_audit_log(bench):
    """An intent that a dead worker left was never called in doubt; its proof of absence is told."""
    await bench.set_up(1)
    bench.broker.faults.append("hang_unsent")
    await bench.signal(quantity=2)
    async with bench.crashing_worker(name="w1") as crash:
        await bench.hung()
        await crash()
    async with bench.worker(name="w2"):
        await bench.until(DONE, 1)
    told = await bench.rows(
        "SELECT kind, payload FROM audit_inbox WHERE oid IS NOT NULL ORDER BY seq"
    )
    assert [kind for kind, _ in told] == [
        "order.intent", "order.resolved", "order.intent", "order.sent", "order.acknowledged",
        "order.fill", "order.close",
    ]  # fmt: skip
    assert json.loads(bytes(told[1][1]))["text"] == "asked twice"


async def test_unsent_is_sent_again_under_the_same_name(bench):
    await bench.set_up(1)
    bench.broker.faults.extend(["unsent", "unsent"])
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(DONE, 1)
    assert await bench.rows("SELECT attempt, state FROM orders") == [(1, "filled")]


async def test_a_refusal_is_final_and_keeps_the_brokers_words(bench):
    await bench.set_up(1)
    bench.broker.faults.append("reject")
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until("SELECT count(*) FROM orders WHERE state = 'rejected'", 1)
    assert await bench.rows("SELECT text FROM orders") == [("INSUFFICIENT_AVAILABLE: not enough",)]
    assert bench.broker.executed == []


async def test_a_flip_closes_then_opens_as_one_intent(bench):
    await bench.set_up(2)
    async with bench.worker():
        await bench.signal(quantity=3)
        await bench.until(DONE, 2)
        await bench.signal(action="sell", quantity=5)
        await bench.until(DONE, 6)
    positions = await bench.rows("SELECT qty FROM positions")
    assert positions == [(Decimal(-5),), (Decimal(-5),)]
    legs = [(o.leg, o.order_qty, o.reduce_only) for o in bench.broker.executed if o.side == "sell"]
    assert sorted(legs) == [(0, 3, True), (0, 3, True), (1, 5, False), (1, 5, False)]


async def test_the_second_leg_of_a_flip_is_denied_when_the_first_does_not_close(bench):
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=3)
        await bench.until(DONE, 1)
        bench.broker.faults.append("reject")
        await bench.signal(action="sell", quantity=5)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'denied'", 1)
    assert await bench.rows("SELECT qty FROM positions") == [(Decimal(3),)]


async def test_signals_of_one_strategy_see_the_positions_of_the_one_before(bench):
    """Two buys at once: the second finds the first one's position and does nothing."""
    await bench.set_up(4)
    bench.broker.delay_s = 0.05
    for _ in range(3):
        await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until("SELECT count(*) FROM signals WHERE state = 'planned'", 3)
        await bench.until(DONE, 4)
    assert len(bench.broker.executed) == 4


async def test_resting_orders_are_followed_and_cancelled_by_the_next_signal(bench):
    await bench.set_up(2)
    async with bench.worker():
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 2)
        await bench.signal(quantity=1)
        await bench.until(DONE, 2)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 2)


async def test_cancel_action_sends_nothing_new(bench):
    await bench.set_up(2)
    async with bench.worker():
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 2)
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 2)
    assert await bench.rows("SELECT count(*) FROM orders") == [(2,)]


@pytest.mark.parametrize(("fault", "settled"), [("hang", 3), ("lost_before", 4)])
async def test_a_worker_that_dies_mid_flight_leaves_doubt_that_the_next_one_settles(
    bench, fault, settled
):
    """The first worker is cut off while its orders are under way; nothing is sent blindly."""
    await bench.set_up(6)
    bench.broker.faults.extend(["ok", "hang", "ok", fault, "hang"])
    signal = await bench.signal(quantity=2)
    async with bench.crashing_worker() as crash:
        await bench.until(DONE, settled)
        await crash()
    async with bench.worker(name="w2"):
        await bench.until("SELECT count(DISTINCT order_id) FROM orders WHERE state = 'filled'", 6)
    assert executed_orders(bench) == {(signal, account, 0): 1 for account in bench.accounts}


async def test_two_workers_share_the_partitions_and_never_an_order(bench):
    await bench.set_up(20, allow_add_to_position=True)
    bench.broker.delay_s = 0.01
    async with bench.worker(name="w1") as first, bench.worker(name="w2") as second:
        await asyncio.sleep(1.0)
        for _ in range(5):
            await bench.signal(quantity=1)
        await bench.until(DONE, 100)
        assert len(first.leases.parts()) == len(second.leases.parts()) == 8
        assert not set(first.leases.parts()) & set(second.leases.parts())
    assert set(executed_orders(bench).values()) == {1}


async def test_every_accounts_equity_is_kept_and_kept_fresh(bench):
    """One statement for all accounts of a tenant; the second round replaces the first's rows."""
    await bench.set_up(accounts=3)
    async with bench.worker():
        await bench.until(
            "SELECT count(*) FROM balances WHERE equity = 20000 AND unrealised = -50", 3
        )
        before = (await bench.rows("SELECT min(as_of) FROM balances"))[0][0]
        await bench.until(f"SELECT count(*) FROM balances WHERE as_of > '{before}'", 3)


async def test_an_account_without_a_key_is_not_asked_about(bench):
    """A new customer's wait for their keys: a question for each in every round would be a flood of warnings."""
    await bench.set_up(accounts=2)
    keyless, keyed = bench.accounts
    bench.broker.caps = msgspec.structs.replace(bench.broker.caps, credential=True)
    admin = await bench.open("admin")
    async with admin.tenant(bench.scope) as conn:
        await put_credential(conn, bench.scope, keyed, broker="gateio", api_key="k", sealed=b"row")
    await admin.close()
    await prove_all(bench.made)
    async with bench.worker():
        await bench.until("SELECT count(*) FROM balances", 1)
        (first,) = await bench.rows("SELECT account_id, as_of FROM balances")
        await bench.until(f"SELECT count(*) FROM balances WHERE as_of > '{first[1]}'", 1)
    assert keyless not in {
        account for account, _ in await bench.rows("SELECT account_id, as_of FROM balances")
    }
