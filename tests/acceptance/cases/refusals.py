"""Refusals by kind: what a broker will never take is said at once, with its kind, in words."""

from __future__ import annotations

from decimal import Decimal

from tests.acceptance.case import case
from tests.acceptance.desk import Desk


@case("TC-E180", "without funds: funds")
async def funds(desk: Desk) -> None:
    refusal = await desk.refused(desk.order(order_qty=Decimal(1000)), desk.poor)
    assert refusal.kind == "funds"
    assert await desk.held(desk.poor) == 0


@case("TC-E181", "an unknown symbol: instrument")
async def instrument(desk: Desk) -> None:
    assert (await desk.refused(desk.order(symbol="NOPE_USDT"))).kind == "instrument"


@case("TC-E182", "above the maximum: size")
async def too_large(desk: Desk) -> None:
    qty = desk.instrument.max_qty + desk.instrument.lot_step
    assert (await desk.refused(desk.order(order_qty=qty))).kind == "size"


@case("TC-E183", "below the minimum, nothing, or less than nothing: size")
async def too_small(desk: Desk) -> None:
    for qty in (desk.instrument.min_qty - desk.instrument.lot_step, Decimal(0), Decimal(-10)):
        assert (await desk.refused(desk.order(order_qty=qty))).kind == "size", qty
    assert await desk.held() == 0


@case("TC-E184", "off the lot step: size")
async def off_the_step(desk: Desk) -> None:
    qty = 10 * desk.instrument.lot_step + desk.instrument.lot_step / 2
    assert (await desk.refused(desk.order(order_qty=qty))).kind == "size"
    assert await desk.held() == 0


@case("TC-E185", "a refusal leaves nothing behind, and the next order goes")
async def next_one_goes(desk: Desk) -> None:
    await desk.refused(desk.order(symbol="NOPE_USDT"))
    await desk.hold()
    assert await desk.held() == 10
