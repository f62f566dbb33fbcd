"""What was asked ahead is one answer for one question; nobody's failure is nobody's."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from fanout.asking import Asking
from fanout.order import Order
from fanout.ports import AbsentUnproven, BrokerAccount, Lookup
from tests.builders import broker_account
from tests.builders import order as an_order

ACCOUNT = broker_account()
SENT_BY = datetime(2026, 11, 23, tzinfo=UTC)


class Venue:
    """Answers when it is let, with the how many-th question it was."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.most = self.open = 0
        self.lets = asyncio.Event()
        self.fails = False

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        assert (account, sent_by) == (ACCOUNT, SENT_BY)
        self.asked.append(order.cl_ord_id)
        number = len(self.asked)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self.lets.wait()
        finally:
            self.open -= 1
        if self.fails:
            raise RuntimeError("nobody foresaw this")
        return AbsentUnproven(why=str(number))


def asking() -> tuple[Asking, Venue]:
    venue = Venue()
    return Asking({"gateio": cast(Any, venue)}, lambda account: account), venue


async def test_what_is_asked_ahead_is_under_way_together_and_each_answer_is_used_once():
    made, venue = asking()
    orders = [an_order() for _ in range(3)]
    for order in (*orders, *orders):
        made.ahead(ACCOUNT, order, SENT_BY)
    await asyncio.sleep(0)
    venue.lets.set()
    answers = [await made.find(ACCOUNT, order, sent_by=SENT_BY) for order in orders]
    assert answers == [AbsentUnproven(why=why) for why in "123"]
    assert venue.most == len(orders)
    assert await made.find(ACCOUNT, orders[0], sent_by=SENT_BY) == AbsentUnproven(why="4")


async def test_asked_anew_the_answer_from_before_is_not_used():
    made, venue = asking()
    order = an_order()
    venue.lets.set()
    made.ahead(ACCOUNT, order, SENT_BY)
    await asyncio.sleep(0)
    answer = await made.find(ACCOUNT, order, sent_by=SENT_BY, anew=True)
    assert answer == AbsentUnproven(why="2")


async def test_who_asks_for_an_answer_hears_that_it_failed_and_nobody_else():
    made, venue = asking()
    unheard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, what: unheard.append(what))
    wanted, left, hanging = an_order(), an_order(), an_order()
    venue.fails = True
    venue.lets.set()
    for order in (wanted, left):
        made.ahead(ACCOUNT, order, SENT_BY)
    await asyncio.sleep(0.01)
    venue.lets.clear()
    made.ahead(ACCOUNT, hanging, SENT_BY)
    await asyncio.sleep(0.01)
    for order in (left, hanging, an_order()):
        made.forget(order)
    with pytest.raises(RuntimeError, match="nobody foresaw"):
        await made.find(ACCOUNT, wanted, sent_by=SENT_BY)
    await asyncio.sleep(0.01)
    assert venue.open == 0, "who hangs is not asked any more"
    gc.collect()
    assert unheard == []
