"""A broker that tells makes the follower ask at once, never twice at a time, and is never believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest

from fanout import hints as module
from fanout.abilities import Hint
from fanout.carry import Carrier, Patience
from fanout.follow import Follower
from fanout.hints import Hints
from fanout.lanes import Job
from fanout.lesson import Consequence, Lesson
from fanout.order import Order, OrdState
from fanout.ports import BrokerAccount, Lookup
from tenancy.clock import SystemClock
from tests.builders import broker_account
from tests.builders import order as an_order
from tests.fakes.broker import FakeBroker
from tests.unit.fanout.test_audit_wait import Ours, Quiet

LONG_S = 3600.0


class Telling(FakeBroker):
    """Tells what it is given to tell; `asked` are the look-ups, which wait for `answer`."""

    caps = msgspec.structs.replace(FakeBroker.caps, tells=True)

    def __init__(self) -> None:
        super().__init__()
        self.told: asyncio.Queue[Hint | Exception] = asyncio.Queue()
        self.streams = self.closed = 0
        self.asked: list[str] = []
        self.at_once: dict[str, int] = {}
        self.answer = asyncio.Event()
        self.answer.set()

    async def hints(self, account: BrokerAccount) -> AsyncIterator[Hint]:
        self.streams += 1
        try:
            while True:
                told = await self.told.get()
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self.closed += 1

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: Any) -> Lookup:
        name = order.cl_ord_id
        self.asked.append(name)
        self.at_once[name] = self.at_once.get(name, 0) + 1
        assert self.at_once[name] == 1, "two questions about one order at once"
        try:
            await self.answer.wait()
            return await super().find(account, order, sent_by=sent_by)
        finally:
            self.at_once[name] -= 1


class Learner:
    """Takes every report for news."""

    async def learn(self, scope: Any, lesson: Lesson) -> Consequence:
        assert lesson.report is not None
        report = lesson.report
        return Consequence(
            order=msgspec.structs.replace(
                lesson.order, state=report.ord_status, cum_qty=report.cum_qty
            )
        )


class Held(Ours):
    def holds(self, part: int) -> bool:
        return True


class World:
    """A follower with two resting orders of one account, and the streams that tell of them."""

    def __init__(self) -> None:
        self.broker = Telling()
        self.account = broker_account()
        self.now = 0.0
        self.carrier = Carrier(
            {"gateio": self.broker}, cast(Any, Held()), cast(Any, Learner()), SystemClock(),
            Patience(doubt_first_s=LONG_S, doubt_most_s=LONG_S), cast(Any, Quiet()),
        )  # fmt: skip
        self.follower = Follower(self.carrier, cast(Any, Held()), lambda job: None, set())
        self.hints = Hints(
            {"gateio": self.broker}, self.follower.open_accounts, self.follower, lambda: self.now
        )
        self.orders = [self.rest(), self.rest()]

    def rest(self) -> Order:
        order = an_order(
            account_id=self.account.account_id, ord_type="limit", price=Decimal(1),
            state=OrdState.NEW,
        )  # fmt: skip
        self.broker._execute(order)
        self.follower.add(
            Job(kind="send", scope=cast(Any, None), account=self.account, order=order, epoch=1)
        )
        return order

    def tell(self, kind: Any, order: Order | None = None) -> None:
        name = order.cl_ord_id if order is not None else None
        self.broker.told.put_nowait(
            Hint(kind=kind, account_id=self.account.account_id, cl_ord_id=name)
        )


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The first round of the follower is done; the next one is an hour away."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "AGAIN_FIRST_S", 0.01)
    world, stop = World(), asyncio.Event()
    tasks = [
        asyncio.create_task(world.follower.run(stop, every_s=LONG_S)),
        asyncio.create_task(world.hints.run(stop)),
    ]
    await until(lambda: len(world.broker.asked) == 2 and world.broker.streams == 1)
    await until(lambda: not any(world.broker.at_once.values()))
    world.broker.asked.clear()
    try:
        yield world
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if true():
                return
            await asyncio.sleep(0.001)


async def test_a_hint_of_an_order_asks_for_it_at_once_and_what_is_true_is_the_answer(monkeypatch):
    async with running(monkeypatch) as world:
        filled, resting = world.orders
        world.broker.fill(filled, filled.order_qty)
        world.tell("fill", filled)
        await until(
            lambda: filled.cl_ord_id not in [j.order.cl_ord_id for j in world.follower.jobs()]
        )
        world.tell("order", resting)  # says nothing: it rests still
        await until(lambda: resting.cl_ord_id in world.broker.asked)
        assert [job.order.cl_ord_id for job in world.follower.jobs()] == [resting.cl_ord_id]


async def test_many_hints_are_one_question_under_way_and_one_that_waits(monkeypatch):
    async with running(monkeypatch) as world:
        order = world.orders[0]
        world.broker.answer.clear()
        for _ in range(10):
            world.tell("order", order)
        await until(lambda: world.broker.told.empty() and len(world.broker.asked) == 1)
        for _ in range(10):
            world.tell("fill", order)
        await until(world.broker.told.empty)
        world.broker.answer.set()
        await until(lambda: len(world.broker.asked) == 2)
        await until(lambda: not any(world.broker.at_once.values()))
        assert world.broker.asked == [order.cl_ord_id] * 2


async def test_a_gap_asks_for_all_of_the_account(monkeypatch):
    async with running(monkeypatch) as world:
        world.tell("gap")
        await until(lambda: set(world.broker.asked) == {o.cl_ord_id for o in world.orders})


async def test_a_hint_of_another_account_asks_nothing(monkeypatch):
    async with running(monkeypatch) as world:
        other = broker_account()
        world.broker.told.put_nowait(Hint(kind="gap", account_id=other.account_id))
        world.tell("position")
        world.tell("order", world.orders[0])
        await until(lambda: world.broker.asked != [])
        assert world.broker.asked == [world.orders[0].cl_ord_id]


async def test_a_stream_that_breaks_is_opened_again_and_all_is_asked_for(monkeypatch):
    async with running(monkeypatch) as world:
        world.broker.told.put_nowait(RuntimeError("the adapter has a bug"))
        await until(lambda: world.broker.streams == 2)
        assert set(world.broker.asked) == {o.cl_ord_id for o in world.orders}
        assert world.broker.closed == 1


async def test_an_account_with_nothing_open_is_listened_to_no_longer_than_a_while(monkeypatch):
    async with running(monkeypatch) as world:
        for order in world.orders:
            world.broker.fill(order, order.order_qty)
        world.tell("gap")
        await until(lambda: world.follower.jobs() == [])
        assert world.broker.closed == 0
        world.now = module.LINGER_S + 1
        await until(lambda: world.broker.closed == 1)


async def test_another_key_is_listened_to_with(monkeypatch):
    async with running(monkeypatch) as world:
        job = world.follower.jobs()[0]
        renewed = msgspec.structs.replace(world.account, credential=b"another")
        for job in world.follower.jobs():
            world.follower.add(msgspec.structs.replace(job, account=renewed))
        await until(lambda: world.broker.streams == 2)
        await until(lambda: world.broker.closed == 1)


async def test_a_hint_of_an_order_in_doubt_makes_its_lane_ask_again(monkeypatch):
    async with running(monkeypatch) as world:
        doubtful = an_order(account_id=world.account.account_id, state=OrdState.IN_DOUBT)
        world.broker.finds.append("unproven")
        resolving = asyncio.create_task(
            world.carrier.resolve(
                cast(Any, None), world.account, doubtful, sent_by=SystemClock().now(), epoch=1
            )
        )
        await until(lambda: doubtful.cl_ord_id in world.broker.asked)
        world.broker._execute(doubtful)
        world.tell("order", doubtful)
        async with asyncio.timeout(5):
            assert (await resolving).order.state is OrdState.FILLED


async def test_when_told_to_stop_every_stream_is_closed(monkeypatch):
    async with running(monkeypatch) as world:
        assert world.broker.closed == 0
    assert world.broker.closed == 1
