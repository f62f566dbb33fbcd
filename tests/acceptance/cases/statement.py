"""The broker's own statement: every fill of a time, whoever ordered it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from fanout.abilities import BrokerFill
from fanout.ports import BrokerAccount
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, near, now
from tests.acceptance.needs import STATEMENT

AGO = timedelta(minutes=1)


async def fills(desk: Desk, account: BrokerAccount | None = None) -> Sequence[BrokerFill]:
    told: Sequence[BrokerFill] = await desk.broker.fills(
        account or desk.account, since=now() - AGO, until=now() + AGO
    )
    return told


@case("TC-E130", "it tells of every fill by the name of its order, and of nothing else", STATEMENT)
async def by_name(desk: Desk) -> None:
    order = desk.order()
    await desk.placed(order)
    await desk.placed(desk.limit())
    told = await fills(desk)
    assert {fill.cl_ord_id for fill in told} == {order.cl_ord_id}
    assert {(fill.symbol, fill.side) for fill in told} == {(desk.symbol, "buy")}
    assert sum(fill.qty for fill in told) == 10
    assert all(near(fill.price, desk.start) for fill in told)


@case("TC-E131", "each trade has a name of its own", STATEMENT)
async def names(desk: Desk) -> None:
    await desk.hold()
    await desk.placed(desk.order(side="sell", order_qty=Decimal(4)))
    told = await fills(desk)
    assert len({fill.trade_id for fill in told}) == len(told) >= 2
    assert sum(fill.qty for fill in told if fill.side == "sell") == 4


@case("TC-E132", "what was before the time is not in it", STATEMENT)
async def before(desk: Desk) -> None:
    await desk.hold()
    assert not await desk.broker.fills(desk.account, since=now() - 2 * AGO, until=now() - AGO)


@case("TC-E133", "another account's fills are not in it", STATEMENT)
async def not_theirs(desk: Desk) -> None:
    await desk.hold()
    assert not await fills(desk, desk.poor)
