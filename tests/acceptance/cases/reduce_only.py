"""Reduce-only: an exit is never an entry."""

from __future__ import annotations

from decimal import Decimal

from fanout.order import FINAL
from tests.acceptance.case import case
from tests.acceptance.desk import Desk


@case("TC-E90", "without a position it is refused")
async def nothing_there(desk: Desk) -> None:
    refusal = await desk.refused(desk.order(side="sell", reduce_only=True))
    assert refusal.kind == "risk"
    assert await desk.held() == 0


@case("TC-E91", "it never turns a position")
async def never_turns(desk: Desk) -> None:
    await desk.hold()
    order = desk.order(side="sell", reduce_only=True, order_qty=Decimal(30))
    report = await desk.placed(order)
    assert report.ord_status in FINAL
    assert report.cum_qty == 10
    assert await desk.held() == 0
    assert not await desk.open()


@case("TC-E92", "it closes a part")
async def a_part(desk: Desk) -> None:
    await desk.hold()
    await desk.placed(desk.order(side="sell", reduce_only=True, order_qty=Decimal(4)))
    assert await desk.held() == 6


@case("TC-E93", "on the side of the position it is refused")
async def wrong_side(desk: Desk) -> None:
    await desk.hold()
    assert (await desk.refused(desk.order(reduce_only=True))).kind == "risk"
    assert await desk.held() == 10
