"""Doubt: may the order exist? Nothing is sent twice, and nothing unclear is a yes or a no."""

from __future__ import annotations

from fanout.order import OrdState
from fanout.ports import AbsentProven, AuthFailed, InDoubt, RateLimited, Rejected, Unsent
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, now
from tests.acceptance.needs import CREDENTIAL, DEADLINE, NETWORK, UNIQUE_IDS
from tests.fakes.orders import submitted


@case("TC-E120", "an order that was taken, and its answer lost, is in doubt, and is found", NETWORK)
async def answer_lost(desk: Desk) -> None:
    await desk.spoil("lost_after")
    order = desk.order()
    assert isinstance(await submitted(desk.broker, desk.account, order), InDoubt)
    seen = await desk.found(order)
    assert (seen.ord_status, seen.cum_qty) == (OrdState.FILLED, 10)
    assert await desk.held() == 10, "it was sent once"


@case("TC-E121", "a resting order whose answer was lost is found resting", NETWORK)
async def answer_of_a_resting_one_lost(desk: Desk) -> None:
    await desk.spoil("lost_after")
    order = desk.limit()
    assert isinstance(await submitted(desk.broker, desk.account, order), InDoubt)
    assert (await desk.found(order)).ord_status is OrdState.NEW
    assert await desk.open() == {order.cl_ord_id}


@case("TC-E122", "an order lost on its way is in doubt, and is not there", NETWORK)
async def lost(desk: Desk) -> None:
    await desk.spoil("lost_before")
    assert isinstance(await submitted(desk.broker, desk.account, desk.order()), InDoubt)
    assert await desk.held() == 0


@case("TC-E123", "an order lost on its way is proven absent after its deadline", DEADLINE)
async def proven_absent(desk: Desk) -> None:
    await desk.spoil("lost_before")
    order = desk.order()
    outcome = await submitted(desk.broker, desk.account, order)
    assert isinstance(outcome, InDoubt)
    assert outcome.not_after is not None
    assert isinstance(await desk.looked_up(order), AbsentProven)
    assert now() > outcome.not_after, "before that it might still have come"
    assert await desk.held() == 0


@case("TC-E124", "an order that is turned away for now may come again", NETWORK)
async def turned_away(desk: Desk) -> None:
    await desk.spoil("busy")
    outcome = await submitted(desk.broker, desk.account, desk.order())
    assert isinstance(outcome, RateLimited), outcome
    assert outcome.retry_after_s > 0


@case("TC-E125", "after its lease an order is not sent")
async def after_the_lease(desk: Desk) -> None:
    outcome = await desk.broker.submit(desk.account, desk.order(), not_after=now())
    assert isinstance(outcome, Unsent), outcome
    assert await desk.held() == 0


@case("TC-E126", "a second sending of a name is refused", UNIQUE_IDS)
async def second_sending(desk: Desk) -> None:
    order = desk.order()
    await desk.placed(order)
    again = await submitted(desk.broker, desk.account, order)
    assert isinstance(again, Rejected), again
    assert again.kind == "duplicate_id"
    assert await desk.held() == 10


@case("TC-E127", "without a key nothing is sent", CREDENTIAL)
async def no_key(desk: Desk) -> None:
    bare = desk.same(desk.account, api_key=None, credential=None)  # type: ignore[type-var]
    outcome = await submitted(desk.broker, bare, desk.order())
    assert isinstance(outcome, AuthFailed | Unsent), outcome
    assert await desk.held() == 0
