"""One lesson beside others, beside sweeps and beside plans that are being made."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

import tenancy.database
from fanout import book
from fanout.crowd import Crowd
from fanout.learner import Learner
from fanout.leases import LeaseLost, Leases
from fanout.lesson import Lesson
from fanout.order import Order, OrdState, cl_ord_id, order_id
from tenancy.clock import SystemClock
from tenancy.values import SignalID, partition
from tests import builders


def filled(order: Order) -> Lesson:
    return Lesson(order=order, learned_at=builders.NOW, report=builders.report(order))


class Beside:
    """An order of the bench's first account, in the book, and a learner of our own."""

    def __init__(self, bench, database, leases, known: set[str]) -> None:
        self.learner = Learner(database, leases, known)
        self.database, self.leases, self.bench = database, leases, bench

    async def order(self, **changes):
        account = self.bench.accounts[0]
        signal = await self.bench.signal()
        name = order_id(SignalID(signal), account, 0)
        made = builders.order(
            cl_ord_id=cl_ord_id(name, 1), order_id=name, signal_id=signal, account_id=account,
            tenant_id=self.bench.scope.tenant_id, strategy_id=self.bench.strategy,
            part=partition(account), **changes,
        )  # fmt: skip
        async with self.database.tenant(self.bench.scope) as conn:
            await book.intend(conn, self.bench.scope, [made])
        return made


@asynccontextmanager
async def beside(bench, known: set[str] | None = None):
    await bench.set_up(1)
    database = await bench.open("worker")
    leases = Leases(database, SystemClock(), "beside", ttl_s=5.0)
    await leases.beat()
    try:
        yield Beside(bench, database, leases, known if known is not None else set()), leases
    finally:
        await database.close()


async def test_fill_of_a_broker_in_our_process_counts_only_under_its_lease(bench):
    """The next owner finds no paper order and sends again: ours must then never have been."""
    async with beside(bench) as (here, leases):
        made = await here.order()
        other = Leases(here.database, SystemClock(), "other", ttl_s=5.0)
        lesson = Lesson(
            order=made, learned_at=builders.NOW, report=builders.report(made),
            epoch=leases.epoch(made.part),
        )  # fmt: skip
        await leases.release(leases.parts())
        await other.beat()
        with pytest.raises(LeaseLost):
            await here.learner.learn(bench.scope, lesson)
        assert await bench.rows("SELECT state FROM orders") == [("intent",)]
        assert await bench.rows("SELECT count(*) FROM positions") == [(0,)]


async def test_lessons_gather_while_a_crowd_of_orders_leaves(bench, monkeypatch):
    """One transaction for all of them, and none before; a crowd that never ends holds nothing up."""
    monkeypatch.setattr("fanout.learner.GATHER_S", 60.0)
    crowd = Crowd(2)
    async with beside(bench) as (here, _):
        here.learner = Learner(here.database, here.leases, set(), crowd=crowd)
        made = [await here.order() for _ in range(3)]
        with crowd.one(), crowd.one():
            learning = [
                asyncio.create_task(here.learner.learn(bench.scope, filled(one)))
                for one in made[:2]
            ]
            assert not (await asyncio.wait(learning, timeout=0.3))[0]
        told = await asyncio.gather(*learning)
        assert [one.order.state for one in told] == [OrdState.FILLED] * 2
        written = await bench.rows("SELECT count(DISTINCT xmin::text) FROM execution_reports")
        assert written == [(1,)]
        monkeypatch.setattr("fanout.learner.GATHER_S", 0.05)
        with crowd.one(), crowd.one():
            await here.learner.learn(bench.scope, filled(made[2]))


async def test_refused_lesson_does_not_take_its_neighbours_with_it(bench):
    async with beside(bench) as (here, _):
        good = await here.order()
        bad = builders.order(tenant_id=bench.scope.tenant_id)  # in no book
        told = await asyncio.gather(
            *(here.learner.learn(bench.scope, filled(one)) for one in (bad, good)),
            return_exceptions=True,
        )
        assert isinstance(told[0], KeyError)
        assert told[1].order.state is OrdState.FILLED


async def test_what_a_lesson_may_release_is_known_before_it_can_be_seen(bench, monkeypatch):
    """Else a sweep between the commit and the lane's next step takes it for a dead worker's doubt."""
    known: set[str] = set()
    async with beside(bench, known) as (here, _):
        made = await here.order()
        at_commit: list[set[str]] = []
        commit = tenancy.database.commit

        async def watched(conn) -> None:
            at_commit.append(set(known))
            await commit(conn)

        monkeypatch.setattr(tenancy.database, "commit", watched)
        again = msgspec.structs.replace(made, attempt=2, cl_ord_id=cl_ord_id(made.order_id, 2))
        consequence = await here.learner.learn(
            bench.scope,
            Lesson(order=made, learned_at=builders.NOW, state=OrdState.ABSENT, successor=again),
        )
    second_leg = cl_ord_id(order_id(made.signal_id, made.account_id, 1), 1)
    assert at_commit == [{again.cl_ord_id, second_leg}]
    assert consequence.sends == again
    assert known == {again.cl_ord_id}


async def test_a_plan_reads_positions_and_orders_of_one_moment(bench):
    """A fill that is learned while the plan reads is in the position or under way: once, never twice."""
    from fanout.market_store import read_market
    from tenancy.store.snapshots import read_snapshot

    async with beside(bench) as (here, _):
        made = await here.order(deadline=datetime.now(UTC))
        lesson = Lesson(order=made, learned_at=builders.NOW, report=builders.report(made))
        async with here.database.tenant(bench.scope) as conn:
            snapshot = await read_snapshot(conn, bench.strategy)
            execute, asked = conn.execute, 0

            async def meanwhile(*args, **kwargs):
                nonlocal asked
                cursor = await execute(*args, **kwargs)
                asked += 1
                if asked == 1:
                    await here.learner.learn(bench.scope, lesson)
                return cursor

            conn.execute = meanwhile
            known = builders.market(snapshot).instruments
            market = await read_market(conn, snapshot, builders.signal(), known, frozenset())
            conn.execute = execute
        assert asked > 1
        assert [now.expected for now in market.accounts.values()] == [Decimal(10)]
