"""Leases come and go, connections break, rows cannot be read: everybody else goes on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec

from fanout.leases import Leases
from tenancy.clock import SystemClock
from tenancy.ids import new_id

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"


async def test_doubt_that_lasts_keeps_no_partition_from_its_new_owner(bench):
    """The exchange does not answer for one account; the partition's other work goes on elsewhere."""
    await bench.set_up(1)
    bench.broker.faults.append("lost_after")
    bench.broker.finds.extend(["unproven"] * 100_000)
    async with bench.worker(name="w1"):
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'in_doubt'", 1)
        # The second is to have the upper half: move the account's partition there.
        await bench.rows("UPDATE orders SET part = 15 RETURNING 1")
        await bench.rows("UPDATE accounts SET part = 15 RETURNING 1")
    bench.broker.finds.clear()
    bench.broker.finds.extend(["unproven"] * 100_000)
    async with bench.worker(name="w1"):
        await bench.until("SELECT count(*) FROM leases WHERE expires_at > now()", 16)
        await asyncio.sleep(0.5)
        async with bench.worker(name="w2"):
            moved = "SELECT count(*) FROM leases WHERE part = 15 AND starts_with(holder, 'w2-')"
            await bench.until(moved, 1, within_s=15)
            bench.broker.finds.clear()
            await bench.until(DONE, 1)
    assert len(bench.broker.executed) == 1


async def test_beat_under_way_does_not_bring_a_released_lease_back(bench):
    """For its former owner it would look held, and somebody else may hold it already."""
    await bench.set_up(1)
    database = await bench.open("worker")
    leases = Leases(database, SystemClock(), "one", ttl_s=5.0)
    try:
        await leases.beat()
        for _ in range(20):
            beat = asyncio.create_task(leases.beat())
            await asyncio.sleep(0.001)
            await leases.release([3])
            held_there = await bench.rows(
                "SELECT count(*) FROM leases WHERE part = 3 AND expires_at > now()"
            )
            await beat
            assert leases.holds(3) <= (held_there == [(1,)])
            await leases.beat()
    finally:
        await database.close()


async def test_broken_database_connections_do_not_end_a_worker(bench):
    await bench.set_up(4, allow_add_to_position=True)
    async with bench.worker() as worker:
        for count in range(1, 6):
            await bench.signal(quantity=1)
            bench.made.cut_connections()
            await bench.until(DONE, 4 * count, within_s=20)
        assert worker.leases.parts()
    assert len(bench.broker.executed) == 20


async def test_a_plan_that_cannot_be_read_does_not_stop_the_others(bench):
    """A plan written by another version of us, say: its parts wait, everybody else's go out."""
    await bench.set_up(2)
    unreadable = await bench.signal(quantity=1)
    values = (unreadable, bench.scope.tenant_id, bench.strategy, datetime.now(UTC))
    await bench.rows("UPDATE signals SET state = 'planned' RETURNING 1")
    await bench.rows(
        "INSERT INTO plans SELECT %s, %s, %s, 1, 1, 0, '{\"new\": true}', %s RETURNING 1", *values
    )
    other = new_id()  # of another strategy, for one's own signals wait behind it
    await bench.rows(
        "INSERT INTO plan_parts SELECT %s, 0, %s, %s, %s RETURNING 1",
        unreadable, bench.scope.tenant_id, other, datetime.now(UTC),
    )  # fmt: skip
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until(DONE, 2)


async def test_answer_with_a_nul_byte_is_learned_all_the_same(bench, monkeypatch):
    """PostgreSQL's text cannot hold one."""
    await bench.set_up(2)
    execute = bench.broker._execute

    def with_nul(order):
        execute(order)
        seen = bench.broker.reports[order.cl_ord_id]
        odd = msgspec.structs.replace(seen, raw=b'{"\x00": 1}', text="odd \x00")
        bench.broker.reports[order.cl_ord_id] = odd

    monkeypatch.setattr(bench.broker, "_execute", with_nul)
    await bench.signal(quantity=1)
    async with bench.worker():
        await bench.until(DONE, 2)
    assert await bench.rows("SELECT DISTINCT raw FROM execution_reports") == [('{"\ufffd": 1}',)]


async def test_what_has_ended_is_in_nobodys_hands_any_more(bench):
    """`known` would grow for ever, and hide an order from the sweep that should adopt it."""
    await bench.set_up(3)
    async with bench.worker() as worker:
        await bench.signal(quantity=3)
        await bench.until(DONE, 3)
        bench.broker.faults.extend(["lost_before", "reject", "lost_after"])
        await bench.signal(action="sell", quantity=5)
        await bench.until("SELECT count(*) FROM orders WHERE state IN ('filled', 'denied')", 8)
        await bench.signal(action="buy", quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) > 0 FROM orders WHERE state = 'new'", True)
        assert worker.lanes.known
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM orders WHERE state IN ('new', 'waiting')", 0)
        await worker.lanes.idle()
        await asyncio.sleep(0.3)  # the follower asks once more
        assert worker.lanes.known == set()
