"""Hedge mode: a long and a short of one instrument side by side."""

from __future__ import annotations

from decimal import Decimal

from tests.acceptance.case import case
from tests.acceptance.desk import Desk
from tests.acceptance.needs import HEDGE

SETTINGS = {"position_mode": "hedge"}


def hedged(desk: Desk) -> Desk:
    account = desk.same(desk.account, settings=SETTINGS)  # type: ignore[type-var]
    return type(desk)(desk.same(desk.venue, account=account), desk.instrument, desk.spoil_next)  # type: ignore[type-var]


async def sides(desk: Desk) -> dict[str, Decimal]:
    return {row.side: row.qty for row in await desk.broker.positions(desk.account)}


@case("TC-E100", "a buy and a sell are held side by side", HEDGE)
async def side_by_side(desk: Desk) -> None:
    desk = hedged(desk)
    await desk.placed(desk.order())
    await desk.placed(desk.order(side="sell", order_qty=Decimal(6)))
    assert await sides(desk) == {"long": 10, "short": -6}


@case("TC-E101", "each side is reduced by itself", HEDGE)
async def reduced(desk: Desk) -> None:
    desk = hedged(desk)
    await desk.placed(desk.order())
    await desk.placed(desk.order(side="sell", order_qty=Decimal(6)))
    await desk.placed(desk.order(side="sell", order_qty=Decimal(4), reduce_only=True))
    await desk.placed(desk.order(order_qty=Decimal(1), reduce_only=True))
    assert await sides(desk) == {"long": 6, "short": -5}
