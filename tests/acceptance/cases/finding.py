"""Looking up: what an order has become, by our name alone."""

from __future__ import annotations

from fanout.order import OrdState
from fanout.ports import AbsentProven
from tests.acceptance.case import case
from tests.acceptance.desk import Desk


@case("TC-E110", "a filled order is found as its report said")
async def filled(desk: Desk) -> None:
    order = desk.order()
    report, seen = await desk.placed(order), await desk.found(order)
    members = ("cl_ord_id", "broker_order_id", "ord_status", "cum_qty", "avg_px")
    assert [getattr(seen, name) for name in members] == [getattr(report, name) for name in members]


@case("TC-E111", "a resting order is found resting")
async def resting(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    seen = await desk.found(order)
    assert (seen.ord_status, seen.cum_qty) == (OrdState.NEW, 0)


@case("TC-E112", "a cancelled order is found cancelled")
async def cancelled(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    await desk.broker.cancel(desk.account, order)
    seen = await desk.found(order)
    assert (seen.ord_status, seen.cum_qty) == (OrdState.CANCELED, 0)


@case("TC-E113", "an order is found by the broker's name too")
async def by_its_name(desk: Desk) -> None:
    order = await desk.known(desk.limit())
    assert (await desk.found(order)).broker_order_id == order.broker_order_id


@case("TC-E114", "an order that was never sent is proven absent")
async def never_sent(desk: Desk) -> None:
    assert isinstance(await desk.looked_up(desk.order()), AbsentProven)


@case("TC-E115", "a refused order is proven absent")
async def refused(desk: Desk) -> None:
    order = desk.order(symbol="NOPE_USDT")
    await desk.refused(order)
    lookup = await desk.looked_up(desk.same(order, symbol=desk.symbol))
    assert isinstance(lookup, AbsentProven), lookup


@case("TC-E116", "an order of one account is proven absent in another")
async def of_another(desk: Desk) -> None:
    order = desk.order()
    await desk.placed(order)
    assert isinstance(await desk.looked_up(order, desk.poor), AbsentProven)
