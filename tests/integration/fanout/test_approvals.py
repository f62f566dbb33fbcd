"""Signals by approval: a yes sends exactly what was asked about; everything else means no."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fanout import approvals
from fanout.approvals import AlreadyDecided, Decision
from tenancy.errors import NotFound
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.values import AccountID
from tests.integration.fanout.asking import (
    ASKED,
    DONE,
    LEFT,
    PERSON,
    STATES,
    answer,
    asked,
    asking,
    change,
    kinds,
)


async def test_nothing_is_sent_before_the_yes_and_exactly_what_was_asked_after_it(bench, admin):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        await asyncio.sleep(0.3)
        assert bench.broker.executed == []
        assert await bench.rows(LEFT) == [(0,)]
        before = datetime.now(UTC)
        made = await answer(bench, admin, signal, bench.accounts[0], comment="go")
        assert made == Decision(state="approved")
        await bench.until(DONE, 1)
    (order,) = bench.broker.executed
    assert (order.side, order.order_qty, order.leg) == ("buy", 2, 0)
    deadline = (await bench.rows("SELECT deadline FROM orders"))[0][0]
    assert before + timedelta(seconds=20) <= deadline <= datetime.now(UTC) + timedelta(seconds=20)
    assert await bench.rows(LEFT) == [(0,)]
    rows = await bench.rows("SELECT state, decided_by, comment, carried_at FROM signal_approvals")
    assert rows[0][:3] == ("approved", {"kind": "human", "id": "ann"}, "go")
    assert rows[0][3] is not None
    assert await kinds(bench) == ["approval.asked", "approval.given"]


async def test_the_audit_log_says_what_was_asked_and_who_answered(bench, admin):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        await answer(bench, admin, signal, bench.accounts[0], how=approvals.reject, comment="no")
    rows = await bench.rows(
        "SELECT act, acct, payload FROM audit_inbox WHERE starts_with(kind, 'approval.') ORDER BY seq"
    )
    question, refusal = (json.loads(bytes(row[2])) for row in rows)
    assert question["legs"] == refusal["legs"]
    assert question["legs"][0]["order_qty"] == "2"
    assert (refusal["state"], refusal["comment"]) == ("rejected", "no")
    assert json.loads(rows[1][0]) == {"kind": "human", "id": "ann"}
    assert {row[1] for row in rows} == {str(bench.accounts[0])}
    assert bench.broker.executed == []


async def test_each_account_is_asked_for_itself_and_others_trade_at_once(bench, admin):
    await asking(bench, 3)
    await change(
        admin, bench, "UPDATE subscriptions SET settings = '{}' WHERE account_id = %s",
        bench.accounts[1],
    )  # fmt: skip
    async with bench.worker():
        signal = await asked(bench)
        await bench.until(DONE, 1)
        assert bench.broker.executed[0].account_id == bench.accounts[1]
        await answer(bench, admin, signal, bench.accounts[2])
        await bench.until(DONE, 2)
    assert bench.broker.executed[1].account_id == bench.accounts[2]
    states = await bench.rows("SELECT account_id, state FROM signal_approvals")
    assert dict(states) == {bench.accounts[0]: "pending", bench.accounts[2]: "approved"}


@pytest.mark.parametrize("first", [approvals.approve, approvals.reject])
@pytest.mark.parametrize("second", [approvals.approve, approvals.reject])
async def test_an_answer_is_final(bench, admin, first, second):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        await answer(bench, admin, signal, bench.accounts[0], how=first)
        with pytest.raises(AlreadyDecided):
            await answer(bench, admin, signal, bench.accounts[0], how=second)


async def test_nobody_answers_what_was_not_asked(bench, admin):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        with pytest.raises(NotFound):
            await answer(bench, admin, signal, AccountID(new_id()))
        stranger = TenantScope(tenant_id=new_id(), actor=PERSON)
        async with admin.tenant(stranger) as conn:
            with pytest.raises(NotFound):
                await approvals.approve(
                    conn, stranger, signal, bench.accounts[0], datetime.now(UTC)
                )


@pytest.mark.parametrize("how", [approvals.approve, approvals.reject])
async def test_an_answer_that_comes_too_late_is_none(bench, admin, how):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        late = datetime.now(UTC) + timedelta(minutes=11)
        made = await answer(bench, admin, signal, bench.accounts[0], how=how, at=late)
        assert made.state == "expired"
        await asyncio.sleep(0.2)
    assert bench.broker.executed == []
    assert await kinds(bench) == ["approval.asked", "approval.expired"]


async def test_a_question_nobody_answers_is_ended_by_the_sweep(bench, admin):
    await asking(bench, 2)
    async with bench.worker():
        await asked(bench)
        await bench.rows(
            "UPDATE signal_approvals SET expires_at = now() WHERE account_id = %s RETURNING 1",
            bench.accounts[0],
        )
        await bench.until("SELECT count(*) FROM signal_approvals WHERE state = 'expired'", 1)
    assert await bench.rows(ASKED) == [(1,)]
    assert await kinds(bench) == ["approval.asked"] * 2 + ["approval.expired"]


MEANWHILE = {
    "the tenant is halted": ("UPDATE tenants SET state = 'halted'", "tenant_halted"),
    "the strategy is halted": ("UPDATE strategies SET state = 'halted'", "strategy_halted"),
    "the account is halted": ("UPDATE accounts SET state = 'halted'", "account_halted"),
    "the strategy only reduces": ("UPDATE strategies SET state = 'reducing'", "reduce_only"),
    "the account is archived": ("UPDATE accounts SET archived_at = now()", "archived"),
    "the subscription is off": (
        "UPDATE subscriptions SET enabled = false", "subscription_disabled",
    ),
    "the subscription is gone": ("DELETE FROM subscriptions", "no_subscription"),
    "a limit was set": (
        """UPDATE tenants SET limits = '{"max_order_quantity": "100"}'""", "terms_changed",
    ),
    "a setting was changed": (
        "UPDATE subscriptions SET settings = settings || '{\"direction\": \"long\"}'",
        "terms_changed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MEANWHILE)
async def test_what_happens_before_the_yes_makes_it_void(bench, admin, case):
    query, why = MEANWHILE[case]
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        await change(admin, bench, query)
        made = await answer(bench, admin, signal, bench.accounts[0])
        await asyncio.sleep(0.2)
    assert (made.state, made.why) == ("void", why)
    assert made.text
    assert await bench.rows(STATES) == [("void", why)]
    assert bench.broker.executed == []
    assert await kinds(bench) == ["approval.asked", "approval.refused"]


@pytest.mark.parametrize("case", MEANWHILE)
async def test_what_happens_between_the_yes_and_the_order_makes_it_void(bench, admin, case):
    query, why = MEANWHILE[case]
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
    await answer(bench, admin, signal, bench.accounts[0])
    await change(admin, bench, query)
    async with bench.worker(name="w2"):
        await bench.until(LEFT, 0)
    assert await bench.rows(STATES) == [("void", why)]
    assert bench.broker.executed == []
    assert await kinds(bench) == ["approval.asked", "approval.given", "approval.refused"]


async def test_a_yes_that_is_carried_out_too_late_opens_nothing(bench, admin):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
    long_ago = datetime.now(UTC) - timedelta(seconds=21)  # the window is 20 s
    await answer(bench, admin, signal, bench.accounts[0], at=long_ago)
    async with bench.worker(name="w2"):
        await bench.until(LEFT, 0)
    assert await bench.rows(STATES) == [("void", "too_late")]
    assert bench.broker.executed == []


async def test_an_exit_is_asked_about_and_carried_out_whenever_the_yes_comes(bench, admin):
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=3)
        await bench.until(DONE, 1)
        await change(
            admin, bench, "UPDATE subscriptions SET settings = '{\"needs_approval\": true}'"
        )
        signal = await asked(bench, action="exit", quantity=None)
    await answer(
        bench, admin, signal, bench.accounts[0], at=datetime.now(UTC) - timedelta(seconds=60)
    )
    async with bench.worker(name="w2"):
        await bench.until(DONE, 2)
    assert await bench.rows("SELECT sum(qty) FROM positions") == [(Decimal(0),)]


async def test_a_flip_that_was_approved_closes_and_then_opens(bench, admin):
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=3)
        await bench.until(DONE, 1)
        await change(
            admin, bench, "UPDATE subscriptions SET settings = '{\"needs_approval\": true}'"
        )
        signal = await asked(bench, action="sell", quantity=5)
        await answer(bench, admin, signal, bench.accounts[0])
        await bench.until(DONE, 3)
    assert [(o.leg, o.order_qty) for o in bench.broker.executed] == [(0, 3), (0, 3), (1, 5)]


async def test_open_orders_are_cancelled_with_the_yes_and_not_before(bench, admin):
    await asking(bench, allow_add_to_position=True)
    async with bench.worker():
        resting = await asked(bench, orderType="limit", limitPrice=49_000)
        await answer(bench, admin, resting, bench.accounts[0])
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        signal = await asked(bench)
        await asyncio.sleep(0.2)
        assert await bench.rows("SELECT state FROM orders") == [("new",)]
        await answer(bench, admin, signal, bench.accounts[0])
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 1)
        await bench.until(DONE, 1)
