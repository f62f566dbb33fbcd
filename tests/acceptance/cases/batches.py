"""Batches: many orders in one request, each with its own outcome."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from fanout.order import Order, OrdState
from fanout.ports import Acked, Outcome, Rejected, Unsent
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, now, soon
from tests.acceptance.needs import BATCHES


async def sent(
    desk: Desk, orders: Sequence[Order], not_after: datetime | None = None
) -> Sequence[Outcome]:
    outcomes: Sequence[Outcome] = await desk.broker.submit_batch(
        desk.account, orders, not_after=not_after or soon()
    )
    assert len(outcomes) == len(orders)
    return outcomes


@case("TC-E70", "outcomes come in the order of the orders", BATCHES)
async def in_order(desk: Desk) -> None:
    orders = [desk.order(), desk.limit(), desk.order(order_qty=Decimal(5))]
    told = await sent(desk, orders)
    names = [one.report.cl_ord_id for one in told if isinstance(one, Acked)]
    assert names == [order.cl_ord_id for order in orders]
    assert await desk.held() == 15
    assert await desk.open() == {orders[1].cl_ord_id}


@case("TC-E71", "one that is refused does not stop the others", BATCHES)
async def one_refused(desk: Desk) -> None:
    too_dear = desk.order(order_qty=Decimal(900_000))
    first, second, third = await sent(desk, [desk.order(), too_dear, desk.limit()])
    assert isinstance(first, Acked)
    assert isinstance(second, Rejected), second
    assert second.kind == "funds"
    assert isinstance(third, Acked)
    assert await desk.held() == 10


@case("TC-E72", "as many as the caps say fit into one", BATCHES)
async def full(desk: Desk) -> None:
    orders = [desk.limit() for _ in range(desk.caps.batch_max)]
    told = await sent(desk, orders)
    assert {type(one) for one in told} == {Acked}
    assert await desk.open() == {order.cl_ord_id for order in orders}


@case("TC-E73", "each is found by its own name", BATCHES)
async def found(desk: Desk) -> None:
    orders = [desk.order(), desk.limit()]
    await sent(desk, orders)
    states = [(await desk.found(order)).ord_status for order in orders]
    assert states == [OrdState.FILLED, OrdState.NEW]


@case("TC-E74", "after the lease nothing of it is sent", BATCHES)
async def after_the_lease(desk: Desk) -> None:
    told = await sent(desk, [desk.order(), desk.order()], now())
    assert {type(one) for one in told} == {Unsent}
    assert await desk.held() == 0
