"""A signal is done when the last of it has ended, and that is told once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from prometheus_client import REGISTRY

from fanout import approvals, outcome_rows
from fanout.order import OrdState
from fanout.outcome_accounts import read_accounts
from fanout.outcomes import Outcomes
from tenancy.clock import SystemClock
from tests.integration.fanout.asking import answer, asked, asking
from tests.integration.fanout.conftest import Bench

TOLD = "SELECT count(*) FROM audit_inbox WHERE kind = 'signal.outcome'"
DONE = "SELECT count(*) FROM signal_outcomes WHERE done_at IS NOT NULL"


RESTS = {"quantity": 2, "orderType": "limit", "limitPrice": "49000"}


async def at_the_broker(bench: Bench, orders: int) -> None:
    await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", orders)


async def fill_one(bench: Bench) -> None:
    """The exchange fills one of the orders that rest, and the worker hears of it."""
    name, report = next(
        (n, r) for n, r in bench.broker.reports.items() if r.ord_status is OrdState.NEW
    )
    bench.broker.reports[name] = msgspec.structs.replace(
        report, ord_status=OrdState.FILLED, cum_qty=Decimal(2), avg_px=Decimal(49_000)
    )
    await bench.until(f"SELECT state FROM orders WHERE cl_ord_id = '{name}'", "filled")


def counted() -> tuple[float, float, float]:
    """Signals of which a part was filled; seconds to all first, and to all last orders."""
    names = ("portcullis_first_order_seconds_sum", "portcullis_last_order_seconds_sum")
    some = REGISTRY.get_sample_value(
        "portcullis_signal_outcomes_total", {"outcome": "partly_filled"}
    )
    first, last = (REGISTRY.get_sample_value(name) for name in names)
    assert some is not None
    assert first is not None
    assert last is not None
    return some, first, last


async def told(bench: Bench) -> list[dict[str, Any]]:
    rows = await bench.rows(
        "SELECT payload FROM audit_inbox WHERE kind = 'signal.outcome' ORDER BY seq"
    )
    return [json.loads(bytes(row[0])) for row in rows]


async def test_a_signal_is_done_when_every_order_has_ended_and_is_told_once(bench):
    await bench.set_up(5)
    bench.broker.faults.append("reject")
    before = counted()
    signal = await bench.signal(quantity=2, signalPrice="49900")
    async with bench.worker():
        await bench.until(TOLD, 1)
    (outcome,) = await told(bench)
    assert outcome["signal_id"] == str(signal)
    told_once, first, last = (now - was for now, was in zip(counted(), before, strict=True))
    assert (told_once, 0 < first <= last) == (1, True)
    assert last == pytest.approx(outcome["latency"]["send_ms"]["most"] / 1000)
    assert (outcome["state"], outcome["accounts"]) == ("done", 5)
    assert outcome["states"] == {"failed": 1, "filled": 4}
    assert outcome["reasons"] == {"order": 5}
    (total,) = outcome["totals"]
    assert (total["accounts"], total["order_qty"], total["cum_qty"]) == (5, "10", "8")
    assert total["avg_px"] == "50000"
    # (50000 - 49900) / 49900: bought dearer than the sender saw it, which is worse.
    assert total["slippage_signal_bps"] == "20.0401"
    assert outcome["latency"]["send_ms"]["n"] == 5
    assert outcome["latency"]["fill_ms"]["n"] == 4
    rows = await bench.rows("SELECT done_at, summary FROM signal_outcomes")
    last = await bench.rows("SELECT max(done_at) FROM orders")
    assert rows[0][0] == last[0][0]
    assert rows[0][1]["states"] == outcome["states"]


async def test_a_plan_without_an_order_is_done_at_once(bench):
    await bench.set_up(3)
    await bench.signal(quantity=2, action="exit")
    async with bench.worker():
        await bench.until(TOLD, 1)
    (outcome,) = await told(bench)
    assert outcome["states"] == {"skipped": 3}
    assert outcome["reasons"] == {"no_position": 3}
    assert outcome["totals"] == []


async def test_an_order_that_rests_keeps_its_signal_from_being_done(bench):
    await bench.set_up(2)
    await bench.signal(**RESTS)
    async with bench.worker():
        await at_the_broker(bench, 2)
        await fill_one(bench)
        await asyncio.sleep(0.2)
        assert await bench.rows(DONE) == [(0,)]
        await fill_one(bench)
        await bench.until(TOLD, 1)
    (outcome,) = await told(bench)
    assert outcome["states"] == {"filled": 2}


async def test_a_signal_that_is_refused_by_a_worker_has_an_outcome_too(bench):
    await bench.set_up(1)
    await bench.signal(action="no such action")
    async with bench.worker():
        await bench.until(TOLD, 1)
    (outcome,) = await told(bench)
    assert (outcome["state"], outcome["accounts"], outcome["states"]) == ("refused", 0, {})


@pytest.mark.parametrize(
    ("change", "states"),
    [
        ("role = 'stop', leg = 2", {"filled": 1}),
        ("state = 'held'", {"filled": 1, "working": 1}),
    ],
)
async def test_what_may_wait_for_weeks_holds_nothing_up(bench, change, states, monkeypatch):
    """A stop behind a position says nothing of the entry; an entry that is held counts as working."""
    monkeypatch.setattr("fanout.outcomes.SWEEP_S", 0.05)
    await bench.set_up(2)
    await bench.signal(**RESTS)
    async with bench.worker():
        await at_the_broker(bench, 2)
        await fill_one(bench)
    assert await bench.rows(DONE) == [(0,)]
    await bench.rows(f"UPDATE orders SET {change} WHERE state = 'new' RETURNING 1")
    async with bench.worker(name="w2"):
        await bench.until(TOLD, 1)
    (outcome,) = await told(bench)
    assert outcome["state"] == "done"
    assert {name: n for name, n in outcome["states"].items() if name != "planned"} == states


async def test_a_question_keeps_a_signal_from_being_done_until_its_answer(bench, admin):
    """One yes and one no: no worker writes the no, so the sweep finds the end."""
    await asking(bench, 2)
    async with bench.worker():
        signal = await asked(bench)
        await asyncio.sleep(0.2)
        assert await bench.rows(DONE) == [(0,)]
        await answer(bench, admin, signal, bench.accounts[0])
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        await asyncio.sleep(0.2)
        assert await bench.rows(DONE) == [(0,)]
        await answer(bench, admin, signal, bench.accounts[1], how=approvals.reject)
        await bench.until(TOLD, 1)
    (outcome,) = await told(bench)
    assert outcome["states"] == {"declined": 1, "filled": 1}
    assert outcome["reasons"] == {"awaits_approval": 2}


async def test_two_workers_that_notice_at_the_same_time_tell_once(bench):
    await bench.set_up(3)
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(TOLD, 1)
    (row,) = await bench.rows("SELECT signal_id FROM signal_outcomes")
    database = await bench.open("worker")
    async with database.tenant(bench.scope) as conn:
        assert await outcome_rows.finish(conn, bench.scope, [row[0]], SystemClock().now()) == []
    await database.close()
    assert await bench.rows(TOLD) == [(1,)]


async def test_an_end_that_nobody_saw_is_found_by_the_sweep(bench, monkeypatch):
    """The worker that learned the last end died before it could say so."""
    await bench.set_up(3)
    monkeypatch.setattr(Outcomes, "may_have_ended", lambda self, signal: None)
    monkeypatch.setattr("fanout.outcomes.SWEEP_S", 3600.0)
    await bench.signal(quantity=2)
    async with bench.crashing_worker(name="w1") as crash:
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 3)
        await crash()
    assert await bench.rows(TOLD) == [(0,)]
    monkeypatch.setattr("fanout.outcomes.SWEEP_S", 0.1)
    async with bench.worker(name="w2"):
        await bench.until(TOLD, 1)


async def test_the_database_itself_refuses_a_second_outcome(bench):
    await bench.set_up(1)
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until(TOLD, 1)
    with pytest.raises(Exception, match="stands"):
        await bench.rows("UPDATE signal_outcomes SET summary = '{}' RETURNING 1")


async def test_an_outcome_is_read_while_it_grows(bench, admin):
    await bench.set_up(3)
    signal = await bench.signal(**RESTS)
    async with admin.tenant(bench.scope) as conn:
        begun = await outcome_rows.read(conn, signal)
    assert begun is not None
    assert (begun.state, begun.accounts, begun.done_at) == ("accepted", 0, None)
    async with bench.worker():
        await at_the_broker(bench, 3)
        await fill_one(bench)
        async with admin.tenant(bench.scope) as conn:
            now = await outcome_rows.read(conn, signal)
    assert now is not None
    assert (now.state, now.states) == ("working", {"filled": 1, "working": 2})
    assert (now.totals[0].order_qty, now.totals[0].cum_qty) == ("6", "2")


async def test_what_postgresql_counts_is_what_the_accounts_add_up_to(bench, admin):
    """The counting is written twice, for speed: in SQL for all, in Python for each. They agree."""
    await bench.set_up(40)
    signal = await bench.signal()
    chance = random.Random(4)
    await _invent(bench, signal, chance)
    reasons = dict.fromkeys(bench.accounts, "order")
    async with admin.tenant(bench.scope) as conn:
        whole = await outcome_rows.read(conn, signal)
        each = await read_accounts(conn, signal, reasons, PLANNED)
    assert whole is not None
    assert whole.states == dict(sorted(Counter(one.state for one in each.values()).items()))
    for side in ("buy", "sell"):
        (total,) = [t for t in whole.totals if t.side == side]
        mine = [
            each[a]
            for a, s in await bench.rows("SELECT DISTINCT account_id, side FROM orders")
            if s == side
        ]
        assert Decimal(total.cum_qty) == sum(Decimal(one.cum_qty) for one in mine)
        assert Decimal(total.order_qty) == sum(Decimal(one.order_qty) for one in mine)
        for name in ("avg_px", "slippage_signal_bps", "slippage_arrival_bps"):
            known = [
                (Decimal(one.cum_qty), Decimal(getattr(one, name)))
                for one in mine
                if getattr(one, name) is not None
            ]
            mean = sum(q * v for q, v in known) / sum(q for q, _ in known)
            assert abs(mean - Decimal(getattr(total, name))) < Decimal("0.001"), (side, name)
    sent = [one.send_ms for one in each.values() if one.send_ms is not None]
    assert whole.latency.send_ms is not None
    assert whole.latency.send_ms.n == len(sent)
    assert whole.latency.send_ms.mean == pytest.approx(sum(sent) / len(sent), abs=0.002)
    assert whole.latency.send_ms.most == max(sent)


PLANNED = datetime(2026, 1, 1, tzinfo=UTC)


async def _invent(bench: Bench, signal: UUID, chance: random.Random) -> None:
    """A plan, and orders of every kind at its accounts: two legs, two attempts, filled and not."""
    tenant, strategy = bench.scope.tenant_id, bench.strategy
    async with await psycopg.AsyncConnection.connect(bench.made.superuser) as conn:
        await conn.execute("UPDATE signals SET state = 'planned'")
        await conn.execute(
            "INSERT INTO plans (signal_id, tenant_id, strategy_id, version, seed, rotation, plan, planned_at)"
            " VALUES (%s, %s, %s, 1, 1, 0, '{}', %s)",
            (signal, tenant, strategy, PLANNED),
        )
        await conn.execute(
            "INSERT INTO signal_outcomes (signal_id, tenant_id, strategy_id, part, reasons)"
            " VALUES (%s, %s, %s, 0, %s)",
            (signal, tenant, strategy, json.dumps({"order": len(bench.accounts)})),
        )
        for place, account in enumerate(bench.accounts):
            side = "buy" if place % 2 else "sell"
            signal_px = chance.choice([None, Decimal(100)])
            for leg in range(chance.choice([1, 1, 2])):
                attempts = chance.choice([1, 1, 2])
                for attempt in range(1, attempts + 1):
                    state, filled = "absent", 0
                    if attempt == attempts:
                        state, filled = chance.choice(
                            [("filled", 4), ("canceled", 1), ("rejected", 0), ("new", 0)]
                        )
                    sent = PLANNED + timedelta(microseconds=chance.randrange(1, 10**6))
                    acked = sent + timedelta(microseconds=chance.randrange(1, 10**5))
                    await conn.execute(
                        _ORDER,
                        (
                            f"{place}-{leg}.{attempt}", f"{place}-{leg}", tenant, signal, strategy,
                            account, leg, attempt, place, side, state, filled,
                            Decimal(chance.randrange(90, 110)) if filled else None,
                            signal_px, Decimal(101), sent,
                            None if state == "absent" else acked,
                            None if state == "new" else acked + timedelta(milliseconds=1), PLANNED,
                        ),
                    )  # fmt: skip


_ORDER = """
INSERT INTO orders (cl_ord_id, order_id, tenant_id, signal_id, strategy_id, account_id, part, leg, attempt, place,
    broker, symbol, side, order_qty, ord_type, time_in_force, deadline, state, epoch, cum_qty, avg_px, signal_px,
    arrival_px, sent_at, acked_at, done_at, intent_at, traceparent)
SELECT v.*, 't' FROM (SELECT %s, %s, %s::uuid, %s::uuid, %s::uuid, %s::uuid, 0, %s, %s, %s, 'gateio', 'BTC_USDT',
    %s, 4, 'market', 'ioc', now(), %s, 1, %s, %s::numeric, %s::numeric, %s::numeric, %s::timestamptz,
    %s::timestamptz, %s::timestamptz, %s::timestamptz) AS v"""
