"""Limit orders: they rest, fill no worse than their limit, or go at once where they must."""

from __future__ import annotations

from decimal import Decimal

from fanout.order import OrdState
from fanout.ports import Acked, Rejected
from tests.acceptance.case import case
from tests.acceptance.desk import Desk
from tests.acceptance.needs import in_force
from tests.fakes.orders import submitted


@case("TC-E10", "a limit order to buy below the market rests")
async def buy_rests(desk: Desk) -> None:
    report = await desk.placed(desk.limit("0.8"))
    assert (report.ord_status, report.cum_qty, report.avg_px) == (OrdState.NEW, 0, None)
    assert await desk.held() == 0


@case("TC-E11", "a limit order to sell above the market rests")
async def sell_rests(desk: Desk) -> None:
    await desk.hold()
    report = await desk.placed(desk.limit("1.2", side="sell"))
    assert (report.ord_status, report.cum_qty, report.avg_px) == (OrdState.NEW, 0, None)
    assert await desk.held() == 10


@case("TC-E12", "one on each side of the market rest together")
async def both_rest(desk: Desk) -> None:
    await desk.hold()
    orders = desk.limit("0.8"), desk.limit("1.2", side="sell")
    for order in orders:
        await desk.placed(order)
    assert await desk.open() == {order.cl_ord_id for order in orders}


@case("TC-E13", "a limit order ioc through the market fills", in_force("limit", "ioc"))
async def ioc_fills(desk: Desk) -> None:
    report = await desk.placed(desk.limit("1.1", time_in_force="ioc"))
    assert (report.ord_status, report.cum_qty) == (OrdState.FILLED, 10)


@case("TC-E14", "a limit order ioc away from the market leaves nothing", in_force("limit", "ioc"))
async def ioc_leaves_nothing(desk: Desk) -> None:
    await _leaves_nothing(desk, "ioc")


@case("TC-E15", "a limit order fok through the market fills whole", in_force("limit", "fok"))
async def fok_fills(desk: Desk) -> None:
    report = await desk.placed(desk.limit("1.1", time_in_force="fok"))
    assert (report.ord_status, report.cum_qty) == (OrdState.FILLED, 10)


@case("TC-E16", "a limit order fok away from the market leaves nothing", in_force("limit", "fok"))
async def fok_leaves_nothing(desk: Desk) -> None:
    await _leaves_nothing(desk, "fok")


async def _leaves_nothing(desk: Desk, tif: str) -> None:
    outcome = await submitted(desk.broker, desk.account, desk.limit("0.8", time_in_force=tif))
    if isinstance(outcome, Acked):
        assert (outcome.report.ord_status, outcome.report.cum_qty) == (OrdState.CANCELED, 0)
    else:
        assert isinstance(outcome, Rejected), outcome
    assert not await desk.open()
    assert await desk.held() == 0


@case("TC-E17", "a limit order to buy through the market fills no worse than its limit")
async def buys_no_worse(desk: Desk) -> None:
    report = await desk.placed(desk.limit("1.1"))
    assert report.ord_status is OrdState.FILLED
    assert report.avg_px is not None
    assert report.avg_px <= desk.at("1.1")


@case("TC-E18", "a limit order to sell through the market fills no worse than its limit")
async def sells_no_worse(desk: Desk) -> None:
    await desk.hold()
    report = await desk.placed(desk.limit("0.9", side="sell"))
    assert report.ord_status is OrdState.FILLED
    assert report.avg_px is not None
    assert report.avg_px >= desk.at("0.9")


@case("TC-E19", "a limit order for the day, or till cancelled, rests")
async def day_rests(desk: Desk) -> None:
    orders = [desk.limit(time_in_force=tif) for tif in ("day", "gtc")]
    for order in orders:
        assert (await desk.placed(order)).ord_status is OrdState.NEW
    assert await desk.open() == {order.cl_ord_id for order in orders}


@case("TC-E20", "what rests fills when the market comes to it, no worse than its limit")
async def market_comes(desk: Desk) -> None:
    order = desk.limit("0.8")
    await desk.placed(order)
    await desk.move("0.7")
    seen = await desk.found(order)
    assert (seen.ord_status, seen.cum_qty) == (OrdState.FILLED, 10)
    assert seen.avg_px is not None
    assert seen.avg_px <= desk.at("0.8")
    assert await desk.held() == 10


@case("TC-E21", "a limit order without a price is refused")
async def no_price(desk: Desk) -> None:
    await desk.refused(desk.limit(price=None))
    assert not await desk.open()


@case("TC-E22", "a price off the tick is refused")
async def off_the_tick(desk: Desk) -> None:
    await desk.refused(desk.limit(price=desk.at("0.8") + desk.instrument.tick / 2))
    assert not await desk.open()


@case("TC-E23", "a price of nothing, or below, is refused")
async def no_worth(desk: Desk) -> None:
    for price in (Decimal(0), -desk.instrument.tick):
        await desk.refused(desk.limit(price=price))
    assert await desk.held() == 0


for number, tif in (("TC-E24", "opg"), ("TC-E25", "cls")):

    async def in_an_auction(desk: Desk, tif: str = tif) -> None:
        report = await desk.placed(desk.limit("1.1", time_in_force=tif))
        assert report.cum_qty == 0

    case(number, f"a limit order waits for the auction ({tif})", in_force("limit", tif))(
        in_an_auction
    )
