"""Balances: where what is held is assets, each is told, and what orders hold of it."""

from __future__ import annotations

from tests.acceptance.case import case
from tests.acceptance.desk import Desk
from tests.acceptance.needs import BALANCES


@case("TC-E140", "what is bought is a balance", BALANCES)
async def bought(desk: Desk) -> None:
    await desk.hold()
    (held,) = (
        row for row in await desk.broker.balances(desk.account) if row.asset != desk.venue.currency
    )
    assert held.total == held.available == 10


@case("TC-E141", "what open orders hold is not available", BALANCES)
async def in_orders(desk: Desk) -> None:
    await desk.placed(desk.limit("0.8"))
    (money,) = await desk.broker.balances(desk.account)
    assert money.asset == desk.venue.currency
    assert money.total == 10_000
    assert money.total - money.available == 10 * desk.at("0.8")


@case("TC-E142", "what is not held cannot be sold", BALANCES)
async def not_held(desk: Desk) -> None:
    await desk.hold(5)
    assert (await desk.refused(desk.order(side="sell"))).kind == "funds"
    assert await desk.held() == 5
