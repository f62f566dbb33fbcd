"""Amending: what rests is changed in place, under the same names, or stands as it stood."""

from __future__ import annotations

from decimal import Decimal

from fanout.abilities import Amended, AmendOutcome, AmendRefused
from fanout.order import Order, OrdState
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, now, soon
from tests.acceptance.needs import AMEND, AMEND_QTY


async def amend(
    desk: Desk, order: Order, *, qty: int | None = None, to: str | None = None
) -> AmendOutcome:
    outcome: AmendOutcome = await desk.broker.amend(
        desk.account, order,
        order_qty=None if qty is None else Decimal(qty),
        price=None if to is None else desk.at(to),
        not_after=soon(),
    )  # fmt: skip
    return outcome


@case("TC-E40", "an amended price is where the order fills", AMEND)
async def price(desk: Desk) -> None:
    order = await desk.known(desk.limit("0.8"))
    outcome = await amend(desk, order, to="0.9")
    assert isinstance(outcome, Amended), outcome
    assert outcome.report.cl_ord_id == order.cl_ord_id
    assert await desk.open() == {order.cl_ord_id}
    await desk.move("0.85")
    assert (await desk.found(order)).ord_status is OrdState.FILLED


@case("TC-E41", "an amended quantity is what fills", AMEND_QTY)
async def quantity(desk: Desk) -> None:
    order = await desk.known(desk.limit("0.8"))
    assert isinstance(await amend(desk, order, qty=15), Amended)
    await desk.move("0.7")
    assert (await desk.found(desk.same(order, order_qty=Decimal(15)))).cum_qty == 15
    assert await desk.held() == 15


@case(
    "TC-E42",
    "a price through the market fills the order: amended, or unknown and then found",
    AMEND,
)
async def through_the_market(desk: Desk) -> None:
    order = await desk.known(desk.limit("0.8"))
    outcome = await amend(desk, order, to="1.1")
    assert not isinstance(outcome, AmendRefused), outcome
    assert (await desk.found(order)).ord_status is OrdState.FILLED
    assert await desk.held() == 10


@case("TC-E43", "what was cancelled is too late to amend, and stays cancelled", AMEND)
async def cancelled(desk: Desk) -> None:
    order = await desk.known(desk.limit())
    await desk.broker.cancel(desk.account, order)
    outcome = await amend(desk, order, to="0.9")
    assert isinstance(outcome, AmendRefused), outcome
    assert outcome.too_late
    assert not await desk.open()


@case("TC-E44", "what was filled cannot be amended, and no more is filled", AMEND)
async def filled(desk: Desk) -> None:
    order = await desk.known(desk.limit("1.1"))
    assert isinstance(await amend(desk, order, to="1.2"), AmendRefused)
    assert await desk.held() == 10


@case("TC-E45", "an amendment after its lease is not sent", AMEND)
async def after_the_lease(desk: Desk) -> None:
    order = await desk.known(desk.limit("0.8"))
    late = await desk.broker.amend(
        desk.account, order, order_qty=None, price=desk.at("0.9"), not_after=now()
    )
    assert isinstance(late, AmendRefused), late
    await desk.move("0.85")
    assert (await desk.found(order)).ord_status is OrdState.NEW
