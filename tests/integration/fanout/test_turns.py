"""A lane keeps its order, whatever fails in it; and nothing is sent too late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from fanout import book
from fanout.adopting import Adopter
from fanout.learner import Learner
from fanout.order import OrdState
from tests.fakes.commits import UnknownCommit

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"


async def test_nothing_opens_a_position_after_its_deadline(bench):
    """Intents may be written late, by the next owner of the partition: they are then not sent."""
    await bench.set_up(2)
    await bench.signal(quantity=1)
    async with bench.crashing_worker() as crash:
        bench.broker.faults.extend(["hang", "hang"])
        await bench.hung(2)
        await crash()
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
    adopt = Adopter.adopt

    async def late(adopter) -> None:
        """The sweep comes when the second signal's orders are in their lanes already."""
        if (await bench.rows("SELECT count(DISTINCT signal_id) FROM orders"))[0][0] == 2:
            await adopt(adopter)

    monkeypatch.setattr(Adopter, "adopt", late)
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


async def test_what_a_former_owner_released_is_not_overtaken(bench, monkeypatch):
    """It wrote the proof and the next attempt late, when the lane was another's already."""
    await bench.set_up(2, allow_add_to_position=True)
    learn, wrote = Learner.learn, []

    async def somebody_was_first(learner, scope, lesson):
        if lesson.state is OrdState.ABSENT and len(wrote) < 2:
            wrote.append(lesson)
            async with learner._database.tenant(scope) as conn:
                await book.learn(conn, scope, [lesson])
        return await learn(learner, scope, lesson)

    monkeypatch.setattr(Learner, "learn", somebody_was_first)
    async with bench.worker():
        await one_behind_the_other(bench)
        await bench.until("SELECT count(DISTINCT order_id) FROM orders WHERE state = 'filled'", 4)
    assert len(wrote) == 2
    assert in_turn(bench)


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


async def test_order_settled_while_the_next_one_is_written_is_not_asked_about(bench, monkeypatch):
    """Else its lane is dropped as another's, and what stands in it is proven absent before it is sent."""
    await bench.set_up(2, allow_add_to_position=True)
    ask, stale = book.ask_unsettled, []

    async def slow_answer(conn, *asked):
        """The first orders are seen in doubt; before that is heard, their lanes have settled them."""
        told = await ask(conn, *asked)

        async def heard():
            orders = await told()
            if orders and not stale:
                stale.extend(orders)
                await bench.until(DONE, 2)
                await asyncio.sleep(0.1)  # their lanes have heard it
            return orders

        return heard

    monkeypatch.setattr(book, "ask_unsettled", slow_answer)
    async with bench.worker():
        bench.broker.delay_s = 0.5
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 2)
        await bench.signal(quantity=2)
        await bench.until(DONE, 4)
    assert len(stale) == 2
    assert in_turn(bench)
    assert await bench.rows("SELECT max(attempt) FROM orders") == [(1,)]


async def test_an_overtaken_second_leg_is_asked_about_before_anything_is_sent_in_its_lane(bench):
    """A flip's second leg and the next signal's order are both doubt: the leg's answer comes late, and yet
    both are asked about, and then sent in the order in which they were meant."""
    await bench.set_up(1, allow_add_to_position=True)
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until(DONE, 1)
    did: list[tuple[str, int, int]] = []
    find = bench.broker.find

    async def noted(account, order, *, sent_by):
        did.append(("find", int(order.order_qty), order.attempt))
        return await find(account, order, sent_by=sent_by)

    async with bench.crashing_worker(name="w2") as crash:
        bench.broker.faults.extend(["ok", "hang_unsent"])
        await bench.signal(action="sell", quantity=3)
        await bench.until("SELECT count(*) FROM orders WHERE leg = 1 AND state = 'intent'", 1)
        await bench.signal(action="sell", quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 2)
        await crash()
    bench.broker.faults.clear()
    bench.broker.most_at_once.clear()
    bench.broker.finds.append("unproven")  # the leg's, at first
    bench.broker.find = noted
    bench.broker.on_submit = lambda o: did.append(("send", int(o.order_qty), o.attempt))
    async with bench.worker(name="w3"):
        await bench.until(DONE, 4)
    leg = int((await bench.rows("SELECT order_qty FROM orders WHERE leg = 1 LIMIT 1"))[0][0])
    assert did == [
        ("find", leg, 1),
        ("find", 1, 1),  # ahead of its turn
        ("find", leg, 1),
        ("send", leg, 2),
        ("send", 1, 2),
    ]
