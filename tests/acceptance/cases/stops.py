"""Stops: they wait for their price. Where a broker has none the gateway's own engine holds them."""

from __future__ import annotations

from decimal import Decimal

from fanout.order import FINAL, OrdState
from fanout.ports import CancelDone
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, near
from tests.acceptance.needs import ord_type

STOP, STOP_LIMIT, TRAILING = ord_type("stop"), ord_type("stop_limit"), ord_type("trailing_stop")


@case("TC-E30", "a stop to buy rests until its price, and is then a market order", STOP)
async def buys(desk: Desk) -> None:
    await _triggers(desk, "buy", "1.1", "1.05", "1.2")


@case("TC-E31", "a stop to sell rests until its price, and is then a market order", STOP)
async def sells(desk: Desk) -> None:
    await _triggers(desk, "sell", "0.9", "0.95", "0.8")


async def _triggers(desk: Desk, side: str, stop: str, before: str, beyond: str) -> None:
    order = desk.order(side=side, ord_type="stop", stop_px=desk.at(stop))
    assert (await desk.placed(order)).ord_status is OrdState.NEW
    await desk.move(before)
    assert (await desk.found(order)).ord_status is OrdState.NEW
    await desk.move(beyond)
    seen = await desk.found(order)
    assert (seen.ord_status, seen.cum_qty) == (OrdState.FILLED, 10)
    assert near(seen.avg_px, desk.at(beyond))


@case("TC-E32", "a stop limit to buy is a limit order once its stop is reached", STOP_LIMIT)
async def stop_limit_buys(desk: Desk) -> None:
    order = desk.limit("1.15", ord_type="stop_limit", stop_px=desk.at("1.1"))
    await desk.placed(order)
    await desk.move("1.2")  # through the limit: it rests
    assert (await desk.found(order)).ord_status is OrdState.NEW
    await desk.move("1.15")
    seen = await desk.found(order)
    assert seen.ord_status is OrdState.FILLED
    assert seen.avg_px is not None
    assert seen.avg_px <= desk.at("1.15")


@case("TC-E33", "a stop limit to sell is a limit order once its stop is reached", STOP_LIMIT)
async def stop_limit_sells(desk: Desk) -> None:
    await desk.hold()
    order = desk.limit("0.85", side="sell", ord_type="stop_limit", stop_px=desk.at("0.9"))
    await desk.placed(order)
    await desk.move("0.8")
    assert (await desk.found(order)).ord_status is OrdState.NEW
    await desk.move("0.86")
    seen = await desk.found(order)
    assert seen.ord_status is OrdState.FILLED
    assert seen.avg_px is not None
    assert seen.avg_px >= desk.at("0.85")


@case("TC-E34", "a trailing stop in percent follows the market and never goes back", TRAILING)
async def trails_in_percent(desk: Desk) -> None:
    await _trails(desk, trail_percent=Decimal(5))


@case("TC-E35", "a trailing stop by an amount follows the market and never goes back", TRAILING)
async def trails_by_amount(desk: Desk) -> None:
    await _trails(desk, trail_amount=desk.start * Decimal("0.06"))


async def _trails(desk: Desk, **trail: Decimal) -> None:
    await desk.hold()
    order = desk.order(side="sell", ord_type="trailing_stop", reduce_only=True, **trail)
    await desk.placed(order)
    for factor, status in (("1.2", "new"), ("1.15", "new"), ("1.13", "filled")):
        await desk.move(factor)
        assert (await desk.found(order)).ord_status == status, factor
    assert await desk.held() == 0


@case("TC-E36", "a waiting stop is open", STOP)
async def is_open(desk: Desk) -> None:
    order = desk.order(ord_type="stop", stop_px=desk.at("1.1"))
    await desk.placed(order)
    assert await desk.open() == {order.cl_ord_id}


@case("TC-E37", "a waiting stop that was cancelled does not trigger any more", STOP)
async def is_cancelled(desk: Desk) -> None:
    order = desk.order(ord_type="stop", stop_px=desk.at("1.1"))
    await desk.placed(order)
    assert isinstance(await desk.broker.cancel(desk.account, order), CancelDone)
    await desk.move("1.2")
    assert (await desk.found(order)).ord_status is OrdState.CANCELED
    assert await desk.held() == 0


@case("TC-E38", "a reduce-only stop whose position is gone opens nothing", STOP)
async def position_gone(desk: Desk) -> None:
    await desk.hold()
    order = desk.order(side="sell", ord_type="stop", stop_px=desk.at("0.9"), reduce_only=True)
    await desk.placed(order)
    await desk.placed(desk.order(side="sell"))
    await desk.move("0.8")
    assert (await desk.found(order)).ord_status in FINAL
    assert await desk.held() == 0


@case("TC-E39", "a stop without a price, or with one off the tick, is refused", STOP)
async def no_price(desk: Desk) -> None:
    for wrong in (None, desk.at("1.1") + desk.instrument.tick / 2):
        assert (await desk.refused(desk.order(ord_type="stop", stop_px=wrong))).kind == "price"
