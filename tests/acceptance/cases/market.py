"""Market orders: they fill at once, at a price of the market, and leave nothing behind."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from fanout.order import OrdState
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, near, now
from tests.acceptance.needs import SHORTS, in_force


@case("TC-E01", "a market order to buy fills, at a price of the market")
async def buys(desk: Desk) -> None:
    report = await desk.placed(desk.order())
    assert (report.ord_status, report.cum_qty) == (OrdState.FILLED, 10)
    assert near(report.avg_px, desk.start)
    assert await desk.held() == 10


@case("TC-E02", "a market order to sell opens a short, at a price of the market", SHORTS)
async def sells_short(desk: Desk) -> None:
    report = await desk.placed(desk.order(side="sell"))
    assert (report.ord_status, report.cum_qty) == (OrdState.FILLED, 10)
    assert near(report.avg_px, desk.start)
    assert await desk.held() == -10


@case("TC-E03", "a market order closes what another one opened, and nothing is left")
async def closes(desk: Desk) -> None:
    await desk.hold()
    report = await desk.placed(desk.order(side="sell"))
    assert report.cum_qty == 10
    assert await desk.held() == 0
    assert not await desk.open()


@case("TC-E04", "a market order closes a part, and the rest stays")
async def closes_a_part(desk: Desk) -> None:
    await desk.hold()
    await desk.placed(desk.order(side="sell", order_qty=Decimal(4)))
    assert await desk.held() == 6


@case("TC-E05", "a market order larger than the position turns it round", SHORTS)
async def turns(desk: Desk) -> None:
    await desk.hold()
    await desk.placed(desk.order(side="sell", order_qty=Decimal(25)))
    assert await desk.held() == -15


@case("TC-E06", "a report is stamped now")
async def stamped(desk: Desk) -> None:
    report = await desk.placed(desk.order())
    assert abs(report.transact_time - now()) < timedelta(seconds=5)


@case("TC-E07", "a market order ioc fills", in_force("market", "ioc"))
async def ioc(desk: Desk) -> None:
    report = await desk.placed(desk.order(time_in_force="ioc"))
    assert (report.ord_status, report.cum_qty) == (OrdState.FILLED, 10)


@case("TC-E08", "a market order fok fills whole", in_force("market", "fok"))
async def fok(desk: Desk) -> None:
    report = await desk.placed(desk.order(time_in_force="fok"))
    assert (report.ord_status, report.cum_qty) == (OrdState.FILLED, 10)


@case("TC-E09", "a market order for the day or till cancelled never rests")
async def never_rests(desk: Desk) -> None:
    for tif in ("day", "gtc"):
        report = await desk.placed(desk.order(time_in_force=tif))
        assert report.ord_status is OrdState.FILLED
    assert not await desk.open()


for number, tif in (("TC-E26", "opg"), ("TC-E27", "cls")):

    async def in_an_auction(desk: Desk, tif: str = tif) -> None:
        report = await desk.placed(desk.order(time_in_force=tif))
        assert report.cum_qty == 0

    case(number, f"a market order waits for the auction ({tif})", in_force("market", tif))(
        in_an_auction
    )
