"""Turns among the tasks of one process: alone, or several beside; first come, first served."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID

import pytest

from fanout.turn import Queues
from tenancy.values import StrategyID

A, B, BOTH = (StrategyID(UUID(int=n)) for n in (1, 2, 9))


class Room:
    """Who is in, and who came in after whom."""

    def __init__(self) -> None:
        self.queues = Queues()
        self.inside: set[str] = set()
        self.order: list[str] = []

    def enter(self, name: str, strategy: StrategyID, *beside: StrategyID) -> asyncio.Task[None]:
        return asyncio.create_task(self._stay(name, strategy, *beside))

    async def _stay(self, name: str, strategy: StrategyID, *beside: StrategyID) -> None:
        async with self.queues.turn(strategy, beside):
            self.inside.add(name)
            self.order.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.inside.discard(name)


async def rest() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def leave(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await rest()


@pytest.fixture
def room() -> Room:
    return Room()


async def test_one_strategy_plans_one_after_the_other(room):
    first, second = room.enter("first", A), room.enter("second", A)
    await rest()
    assert room.inside == {"first"}
    await leave(first)
    assert room.inside == {"second"}
    await leave(second)


@pytest.mark.parametrize("knows", [(A, (B,), B, ()), (A, (), B, (A,)), (A, (B,), B, (A,))])
async def test_neighbours_do_not_plan_at_once_even_where_one_of_them_does_not_know(room, knows):
    one, beside_one, other, beside_other = knows
    first = room.enter("first", one, *beside_one)
    await rest()
    second = room.enter("second", other, *beside_other)
    await rest()
    assert room.inside == {"first"}
    await leave(first)
    assert room.inside == {"second"}
    await leave(second)


async def test_two_that_share_with_a_third_alone_plan_at_once_and_the_third_after_them(room):
    one, two = room.enter("one", A, BOTH), room.enter("two", B, BOTH)
    await rest()
    third = room.enter("third", BOTH, A, B)
    await rest()
    assert room.inside == {"one", "two"}
    await leave(one)
    assert room.inside == {"two"}
    await leave(two)
    assert room.inside == {"third"}
    await leave(third)


async def test_nobody_passes_one_who_waits_longer(room):
    one = room.enter("one", A, BOTH)
    await rest()
    third = room.enter("third", BOTH)
    await rest()
    late = room.enter("late", B, BOTH)
    await rest()
    assert room.inside == {"one"}
    await leave(one)
    assert room.inside == {"third"}
    await leave(third)
    assert room.order == ["one", "third", "late"]
    await leave(late)


async def test_who_gives_up_waiting_holds_nobody_up(room):
    one = room.enter("one", A, BOTH)
    await rest()
    third, late = room.enter("third", BOTH), room.enter("late", B, BOTH)
    await rest()
    await leave(third)
    assert room.inside == {"one", "late"}
    await leave(one, late)
    again = room.enter("again", BOTH)
    await rest()
    assert room.inside == {"again"}
    await leave(again)


async def test_one_who_is_called_and_gives_up_at_that_moment_holds_nobody_up(room):
    one = room.enter("one", A)
    await rest()
    second, third = room.enter("second", A), room.enter("third", A)
    await rest()
    one.cancel()
    await asyncio.sleep(0)  # it leaves, and calls the second, who has not run yet
    second.cancel()
    await rest()
    assert room.inside == {"third"}
    await leave(one, second, third)
