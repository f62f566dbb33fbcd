"""What happens between two writes: commits of unknown outcome, orders under way, wishes that come late."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

import tenancy.database
from fanout import book
from fanout.learner import Learner
from fanout.leases import LeaseLost, Leases
from fanout.lesson import Lesson
from fanout.order import OrdState, cl_ord_id, order_id
from fanout.ports import CancelTooLate, CancelUnknown
from fanout.worker import Worker
from tenancy.clock import SystemClock
from tenancy.errors import OutcomeUnknown
from tenancy.ids import new_id
from tenancy.values import SignalID, partition
from tests import builders

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"


class UnknownCommit:
    """Commits for real, then says that it does not know, once: where `query` finds own changes."""

    def __init__(self, monkeypatch, query: str) -> None:
        self.query = query
        self.happened = 0
        self._commit = tenancy.database.commit
        monkeypatch.setattr(tenancy.database, "commit", self)

    async def __call__(self, conn) -> None:
        mine = f"{self.query} AND xmin = pg_current_xact_id()::xid"
        hit = not self.happened and await (await conn.execute(mine)).fetchone() is not None
        await self._commit(conn)
        if hit:
            self.happened += 1
            raise OutcomeUnknown("the answer to COMMIT was lost")


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


async def test_nothing_opens_a_position_after_its_deadline(bench):
    """Intents may be written late, by the next owner of the partition: they are then not sent."""
    await bench.set_up(2)
    await bench.signal(quantity=1)
    async with bench.crashing_worker() as crash:
        bench.broker.faults.extend(["hang", "hang"])
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 2)
        await crash()
    bench.broker.faults.clear()
    bench.broker.executed.clear()
    bench.broker.reports.clear()  # the requests never arrived
    past = datetime.now(UTC) - timedelta(seconds=1)
    await bench.rows("UPDATE orders SET deadline = %s RETURNING 1", past)
    late = (await bench.rows("SELECT cl_ord_id FROM orders ORDER BY 1 LIMIT 1"))[0][0]
    # As if the crash had come before this one's intent.
    await bench.rows("UPDATE plans SET plan = jsonb_set(plan::jsonb, '{deadline}', to_jsonb(%s::text))::json"
                     " RETURNING 1", past.isoformat())  # fmt: skip
    await bench.rows(
        "WITH gone AS (DELETE FROM orders WHERE cl_ord_id = %s RETURNING *) INSERT INTO plan_parts"
        " SELECT signal_id, part, tenant_id, strategy_id, now() FROM gone RETURNING 1", late
    )  # fmt: skip
    async with bench.worker(name="w2"):
        await bench.until("SELECT count(*) FROM orders WHERE state IN ('absent', 'unsent')", 2)
    assert bench.broker.executed == []
    text = await bench.rows("SELECT text FROM orders WHERE state = 'unsent'")
    assert text == [("too_late: its deadline passed before it could be sent",)]


async def test_new_orders_wait_in_their_lane_for_what_a_dead_worker_left(bench, monkeypatch):
    """Else the second order trades before the first, and the plan of either is wrong."""
    await bench.set_up(4, allow_add_to_position=True)
    await bench.signal(quantity=1)
    bench.broker.delay_s = 30.0
    async with bench.crashing_worker() as crash:
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 4)
        await crash()
    bench.broker.delay_s = 0.0
    await bench.signal(quantity=2)
    adopt = Worker._adopt

    async def late(worker) -> None:
        """The sweep comes when the second signal's orders are in their lanes already."""
        if (await bench.rows("SELECT count(DISTINCT signal_id) FROM orders"))[0][0] == 2:
            await adopt(worker)

    monkeypatch.setattr(Worker, "_adopt", late)
    async with bench.worker(name="w2"):
        await bench.until(DONE, 8)
    for account in bench.accounts:
        sent = [o.order_qty for o in bench.broker.executed if o.account_id == account]
        assert sent == [1, 2]


async def one_behind_the_other(bench) -> None:
    """Two signals' orders in each lane; the first one's request is lost on its way."""
    bench.broker.delay_s = 0.5
    bench.broker.faults.extend(["lost_before"] * len(bench.accounts))
    await bench.signal(quantity=1)
    await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", len(bench.accounts))
    await bench.signal(quantity=2)
    await bench.until("SELECT count(*) FROM orders", 2 * len(bench.accounts))
    bench.broker.delay_s = 0.0


def in_turn(bench) -> bool:
    lanes = [
        [o.order_qty for o in bench.broker.executed if o.account_id == a] for a in bench.accounts
    ]
    return all(lane == [1, 2] for lane in lanes)


async def test_next_attempt_of_unknown_commit_is_not_overtaken(bench, monkeypatch):
    """Found by the chaos run: the lane went on to the next order, and a sweep found the attempt later."""
    await bench.set_up(2, allow_add_to_position=True)
    lost = UnknownCommit(monkeypatch, "SELECT FROM orders WHERE state = 'absent'")
    async with bench.worker():
        await one_behind_the_other(bench)
        await bench.until(DONE, 4)
    assert lost.happened == 1
    assert in_turn(bench)
    assert await bench.rows("SELECT max(attempt) FROM orders") == [(2,)]


async def test_lane_whose_job_failed_lets_nothing_overtake_it(bench, monkeypatch):
    await bench.set_up(2, allow_add_to_position=True)
    learn, failed = Learner.learn, []

    async def fails_once(learner, scope, lesson):
        if lesson.state is OrdState.ABSENT and len(failed) < 2:
            failed.append(lesson)
            raise RuntimeError("nobody foresaw this")
        return await learn(learner, scope, lesson)

    monkeypatch.setattr(Learner, "learn", fails_once)
    async with bench.worker():
        await one_behind_the_other(bench)
        await bench.until(DONE, 4)
    assert len(failed) == 2
    assert in_turn(bench)


async def test_order_under_way_is_cancelled_when_its_outcome_is_known(bench):
    """The limit order is not acknowledged yet when the next signal wants it cancelled."""
    await bench.set_up(1)
    bench.broker.delay_s = 0.4
    async with bench.worker():
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 1)
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 1)


async def test_second_leg_that_a_later_signal_cancels_is_not_sent_when_the_first_fills(
    bench, monkeypatch
):
    """The fill of the first leg crossed the cancel: the position is closed, and stays closed."""
    await bench.set_up(1)

    async def filled_meanwhile(account, order):
        at_broker = bench.broker.reports[order.cl_ord_id]
        bench.broker.reports[order.cl_ord_id] = msgspec.structs.replace(
            at_broker, ord_status=OrdState.FILLED, cum_qty=order.order_qty, avg_px=order.price
        )
        return CancelTooLate(text="filled")

    monkeypatch.setattr(bench.broker, "cancel", filled_meanwhile)
    async with bench.worker():
        await bench.signal(quantity=3)
        await bench.until(DONE, 1)
        await bench.signal(action="sell", quantity=5, orderType="limit", limitPrice=90_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'denied'", 1)
    assert await bench.rows("SELECT qty FROM positions") == [(Decimal(0),)]
    assert await bench.rows("SELECT text FROM orders WHERE state = 'denied'") == [
        ("a later signal cancelled it",)
    ]
    assert len(bench.broker.executed) == 2


async def test_cancel_whose_answer_is_lost_is_repeated(bench, monkeypatch):
    await bench.set_up(1)
    answers = [CancelUnknown(cause="reset"), CancelUnknown(cause="reset")]
    cancel = bench.broker.cancel

    async def forgetful(account, order):
        return answers.pop() if answers else await cancel(account, order)

    monkeypatch.setattr(bench.broker, "cancel", forgetful)
    async with bench.worker():
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 1)
    assert answers == []


async def test_order_wanted_cancelled_is_not_sent_again_when_it_is_proven_absent(bench):
    await bench.set_up(1)
    bench.broker.delay_s = 0.4
    bench.broker.faults.append("lost_before")
    async with bench.worker():
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 1)
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'absent'", 1)
    assert await bench.rows("SELECT count(*) FROM orders") == [(1,)]
    closes = "SELECT count(*) FROM audit_inbox WHERE kind = 'order.close'"
    assert await bench.rows(closes) == [(1,)]


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


class Beside:
    """An order of the bench's first account, in the book, and a learner of our own."""

    def __init__(self, bench, database, leases, known: set[str]) -> None:
        self.learner = Learner(database, leases, known)
        self.database, self.bench = database, bench

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


async def test_refused_lesson_does_not_take_its_neighbours_with_it(bench):
    async with beside(bench) as (here, _):
        good = await here.order()
        bad = builders.order(tenant_id=bench.scope.tenant_id)  # in no book
        told = await asyncio.gather(
            *(
                here.learner.learn(
                    bench.scope,
                    Lesson(order=one, learned_at=builders.NOW, report=builders.report(one)),
                )
                for one in (bad, good)
            ),
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
            market = await read_market(conn, snapshot, builders.signal(), known)
            conn.execute = execute
        assert asked > 1
        assert [now.expected for now in market.accounts.values()] == [Decimal(10)]


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
