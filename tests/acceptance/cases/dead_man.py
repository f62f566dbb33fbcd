"""Dead man: open orders are cancelled when we have been silent; what is not confirmed protects nobody."""

from __future__ import annotations

from tests.acceptance.case import case
from tests.acceptance.desk import Desk
from tests.acceptance.needs import DEAD_MAN


@case("TC-E160", "it is confirmed, and may be said again", DEAD_MAN)
async def confirmed(desk: Desk) -> None:
    assert await desk.broker.dead_man(desk.account, 30)
    assert await desk.broker.dead_man(desk.account, 30)


@case("TC-E161", "it is called off, and what is open stays", DEAD_MAN)
async def called_off(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    assert await desk.broker.dead_man(desk.account, 30)
    assert await desk.broker.dead_man(desk.account, 0)
    assert await desk.open() == {order.cl_ord_id}


@case("TC-E162", "a shorter one than the broker takes is not confirmed", DEAD_MAN)
async def too_short(desk: Desk) -> None:
    assert not await desk.broker.dead_man(desk.account, 0.5)
