"""Cancelling: once, and then it is too late."""

from __future__ import annotations

from fanout.order import OrdState
from fanout.ports import CancelDone, CancelTooLate
from tests.acceptance.case import case
from tests.acceptance.desk import Desk
from tests.acceptance.needs import EQUITY


@case("TC-E50", "what rests is cancelled, and is not open any more")
async def done(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    outcome = await desk.broker.cancel(desk.account, order)
    assert isinstance(outcome, CancelDone), outcome
    assert (outcome.report.ord_status, outcome.report.cum_qty) == (OrdState.CANCELED, 0)
    assert not await desk.open()


@case("TC-E51", "a second cancel is too late")
async def twice(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    await desk.broker.cancel(desk.account, order)
    assert isinstance(await desk.broker.cancel(desk.account, order), CancelTooLate)


@case("TC-E52", "what was filled is too late to cancel")
async def filled(desk: Desk) -> None:
    order = desk.order()
    await desk.placed(order)
    assert isinstance(await desk.broker.cancel(desk.account, order), CancelTooLate)
    assert await desk.held() == 10


@case("TC-E53", "what was never sent is too late to cancel")
async def unknown(desk: Desk) -> None:
    assert isinstance(await desk.broker.cancel(desk.account, desk.order()), CancelTooLate)


@case("TC-E54", "what was cancelled does not fill when the market comes")
async def stays_cancelled(desk: Desk) -> None:
    order = desk.limit("0.8")
    await desk.placed(order)
    await desk.broker.cancel(desk.account, order)
    await desk.move("0.7")
    assert await desk.held() == 0


@case("TC-E55", "one cancel leaves the other orders alone")
async def others_stay(desk: Desk) -> None:
    gone, stays = desk.limit(), desk.limit()
    for order in (gone, stays):
        await desk.placed(order)
    await desk.broker.cancel(desk.account, gone)
    assert await desk.open() == {stays.cl_ord_id}


@case("TC-E56", "another account cannot cancel it")
async def not_theirs(desk: Desk) -> None:
    order = desk.limit()
    await desk.placed(order)
    assert isinstance(await desk.broker.cancel(desk.poor, order), CancelTooLate)
    assert await desk.open() == {order.cl_ord_id}


@case("TC-E57", "a cancel gives back what the order held", EQUITY)
async def frees(desk: Desk) -> None:
    before = await desk.broker.equity(desk.account)
    order = desk.limit()
    await desk.placed(order)
    await desk.broker.cancel(desk.account, order)
    assert (await desk.broker.equity(desk.account)).available == before.available
