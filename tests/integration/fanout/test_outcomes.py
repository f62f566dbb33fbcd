"""A signal is done when the last of it has ended, and that is told once."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout import outcome_rows
from fanout.order import OrdState
from fanout.outcomes import Outcomes
from tenancy.clock import SystemClock
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


async def told(bench: Bench) -> list[dict[str, Any]]:
    rows = await bench.rows(
        "SELECT payload FROM audit_inbox WHERE kind = 'signal.outcome' ORDER BY seq"
    )
    return [json.loads(bytes(row[0])) for row in rows]


async def test_a_signal_is_done_when_every_order_has_ended_and_is_told_once(bench):
    await bench.set_up(5)
    bench.broker.faults.append("reject")
    signal = await bench.signal(quantity=2, signalPrice="49900")
    async with bench.worker():
        await bench.until(TOLD, 1)
    (outcome,) = await told(bench)
    assert outcome["signal_id"] == str(signal)
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
