"""Strategies that share an account know of each other, and their plans take turns."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager

import pytest

from fanout.intend import Intender
from fanout.planner import Planner
from fanout.turn import Queues, turn
from fanout.usage import ask_usage
from tenancy.errors import Unavailable
from tenancy.ids import new_id
from tenancy.store.snapshots import read_snapshot
from tenancy.store.subscriptions import create_subscription
from tenancy.values import StrategyID, partition
from tests.integration.fanout.sharing import (
    DEFAULTS,
    account,
    another,
    connect,
    join,
    leave,
    signal_for,
    until_a_lock_is_waited_for,
    version,
)

PLANNED = "SELECT count(*) FROM signals WHERE state = 'planned'"
LEFT = "SELECT count(*) FROM plan_parts"
TURN = "SELECT pg_advisory_lock(%s)"


@pytest.fixture
async def pair(bench, admin):
    """The bench's strategy and another, which share its only account."""
    await bench.set_up(1, allow_add_to_position=True)
    other = await another(bench, admin, "other")
    await join(bench, admin, [other], bench.accounts[0])
    return bench.strategy, other


@pytest.fixture
def apart(monkeypatch):
    """Plans of one worker find each other in PostgreSQL alone, as those of two workers do."""

    @asynccontextmanager
    async def nobody_waits(queues, strategy, beside):
        yield

    monkeypatch.setattr(Queues, "turn", nobody_waits)


async def neighbours(bench, admin, strategy):
    async with admin.tenant(bench.scope) as conn:
        snapshot = await read_snapshot(conn, strategy)
    return snapshot.neighbours, snapshot.shared


async def test_a_snapshot_names_the_strategies_that_share_an_account(bench, admin, pair):
    ours, theirs = pair
    alone = await another(bench, admin, "alone")
    await join(bench, admin, [alone], await account(bench, admin, "its own"))
    assert await neighbours(bench, admin, ours) == ({theirs}, set(bench.accounts))
    assert await neighbours(bench, admin, theirs) == ({ours}, set(bench.accounts))
    assert await neighbours(bench, admin, alone) == (set(), set())


async def test_whoever_joins_or_leaves_an_account_moves_the_version_of_all_who_share_it(
    bench, admin, pair
):
    ours, theirs = pair
    alone = await another(bench, admin, "alone")
    third = await another(bench, admin, "third")
    before = [await version(bench, s) for s in (ours, theirs, alone)]
    await join(bench, admin, [third], bench.accounts[0])
    joined = [await version(bench, s) for s in (ours, theirs, alone)]
    assert [b - a for a, b in zip(before, joined, strict=True)] == [1, 1, 0]
    await leave(bench, admin, third, bench.accounts[0])
    left = [await version(bench, s) for s in (ours, theirs, alone)]
    assert [b - a for a, b in zip(joined, left, strict=True)] == [1, 1, 0]


async def test_two_that_join_an_account_at_the_same_moment_know_of_each_other(bench, admin):
    """Neither sees the other's row before it is committed: the second waits for the first."""
    await bench.set_up(0)
    first, second = await another(bench, admin, "first"), await another(bench, admin, "second")
    common = await account(bench, admin, "common")
    async with admin.tenant(bench.scope) as conn:
        await create_subscription(conn, bench.scope, first, common, settings=DEFAULTS)
        joining = asyncio.create_task(join(bench, admin, [second], common))
        await until_a_lock_is_waited_for(bench)
        before = await version(bench, first)
    await joining
    assert await version(bench, first) == before + 2  # its own coming, and the other's
    assert await neighbours(bench, admin, first) == ({second}, {common})


async def test_many_that_join_and_leave_at_once_wait_in_no_circle(bench, admin):
    await bench.set_up(0)
    strategies = [await another(bench, admin, f"s{n}") for n in range(4)]
    accounts = [await account(bench, admin, f"a{n}") for n in range(4)]

    async def come_and_go(mine, of):
        await join(bench, admin, [mine], of)
        await leave(bench, admin, mine, of)
        await join(bench, admin, [mine], of)

    await asyncio.gather(*(come_and_go(s, a) for s in strategies for a in reversed(accounts)))
    for strategy in strategies:
        seen, shared = await neighbours(bench, admin, strategy)
        assert (seen, shared) == (set(strategies) - {strategy}, set(accounts))


async def test_a_subscription_stays_with_its_account(bench, admin, pair):
    elsewhere = await account(bench, admin, "elsewhere")
    with pytest.raises(Exception, match="stays with its strategy and its account"):
        await bench.rows("UPDATE subscriptions SET account_id = %s RETURNING 1", elsewhere)


@pytest.mark.usefixtures("apart", "intents_later")
async def test_a_plan_waits_until_its_neighbours_orders_are_in_the_book(
    bench, admin, pair, monkeypatch
):
    """Theirs is planned, its intents are held up: ours is not planned, whatever its own parts say."""
    _ours, theirs = pair
    held_up, goes_on = asyncio.Event(), asyncio.Event()
    intend = Intender.intend

    async def late(intender, *args, **kwargs):
        held_up.set()
        await goes_on.wait()
        await intend(intender, *args, **kwargs)

    monkeypatch.setattr(Intender, "intend", late)
    async with bench.worker():
        await signal_for(bench, theirs)
        await held_up.wait()
        await bench.signal()
        await asyncio.sleep(0.6)
        assert await bench.rows(PLANNED) == [(1,)]
        goes_on.set()
        await bench.until(PLANNED, 2)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 2)


async def test_what_another_workers_neighbour_has_under_way_is_waited_for_too(bench, admin, pair):
    """No memory is shared between workers: the parts that are listed say it."""
    _ours, theirs = pair
    signal = await signal_for(bench, theirs)
    async with bench.worker():
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        part = (await bench.rows("SELECT part FROM accounts"))[0][0]
        await bench.rows(
            "INSERT INTO plan_parts (signal_id, part, tenant_id, strategy_id, planned_at, approved)"
            " VALUES (%s, %s, %s, %s, now(), true) RETURNING 1",
            signal, part, bench.scope.tenant_id, theirs,
        )  # fmt: skip
        await bench.signal()
        # Nothing was approved: the worker finds the part empty and strikes it off.
        await bench.until(PLANNED, 2)
    assert await bench.rows(LEFT) == [(0,)]


async def test_strategies_that_share_no_account_do_not_wait_for_each_other(bench, admin, pair):
    """Another's turn is taken and kept; ours goes on, and only the neighbour's waits."""
    _ours, theirs = pair
    alone = await another(bench, admin, "alone")
    await join(bench, admin, [alone], await account(bench, admin, "its own"))
    number = int.from_bytes(theirs.bytes[8:], "big", signed=True)
    async with await connect(bench, "worker") as conn:
        await conn.execute(TURN, (number,))
        async with bench.worker():
            await signal_for(bench, alone)
            await bench.until(PLANNED, 1)
            await bench.signal()
            await asyncio.sleep(0.5)
            assert await bench.rows(PLANNED) == [(1,)]
            await conn.execute("SELECT pg_advisory_unlock(%s)", (number,))
            await bench.until(PLANNED, 2)


async def test_a_strategy_that_joins_while_a_plan_waits_is_waited_for_as_well(bench, admin, pair):
    """Which turns are needed is looked at again in the turn: a third one has come meanwhile."""
    ours, _theirs = pair
    third = await another(bench, admin, "third")
    numbers = [int.from_bytes(s.bytes[8:], "big", signed=True) for s in (ours, third)]
    async with bench.worker():
        await bench.signal()
        await bench.until(PLANNED, 1)  # the snapshot is kept from now on
        async with await connect(bench, "worker") as conn:
            for number in numbers:
                await conn.execute(TURN, (number,))
            await bench.signal()
            await until_a_lock_is_waited_for(bench)
            await join(bench, admin, [third], bench.accounts[0])
            await conn.execute("SELECT pg_advisory_unlock(%s)", (numbers[0],))
            await asyncio.sleep(0.3)
            assert await bench.rows(PLANNED) == [(1,)]
            await conn.execute("SELECT pg_advisory_unlock(%s)", (numbers[1],))
            await bench.until(PLANNED, 2)


@pytest.mark.usefixtures("apart", "intents_later")
async def test_who_has_left_an_account_with_orders_on_their_way_is_waited_for(
    bench, admin, pair, monkeypatch
):
    """The account is theirs no more, and what they planned for it is not in the book yet."""
    _ours, theirs = pair
    await bench.rows(
        """UPDATE accounts SET limits = '{"max_position_quantity": "9"}' RETURNING 1"""
    )
    held_up, goes_on = asyncio.Event(), asyncio.Event()
    intend = Intender.intend

    async def late(intender, *args, **kwargs):
        held_up.set()
        await goes_on.wait()
        await intend(intender, *args, **kwargs)

    monkeypatch.setattr(Intender, "intend", late)
    async with bench.worker():
        await signal_for(bench, theirs)
        await held_up.wait()
        await leave(bench, admin, theirs, bench.accounts[0])
        await bench.signal()
        await asyncio.sleep(0.5)
        assert await bench.rows(PLANNED) == [(1,)]
        goes_on.set()
        await bench.until(PLANNED, 2)


async def test_no_strategy_starves_beside_one_that_always_has_more(bench, admin, monkeypatch):
    """Signals of a neighbour wait at another worker, which writes their orders too; ours comes last."""
    await bench.set_up(0)
    decide, all_are_there = Planner._decide, asyncio.Event()

    async def then(intake, *args):
        await all_are_there.wait()
        return await decide(intake, *args)

    monkeypatch.setattr(Planner, "_decide", then)
    async with bench.worker(name="w1") as first, bench.worker(name="w2") as second:
        await bench.until("SELECT count(DISTINCT holder) FROM leases WHERE expires_at > now()", 2)
        await asyncio.sleep(1.0)  # until each has its half

        async def made(worker, make, name):
            while not worker.leases.holds(partition(one := await make(bench, admin, name))):
                name += "'"
            return one

        ours = await made(first, another, "ours")
        theirs = await made(second, another, "theirs")
        await join(bench, admin, [ours, theirs], await made(second, account, "shared"))
        for _ in range(80):
            await signal_for(bench, theirs)
        late = await signal_for(bench, ours)
        await until_a_lock_is_waited_for(bench)  # ours, for its turn
        all_are_there.set()
        await bench.until(PLANNED, 81, within_s=30)
    times = await bench.rows("SELECT signal_id FROM plans ORDER BY planned_at")
    assert [row[0] for row in times].index(late) < 3


async def test_more_strategies_than_connections_share_an_account(bench, admin):
    """Those that wait for their turn hold no connection that the others' orders need."""
    await bench.set_up(1, allow_add_to_position=True)
    strategies = [await another(bench, admin, f"s{n}") for n in range(24)]
    await join(bench, admin, strategies, bench.accounts[0])
    for strategy in strategies * 2:
        await signal_for(bench, strategy)
    async with bench.worker():
        await bench.until(PLANNED, 48, within_s=30)


async def test_every_plan_sees_exactly_what_all_earlier_plans_did(bench, admin, monkeypatch):
    """Four strategies, two accounts, two workers, a hundred signals at once: at each plan the usage is
    what the plans before it have ordered, to the last lot, though nothing has filled yet."""
    await bench.set_up(2, allow_add_to_position=True)
    strategies = [bench.strategy]
    for n in range(3):
        strategies.append(await another(bench, admin, f"s{n}"))
        for each in bench.accounts:
            await join(bench, admin, [strategies[-1]], each)
    await bench.rows(
        """UPDATE accounts SET limits = '{"max_orders_per_minute": 100000}' RETURNING 1"""
    )
    bench.broker.delay_s = 0.02
    seen = []

    async def watching(conn, snapshot, *given):
        told = await ask_usage(conn, snapshot, *given)

        async def heard():
            seen.append((snapshot.strategy.strategy_id, used := await told()))
            return used

        return heard

    monkeypatch.setattr("fanout.gather.ask_usage", watching)
    decide, order = Planner._plan, []

    def in_turn(self, *args):
        order.append(decide(self, *args))
        return order[-1]

    monkeypatch.setattr(Planner, "_plan", in_turn)
    for n in range(100):
        await signal_for(
            bench, strategies[n % 4], action="buy" if n % 3 else "sell", quantity=1 + n % 5
        )
    async with bench.worker(name="w1"), bench.worker(name="w2"):
        await bench.until(PLANNED, 100, within_s=60)
    # A plan that was decided and not kept (its worker lost the lease) is decided again.
    kept = {row[0] for row in await bench.rows("SELECT planned_at FROM plans")}
    assert len(kept) == 100
    held = defaultdict(int)  # by strategy and account: what was ordered, filled or not
    orders = defaultdict(int)
    for plan, (strategy, used) in zip(order, seen, strict=True):
        assert plan.strategy_id == strategy
        if plan.planned_at not in kept:
            continue
        for each in bench.accounts:
            others = sum(held[s, each] for s in strategies if s != strategy)
            assert used[each].others == others
            assert used[each].orders_last_minute == orders[each]
        for entry in plan.entries:
            for leg in entry.legs:
                held[strategy, entry.account_id] += (1 if leg.side == "buy" else -1) * leg.order_qty
                orders[entry.account_id] += 1


async def test_in_postgresql_neighbours_wait_and_two_that_share_with_a_third_alone_do_not(
    bench, admin
):
    """As tests/unit/fanout/test_turn.py for one process, here for two workers' connections."""
    await bench.set_up(1)
    one, two, both = (StrategyID(new_id()) for _ in range(3))

    async def waits(*wanted) -> bool:
        try:
            async with admin.tenant(bench.scope) as conn:
                await conn.execute("SET LOCAL lock_timeout = '100ms'")
                await turn(conn, *wanted)
        except Unavailable:
            return True
        return False

    async with admin.tenant(bench.scope) as conn:
        await turn(conn, one, both)
        assert await waits(one)
        assert await waits(both)
        assert await waits(both, one, two)
        assert not await waits(two, both)
    assert not await waits(both, one, two)
