"""The account: positions, money and open orders, as the broker has them."""

from __future__ import annotations

from decimal import Decimal

from fanout.order import OrdState
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, near
from tests.acceptance.needs import EQUITY, SHORTS


@case("TC-E170", "positions are the sum of the fills")
async def sums(desk: Desk) -> None:
    assert await desk.held() == 0
    await desk.hold(10)
    await desk.hold(5)
    assert await desk.held() == 15
    await desk.placed(desk.order(side="sell", order_qty=Decimal(3)))
    assert await desk.held() == 12


@case("TC-E171", "a short position is negative, with the price that it was opened at", SHORTS)
async def short(desk: Desk) -> None:
    await desk.placed(desk.order(side="sell", order_qty=Decimal(20)))
    (row,) = await desk.broker.positions(desk.account)
    assert row.qty == -20
    assert near(row.avg_px, desk.start)


@case("TC-E172", "another account's positions and orders are its own")
async def its_own(desk: Desk) -> None:
    await desk.hold()
    await desk.placed(desk.limit())
    assert list(await desk.broker.positions(desk.poor)) == []
    assert list(await desk.broker.open_orders(desk.poor)) == []


@case("TC-E173", "open orders are those that rest, and no other")
async def open_orders(desk: Desk) -> None:
    resting = desk.limit(), desk.limit("0.7")
    gone = desk.limit()
    for order in (*resting, gone, desk.order()):
        await desk.placed(order)
    await desk.broker.cancel(desk.account, gone)
    rows = await desk.broker.open_orders(desk.account)
    assert {row.cl_ord_id for row in rows} == {order.cl_ord_id for order in resting}
    assert {row.ord_status for row in rows} == {OrdState.NEW}


@case("TC-E174", "equity is told in its currency", EQUITY)
async def equity(desk: Desk) -> None:
    told = await desk.broker.equity(desk.account)
    assert (told.equity, told.currency) == (10_000, desk.venue.currency)
    assert told.available <= told.equity


@case("TC-E175", "what a position needs is not available, and its equity is still there", EQUITY)
async def margin(desk: Desk) -> None:
    before = await desk.broker.equity(desk.account)
    await desk.hold(1000)
    after = await desk.broker.equity(desk.account)
    assert abs(after.equity - before.equity) < 10, "fees and spread"
    assert after.available < before.available - 500
