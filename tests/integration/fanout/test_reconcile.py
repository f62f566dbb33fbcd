"""Reconciliation on a real database: nothing opens before book and broker agree, and each drift has a cause."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout.order import OrdState
from fanout.ports import Report
from tenancy.ids import new_id
from tenancy.values import partition
from tests.integration.fanout.conftest import SETTINGS, Bench

STATES = "SELECT count(*) FROM reconciliations WHERE state = '{}'"
QUICK = msgspec.structs.replace(SETTINGS, reconcile_s=0.2)
SHORT = msgspec.structs.replace(QUICK, open_window_s=1.5)


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.settings = QUICK
    return bench


async def records(bench: Bench, kind: str) -> list[dict[str, Any]]:
    rows = await bench.rows("SELECT payload FROM audit_inbox WHERE kind = %s ORDER BY seq", kind)
    return [json.loads(bytes(row[0])) for row in rows]


async def decide(bench: Bench, what: str, reason: str = "looked into") -> None:
    """As the admin API keeps a person's decision."""
    await bench.rows(
        "INSERT INTO drift_decisions (tenant_id, decision_id, drift_id, part, decision, reason, by)"
        " SELECT tenant_id, %s, drift_id, part, %s, %s, '{\"kind\": \"human\", \"id\": \"ann\"}'"
        " FROM drifts WHERE state = 'open' RETURNING 1",
        new_id(), what, reason,
    )  # fmt: skip


async def hold(bench: Bench, lots: int) -> None:
    """What a run before left in the book."""
    await bench.rows(
        "INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, avg_px, updated_at)"
        " VALUES (%s, %s, 'BTC_USDT', %s, %s, 50000, now()) RETURNING 1",
        bench.accounts[0], bench.strategy, bench.scope.tenant_id, lots,
    )  # fmt: skip


async def _any(bench: Bench) -> None:
    """Until a drift was found."""
    await bench.until("SELECT count(*) FROM drifts", 1)


def by_hand(bench: Bench, lots: int, account: int = 0) -> None:
    bench.broker.by_hand[bench.accounts[account]] = {"BTC_USDT": Decimal(lots)}


async def test_accounts_with_nothing_on_either_side_agree_before_any_signal(bench):
    await bench.set_up(3)
    async with bench.worker():
        await bench.until(STATES.format("agreed"), 3)
    told = await records(bench, "account.reconciled")
    assert {one["account_id"] for one in told} == set(map(str, bench.accounts))


async def test_agreement_is_told_once_in_a_lease_and_asked_for_again_and_again(bench):
    await bench.set_up(1)
    async with bench.worker():
        await bench.until(STATES.format("agreed"), 1)
        ((before,),) = await bench.rows("SELECT at FROM reconciliations")
        await bench.until(f"SELECT count(*) FROM reconciliations WHERE at > '{before}'", 1)
    assert len(await records(bench, "account.reconciled")) == 1


async def test_what_opens_waits_until_the_book_agrees_and_then_goes(bench):
    await bench.set_up(1)
    by_hand(bench, 5)
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM drifts WHERE state = 'open'", 1)
        assert bench.broker.executed == []
        bench.broker.by_hand.clear()
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    assert len(bench.broker.executed) == 1
    assert await bench.rows("SELECT state FROM drifts") == [("closed",)]
    (closed,) = await records(bench, "drift.closed")
    assert closed["subject"] == "BTC_USDT"


async def test_an_account_that_an_order_waits_for_is_asked_about_once_at_a_time(bench):
    await bench.set_up(1)
    under_way: list[int] = [0]
    asked = bench.broker.open_orders

    async def slow(account):
        under_way.append(under_way[-1] + 1)
        await asyncio.sleep(0.2)
        under_way.append(under_way[-1] - 1)
        return await asked(account)

    bench.broker.open_orders = slow
    by_hand(bench, 5)  # the account is looked at again and again while the order waits
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM drifts WHERE state = 'open'", 1)
        bench.broker.by_hand.clear()
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    assert max(under_way) == 1
    assert len(await records(bench, "account.reconciled")) == 1


async def test_what_opens_ends_at_its_deadline_where_the_book_never_agrees(bench):
    bench.settings = SHORT
    await bench.set_up(1)
    by_hand(bench, 5)
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'unsent'", 1)
    ((text,),) = await bench.rows("SELECT text FROM orders")
    assert text.startswith("not_reconciled: ")
    assert bench.broker.executed == []


async def test_what_closes_goes_while_the_book_disagrees(bench):
    await bench.set_up(1)
    await hold(bench, 3)
    by_hand(bench, 4)
    async with bench.worker():
        await bench.until("SELECT count(*) FROM drifts WHERE state = 'open'", 1)
        await bench.signal(action="exit")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    (sent,) = bench.broker.executed
    assert (sent.reduce_only, sent.side, sent.order_qty) == (True, "sell", Decimal(3))


async def test_a_broker_that_is_away_opens_nothing_and_says_so(bench):
    bench.settings = SHORT
    await bench.set_up(1)
    bench.broker.away = True
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'unsent'", 1)
        await bench.until(STATES.format("unknown"), 1)
    ((text,),) = await bench.rows("SELECT text FROM orders")
    assert "does not answer" in text


async def test_what_agreed_goes_on_while_the_broker_cannot_be_asked(bench):
    await bench.set_up(1)
    async with bench.worker():
        await bench.until(STATES.format("agreed"), 1)
        bench.broker.away = True
        await bench.until(STATES.format("unknown"), 1)
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)


async def test_a_drift_under_way_is_told_once_and_trading_goes_on(bench):
    await bench.set_up(1)
    async with bench.worker():
        await bench.until(STATES.format("agreed"), 1)
        by_hand(bench, 5)
        await bench.until(STATES.format("differs"), 1)
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    assert len([one for one in await records(bench, "drift.found") if one["theirs"] == "5"]) == 1


async def test_an_order_that_somebody_else_placed_is_a_manual_order_until_it_is_set_aside(bench):
    await bench.set_up(1)
    bench.broker.strangers[bench.accounts[0]] = [
        Report(
            cl_ord_id="web", broker_order_id="b99", ord_status=OrdState.NEW, cum_qty=Decimal(0),
            avg_px=None, text="", transact_time=datetime.now(UTC), raw=b"{}",
        )
    ]  # fmt: skip
    async with bench.worker():
        await _any(bench)
        assert await bench.rows("SELECT cause FROM drifts") == [("manual_order",)]
        await bench.signal(quantity=1)
        await decide(bench, "set_aside", "the client's own order")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    (told,) = await records(bench, "drift.explained")
    assert told["why"] == "the client's own order"


async def test_a_fill_that_was_missed_is_found_by_asking_and_is_no_drift(bench):
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 1)
        (order,) = bench.broker.executed
        bench.broker.fill(order, order.order_qty)  # the cancel crossed it, whatever was said then
        await bench.until("SELECT count(*) FROM positions WHERE qty = 1", 1)
        await bench.until(STATES.format("agreed"), 1)
    assert await bench.rows("SELECT 1 FROM drifts") == []


async def test_an_accepted_drift_sets_the_book_and_says_who_did(bench):
    await bench.set_up(1)
    await hold(bench, 3)
    by_hand(bench, 5)
    async with bench.worker():
        await _any(bench)
        await decide(bench, "accept", "the client bought two")
        await bench.until(STATES.format("agreed"), 1)
    assert await bench.rows("SELECT qty FROM positions") == [(Decimal(5),)]
    (told,) = await records(bench, "position.adjusted")
    assert (told["was_qty"], told["qty"], told["why"]) == ("3", "5", "the client bought two")
    ((act,),) = await bench.rows("SELECT act FROM audit_inbox WHERE kind = 'position.adjusted'")
    assert json.loads(act)["id"] == "ann"


async def test_a_corrected_drift_brings_the_broker_to_the_book_once(bench):
    await bench.set_up(
        1,
        allow_add_to_position=False,
        override_quantity=Decimal(7),
        override_quantity_type="multiplier",
    )
    await hold(bench, 5)
    by_hand(bench, 3)
    async with bench.worker():
        await _any(bench)
        await decide(bench, "correct")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        await bench.until(STATES.format("agreed"), 1)
    (sent,) = bench.broker.executed
    assert (sent.side, sent.order_qty) == ("buy", Decimal(2))
    assert await bench.rows("SELECT qty FROM positions") == [(Decimal(5),)]
    assert await bench.rows("SELECT state FROM drifts") == [("corrected",)]
    assert await bench.rows("SELECT origin, message_id::uuid = drift_id FROM signals, drifts") == [
        ("reconciliation", True)
    ]


async def test_in_hedge_mode_a_difference_is_not_put_right_by_an_order(bench):
    await bench.set_up(1)
    await bench.rows('UPDATE accounts SET settings = \'{"position_mode": "hedge"}\' RETURNING 1')
    await hold(bench, 5)
    by_hand(bench, 3)
    async with bench.worker():
        await _any(bench)
        await decide(bench, "correct")
        await bench.until("SELECT count(*) FROM drift_decisions WHERE done_at IS NOT NULL", 1)
    ((outcome,),) = await bench.rows("SELECT outcome FROM drift_decisions")
    assert "does not say which side is wrong" in outcome
    assert bench.broker.executed == []
    assert await bench.rows("SELECT state FROM drifts") == [("open",)]


async def test_the_policy_halt_halts_the_account(bench):
    await bench.set_up(1)
    await bench.rows("UPDATE accounts SET on_drift = 'halt' RETURNING 1")
    by_hand(bench, 5)
    async with bench.worker():
        await bench.until("SELECT state FROM accounts", "halted")
    ((reason,),) = await bench.rows("SELECT reason FROM interventions")
    assert "policy 'halt'" in reason
    assert await bench.rows("SELECT state FROM drifts") == [("open",)]


async def test_an_order_refused_for_funds_is_a_shortfall_until_the_strategys_next_word(bench):
    await bench.set_up(1)
    bench.broker.faults.append("reject")
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until("SELECT count(*) FROM drifts WHERE state = 'open'", 1)
        (found,) = await bench.rows("SELECT kind, cause, ours, theirs FROM drifts")
        assert found == ("shortfall", "insufficient_funds", Decimal(2), Decimal(0))
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        await bench.until("SELECT state FROM drifts", "closed")


async def test_the_policy_correct_makes_up_for_an_order_that_could_not_be_sent(bench):
    bench.settings = msgspec.structs.replace(QUICK, open_window_s=0.3)
    await bench.set_up(1)
    await bench.rows(
        'UPDATE tenants SET settings = settings || \'{"on_drift": "correct"}\' RETURNING 1'
    )
    bench.broker.faults.extend(["unsent"] * 20)
    async with bench.worker():
        await bench.until(STATES.format("agreed"), 1)
        await bench.signal(quantity=2)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'unsent'", 1)
        bench.broker.faults.clear()
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        await bench.until("SELECT state FROM drifts", "corrected")
    assert [o.order_qty for o in bench.broker.executed] == [Decimal(2)]


async def test_two_tenants_never_see_each_others_drifts(bench):
    await bench.set_up(1)
    ours = bench.scope
    await bench.set_up(1, tenant="Bravo")
    for account in bench.accounts:
        bench.broker.by_hand[account] = {"BTC_USDT": Decimal(5)}
    async with bench.worker():
        await bench.until("SELECT count(*) FROM drifts", 2)
    admin = await bench.open("admin")
    async with admin.tenant(ours) as conn:
        for table in ("drifts", "reconciliations"):
            query = f"SELECT account_id FROM {table}"
            rows = await (await conn.execute(query.encode())).fetchall()
            assert rows == [(bench.accounts[0],)]
    await admin.close()


async def test_the_database_lets_a_worker_keep_no_correction_but_its_own(bench):
    await bench.set_up(1)
    worker = await bench.open("worker")
    with pytest.raises(Exception, match="row-level security"):
        async with worker.tenant(bench.scope) as conn:
            await conn.execute(
                "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, ticker,"
                " body, body_sha256, traceparent, received_at, origin, accounts) VALUES (%s, %s, %s, %s,"
                " 'm', %s, 'X', '{}', %s, 't', now(), 'reconciliation', NULL)",
                (new_id(), bench.scope.tenant_id, bench.strategy, bench.hook,
                 partition(bench.strategy), bytes(32)),
            )  # fmt: skip
    await worker.close()
