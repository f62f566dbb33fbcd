"""Cancelling all: in one word to the broker, of this account alone, and positions stay."""

from __future__ import annotations

from fanout.order import OrdState
from tests.acceptance.case import case
from tests.acceptance.desk import Desk
from tests.acceptance.needs import CANCEL_ALL


@case("TC-E60", "all that is open in an instrument is cancelled", CANCEL_ALL)
async def of_an_instrument(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    await desk.placed(desk.limit("0.7"))
    assert await desk.broker.cancel_all(desk.account, desk.symbol)
    assert not await desk.open()
    assert (await desk.found(order)).ord_status is OrdState.CANCELED


@case("TC-E61", "all that is open everywhere is cancelled", CANCEL_ALL)
async def everywhere(desk: Desk) -> None:
    for factor in ("0.8", "0.7"):
        await desk.placed(desk.limit(factor))
    assert await desk.broker.cancel_all(desk.account, None)
    assert not await desk.open()


@case("TC-E62", "where nothing is open it is done all the same", CANCEL_ALL)
async def nothing_open(desk: Desk) -> None:
    assert await desk.broker.cancel_all(desk.account, None)


@case("TC-E63", "orders in other instruments stand", CANCEL_ALL)
async def elsewhere(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    other = min(set(await desk.broker.instruments()) - {desk.symbol})
    assert await desk.broker.cancel_all(desk.account, other)
    assert await desk.open() == {order.cl_ord_id}


@case("TC-E64", "another account's orders stand", CANCEL_ALL)
async def not_theirs(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    await desk.broker.cancel_all(desk.poor, None)
    assert await desk.open() == {order.cl_ord_id}


@case("TC-E65", "positions stand", CANCEL_ALL)
async def positions_stand(desk: Desk) -> None:
    await desk.hold()
    await desk.placed(desk.limit())
    await desk.broker.cancel_all(desk.account, None)
    assert await desk.held() == 10
