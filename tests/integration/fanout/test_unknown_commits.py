"""A commit whose answer was lost is looked at again, and nothing happens twice."""

from __future__ import annotations

from decimal import Decimal

from tests.fakes.commits import UnknownCommit

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"


async def test_second_leg_goes_on_after_a_commit_of_unknown_outcome_proved_the_first_absent(
    bench, monkeypatch
):
    """The lesson is written twice; the second time it must not deny the leg that waits for attempt 2."""
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=3)
        await bench.until(DONE, 1)
        lost = UnknownCommit(monkeypatch, "SELECT FROM orders WHERE state = 'absent'")
        bench.broker.faults.append("lost_before")
        await bench.signal(action="sell", quantity=5)
        await bench.until("SELECT sum(qty) FROM positions", Decimal(-5))
    assert lost.happened == 1
    assert await bench.rows("SELECT count(*) FROM orders WHERE state = 'denied'") == [(0,)]


async def test_commit_of_unknown_outcome_that_released_the_second_leg_does_not_send_it_twice(
    bench, monkeypatch
):
    await bench.set_up(1)
    async with bench.worker():
        await bench.signal(quantity=3)
        await bench.until(DONE, 1)
        lost = UnknownCommit(
            monkeypatch, "SELECT FROM orders WHERE state = 'filled' AND reduce_only"
        )
        await bench.signal(action="sell", quantity=5)
        await bench.until("SELECT sum(qty) FROM positions", Decimal(-5))
    assert lost.happened == 1
    assert [o.order_qty for o in bench.broker.executed] == [3, 3, 5]


async def test_intents_of_unknown_outcome_are_adopted_and_never_sent_twice(bench, monkeypatch):
    """40 accounts are two chunks: the first is asked about, the second is written by the sweep."""
    await bench.set_up(40)
    lost = UnknownCommit(monkeypatch, "SELECT FROM orders WHERE state = 'intent'")
    await bench.signal(quantity=1)
    async with bench.worker():
        await bench.until("SELECT count(DISTINCT order_id) FROM orders WHERE state = 'filled'", 40)
    assert lost.happened == 1
    assert len({(o.signal_id, o.account_id) for o in bench.broker.executed}) == 40
    assert len(bench.broker.executed) == 40


async def test_plan_of_unknown_outcome_is_carried_out_once(bench, monkeypatch):
    await bench.set_up(3)
    lost = UnknownCommit(monkeypatch, "SELECT FROM plans WHERE true")
    await bench.signal(quantity=1)
    async with bench.worker():
        await bench.until(DONE, 3)
    assert lost.happened == 1
    assert len(bench.broker.executed) == 3
