"""A yes trades once: however many come at a time, whatever dies, whoever plans meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from fanout import approvals
from fanout.intend import Intender
from fanout.intend_approved import ApprovedIntender
from tenancy.errors import Unavailable
from tests.fakes.commits import UnknownCommit
from tests.integration.fanout.asking import (
    DONE,
    LEFT,
    answer,
    asked,
    asking,
    change,
    kinds,
)
from tests.plans import by_account


async def test_many_yeses_at_once_are_all_carried_out(bench, admin):
    await asking(bench, 12)
    async with bench.worker():
        signal = await asked(bench)
        await asyncio.gather(*(answer(bench, admin, signal, a) for a in bench.accounts))
        await bench.until(DONE, 12)
        await bench.until(LEFT, 0)
    assert len(bench.broker.executed) == 12


async def test_several_yeses_in_one_transaction_are_all_carried_out(bench, admin):
    await asking(bench, 4)
    async with bench.worker():
        signal = await asked(bench)
        async with admin.tenant(bench.scope) as conn:
            for account in bench.accounts:
                await approvals.approve(conn, bench.scope, signal, account, datetime.now(UTC))
        await bench.until(DONE, 4)
        await bench.until(LEFT, 0)


async def test_two_yeses_at_the_same_time_are_one(bench, admin):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        results = await asyncio.gather(
            *(answer(bench, admin, signal, bench.accounts[0]) for _ in range(5)),
            return_exceptions=True,
        )
        await bench.until(DONE, 1)
        await asyncio.sleep(0.2)
    assert sorted(type(r).__name__ for r in results) == ["AlreadyDecided"] * 4 + ["Decision"]
    assert len(bench.broker.executed) == 1
    assert await kinds(bench) == ["approval.asked", "approval.given"]


async def test_another_signals_trade_makes_the_earlier_question_void(bench, admin):
    """Two questions for one flat account: the second yes would stack on the first."""
    await asking(bench)
    async with bench.worker():
        first = await asked(bench)
        second = await asked(bench)
        await answer(bench, admin, first, bench.accounts[0])
        await bench.until(DONE, 1)
        made = await answer(bench, admin, second, bench.accounts[0])
    assert (made.state, made.why) == ("void", "position_changed")
    assert len(bench.broker.executed) == 1


async def test_two_questions_answered_before_either_is_carried_out_trade_once(bench, admin):
    await asking(bench)
    async with bench.worker():
        first = await asked(bench)
        second = await asked(bench)
    for signal in (first, second):
        assert (await answer(bench, admin, signal, bench.accounts[0])).state == "approved"
    async with bench.worker(name="w2"):
        await bench.until(LEFT, 0)
        await bench.until(DONE, 1)
    assert len(bench.broker.executed) == 1
    states = await bench.rows("SELECT state, why FROM signal_approvals ORDER BY state")
    assert states == [("approved", None), ("void", "position_changed")]


async def test_a_yes_does_not_repeat_what_the_plan_did_for_others(bench, admin):
    """The part comes back for one account: the others' orders and cancels are not done again."""
    await bench.set_up(6, allow_add_to_position=True)
    await change(
        admin, bench, "UPDATE subscriptions SET settings = %s::jsonb WHERE account_id = %s",
        '{"needs_approval": true, "allow_add_to_position": true}', bench.accounts[0],
    )  # fmt: skip
    # All accounts in one partition: what comes back is everybody's part.
    await bench.rows("UPDATE accounts SET part = 3 RETURNING 1")
    async with bench.worker():
        signal = await asked(bench)
        await bench.until(DONE, 5)
        # The later signal's orders rest; repeating the first one's cancel wishes would end them.
        await bench.signal(orderType="limit", limitPrice=49_000, quantity=1, cancel=False)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 5)
        await answer(bench, admin, signal, bench.accounts[0])
        await bench.until(DONE, 6)
        await asyncio.sleep(0.3)
    assert await bench.rows("SELECT count(*) FROM orders WHERE state = 'new'") == [(5,)]
    assert await bench.rows(DONE) == [(6,)]


@asynccontextmanager
async def crash_at(monkeypatch, name: str):
    """The worker's carrying out ends there, once, by an error; the rest goes on."""
    original = getattr(ApprovedIntender, name)
    crashed = asyncio.Event()

    async def wrapped(self, *args: Any, **kwargs: Any) -> Any:
        if not crashed.is_set():
            crashed.set()
            raise psycopg.OperationalError("cut")
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(ApprovedIntender, name, wrapped)
    yield crashed


async def test_an_error_before_the_orders_are_written_leaves_them_for_the_sweep(
    bench, admin, monkeypatch
):
    await asking(bench)
    async with bench.worker(), crash_at(monkeypatch, "_carry") as crashed:
        signal = await asked(bench)
        await answer(bench, admin, signal, bench.accounts[0])
        await bench.until(DONE, 1)
    assert crashed.is_set()
    assert len(bench.broker.executed) == 1


async def test_a_worker_that_dies_after_the_yes_leaves_it_to_the_next(bench, admin):
    await asking(bench)
    bench.broker.faults.append("hang_unsent")
    async with bench.crashing_worker(name="w1") as crash:
        signal = await asked(bench)
        await answer(bench, admin, signal, bench.accounts[0])
        await bench.hung()
        await crash()
    async with bench.worker(name="w2"):
        await bench.until(DONE, 1)
    assert len(bench.broker.executed) == 1
    attempts = await bench.rows("SELECT attempt, state FROM orders ORDER BY attempt")
    assert attempts == [(1, "absent"), (2, "filled")]


async def test_a_yes_whose_intents_commit_is_unknown_is_sent_once(bench, admin, monkeypatch):
    await asking(bench, 3)
    async with bench.worker():
        signal = await asked(bench)
        lost = UnknownCommit(monkeypatch, "SELECT FROM orders WHERE state = 'intent'")
        for account in bench.accounts:
            await answer(bench, admin, signal, account)
        await bench.until("SELECT count(DISTINCT order_id) FROM orders WHERE state = 'filled'", 3)
    assert lost.happened == 1
    assert len(bench.broker.executed) == 3


async def test_a_plan_takes_its_turn_after_a_yes_that_is_not_carried_out_yet(bench, admin):
    """The next signal is planned on the book that the yes leaves behind."""
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
    await answer(bench, admin, signal, bench.accounts[0])
    await bench.signal(action="exit")
    async with bench.worker(name="w2"):
        await bench.until("SELECT count(*) FROM plans", 2)
    plan = (await bench.rows("SELECT plan FROM plans ORDER BY rotation DESC LIMIT 1"))[0][0]
    assert by_account(plan)["entries"][0]["position"] == "2"


@pytest.mark.parametrize(
    "change_of_heart",
    [
        "UPDATE signal_approvals SET state = 'pending', decided_at = NULL RETURNING 1",
        "UPDATE signal_approvals SET state = 'rejected' RETURNING 1",
        "UPDATE signal_approvals SET carried_at = NULL RETURNING 1",
    ],
)
async def test_the_database_itself_refuses_a_second_answer(bench, admin, change_of_heart):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        await answer(bench, admin, signal, bench.accounts[0])
        await bench.until(DONE, 1)
    with pytest.raises(psycopg.errors.RaiseException):
        await bench.rows(change_of_heart)


async def test_the_admin_role_can_put_back_only_what_was_approved(bench, admin):
    await bench.set_up(1)
    async with bench.worker():
        signal = await bench.signal(quantity=1)
        await bench.until(DONE, 1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await change(
            admin, bench,
            "INSERT INTO plan_parts (signal_id, part, tenant_id, strategy_id, planned_at)"
            " VALUES (%s, 0, %s, %s, now())",
            signal, bench.scope.tenant_id, bench.strategy,
        )  # fmt: skip


@pytest.mark.usefixtures("intents_later")
async def test_a_yes_waits_until_what_was_planned_before_it_is_in_the_book(
    bench, admin, monkeypatch
):
    """A cancel that is planned and not carried out must not end the order that comes after it."""
    await asking(bench)
    stuck = True
    original = Intender.intend

    async def intend(self, *args: Any) -> None:
        if stuck:
            raise Unavailable("not now")
        await original(self, *args)

    monkeypatch.setattr(Intender, "intend", intend)
    async with bench.worker():
        signal = await asked(bench, orderType="limit", limitPrice=49_000)
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM plan_parts WHERE NOT approved", 1)
        await answer(bench, admin, signal, bench.accounts[0])
        await asyncio.sleep(0.4)
        assert await bench.rows("SELECT count(*) FROM orders") == [(0,)]
        stuck = False
        await bench.until(LEFT, 0)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        await asyncio.sleep(0.3)
    assert await bench.rows("SELECT state, cancel_requested_at FROM orders") == [("new", None)]


async def test_nobody_plans_while_somebody_answers(bench, admin):
    """The answer commits late; what is planned meanwhile would not have seen it."""
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        async with admin.tenant(bench.scope) as conn:
            await approvals.approve(conn, bench.scope, signal, bench.accounts[0], datetime.now(UTC))
            await bench.signal(action="exit")
            await asyncio.sleep(0.5)
            assert await bench.rows("SELECT count(*) FROM plans") == [(1,)]
        await bench.until("SELECT count(*) FROM plans", 2)
        await bench.until(DONE, 1)
    plan = (await bench.rows("SELECT plan FROM plans ORDER BY rotation DESC LIMIT 1"))[0][0]
    assert by_account(plan)["entries"][0]["position"] == "2"
