"""Signals that wait for their plan go together, and what fails, fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from fanout import together
from fanout.planned import NotPlanned
from fanout.planner import Wanted
from fanout.together import Together
from tenancy.errors import Unavailable
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.values import SignalID, StrategyID, TenantID

DONE = NotPlanned.NOTHING_TO_DO


def house() -> TenantScope:
    return TenantScope(tenant_id=TenantID(new_id()), actor=Actor(kind="algo", id="test"))


def wanted() -> Wanted:
    return Wanted(SignalID(new_id()), StrategyID(new_id()))


class Transactions:
    """Each ends when it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[Wanted]] = []
        self.goes = asyncio.Semaphore(0)
        self.bad: dict[Wanted, Exception] = {}

    async def plan(self, scope: TenantScope, group: Sequence[Wanted]) -> list[NotPlanned]:
        self.groups.append(list(group))
        await self.goes.acquire()
        for one in group:
            if one in self.bad:
                raise self.bad[one]
        return [DONE] * len(group)

    def let_go(self, times: int = 1) -> None:
        for _ in range(times):
            self.goes.release()


async def begun(made: Transactions, group: Together, scope: TenantScope, *wanted: Wanted):
    """The first is under way; the others come meanwhile."""
    first, *others = wanted
    tasks = [asyncio.create_task(group.plan(scope, first))]
    while not made.groups:  # noqa: ASYNC110 - it is counted, not signalled
        await asyncio.sleep(0)
    return [*tasks, *(asyncio.create_task(group.plan(scope, one)) for one in others)]


async def test_one_alone_is_planned_at_once_and_who_comes_meanwhile_goes_together():
    made = Transactions()
    group, scope = Together(made.plan), house()
    first, *others = [wanted() for _ in range(4)]
    tasks = await begun(made, group, scope, first, *others)
    assert made.groups == [[first]]
    made.let_go(2)
    assert await asyncio.gather(*tasks) == [DONE] * 4
    assert made.groups == [[first], others]
    assert repr(group) == "Together(waiting=0)"


async def test_another_tenants_do_not_wait():
    made = Transactions()
    group = Together(made.plan)
    tasks = [asyncio.create_task(group.plan(house(), wanted())) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(made.groups) == 3
    made.let_go(3)
    await asyncio.gather(*tasks)


async def test_a_group_that_stands_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(together, "WAIT_S", 0.01)
    made = Transactions()
    group, scope = Together(made.plan), house()
    stands, late = await begun(made, group, scope, wanted(), wanted())
    while len(made.groups) < 2:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.005)
    made.let_go(2)
    assert await asyncio.gather(stands, late) == [DONE, DONE]


async def test_there_are_no_more_than_so_many_in_a_transaction():
    made = Transactions()
    group, scope = Together(made.plan), house()
    tasks = await begun(made, group, scope, *(wanted() for _ in range(together.MOST + 3)))
    made.let_go(9)
    await asyncio.gather(*tasks)
    assert [len(one) for one in made.groups] == [1, together.MOST, 2]


async def test_of_a_group_only_what_fails_fails():
    made = Transactions()
    group, scope = Together(made.plan), house()
    first, good, bad = wanted(), wanted(), wanted()
    made.bad[bad] = RuntimeError("nobody foresaw this")
    tasks = await begun(made, group, scope, first, good, bad)
    made.let_go(9)
    assert await tasks[0] is DONE
    assert await tasks[1] is DONE
    with pytest.raises(RuntimeError, match="nobody foresaw"):
        await tasks[2]
    assert made.groups == [[first], [good, bad], [good], [bad]]


async def test_where_the_database_is_away_nobody_is_tried_again():
    made = Transactions()
    group, scope = Together(made.plan), house()
    first, one, other = wanted(), wanted(), wanted()
    made.bad[one] = Unavailable("away")
    tasks = await begun(made, group, scope, first, one, other)
    made.let_go(9)
    assert await tasks[0] is DONE
    for task in tasks[1:]:
        with pytest.raises(Unavailable):
            await task
    assert made.groups == [[first], [one, other]]
