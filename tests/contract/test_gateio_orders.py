"""Gate.io: amend, batches, cancelling many, and the countdown; on the simulator, whose audit is the truth."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout.abilities import Amended, AmendOutcome, AmendRefused, AmendUnknown
from fanout.order import Order, OrdState
from fanout.ports import (
    AbsentProven,
    Acked,
    CancelTooLate,
    CancelUnknown,
    Found,
    InDoubt,
    Outcome,
    Rejected,
    Unsent,
)
from loadtest.exchanges.gateio.faults import Kind, Rule
from tests.contract.venues import GateioVenue, gateio
from tests.fakes.orders import an_order, submitted

BATCHES = "/api/v4/futures/usdt/batch_orders"
ONE_ORDER = "/api/v4/futures/usdt/orders/*"


@pytest.fixture
async def venue() -> AsyncIterator[GateioVenue]:
    async with gateio() as up:
        yield up


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=5)


async def resting(venue: GateioVenue, **changed: Any) -> Order:
    """Acknowledged, and known by Gate's id."""
    order = await away(venue, **changed)
    outcome = await submitted(venue.broker, venue.account, order)
    assert isinstance(outcome, Acked), outcome
    return with_id(order, outcome)


async def away(venue: GateioVenue, **changed: Any) -> Order:
    facts: dict[str, Any] = {"ord_type": "limit", "price": await venue.price_at("0.9")}
    facts |= {"order_qty": Decimal(5), "time_in_force": "gtc"}
    return an_order(venue.account, **(facts | changed))


def with_id(order: Order, outcome: Acked) -> Order:
    return msgspec.structs.replace(order, broker_order_id=outcome.report.broker_order_id)


async def amend(
    venue: GateioVenue, order: Order, qty: str | None = None, price: Decimal | None = None
) -> AmendOutcome:
    order_qty = None if qty is None else Decimal(qty)
    return await venue.broker.amend(
        venue.account, order, order_qty=order_qty, price=price, not_after=soon()
    )


async def batch(venue: GateioVenue, orders: Sequence[Order]) -> Sequence[Outcome]:
    return await venue.broker.submit_batch(venue.account, orders, not_after=soon())


async def executed(venue: GateioVenue) -> list[str]:
    return [row.text for row in (await venue.control.audit()).orders]


# ------------------------------------------------------------------ amend


async def test_an_amended_order_stands_as_it_was_asked_for(venue: GateioVenue) -> None:
    order = await resting(venue)
    price = await venue.price_at("0.8")
    outcome = await amend(venue, order, "7", price)
    assert isinstance(outcome, Amended), outcome
    (row,) = (await venue.control.audit()).orders
    assert (row.size, row.price, row.status) == (7, price, "open")


async def test_a_price_through_the_market_fills_and_the_size_stays(venue: GateioVenue) -> None:
    order = await resting(venue)
    outcome = await amend(venue, order, price=await venue.price_at("1.01"))
    assert isinstance(outcome, Amended), outcome
    assert (outcome.report.ord_status, outcome.report.cum_qty) == (OrdState.FILLED, 5)


async def test_what_is_final_cannot_be_amended(venue: GateioVenue) -> None:
    order = await resting(venue)
    await venue.broker.cancel(venue.account, order)
    outcome = await amend(venue, order, "7")
    assert isinstance(outcome, AmendRefused), outcome
    assert outcome.too_late


async def test_a_market_order_cannot_be_amended_and_nothing_leaves(venue: GateioVenue) -> None:
    outcome = await amend(venue, an_order(venue.account), "7")
    assert outcome == AmendRefused(
        code="unsupported_order",
        text="not sent: only size or price of a limit order can be changed",
    )


@pytest.mark.parametrize(("kind", "happened"), [("drop_after", True), ("500_before", False)])
async def test_an_unclear_amendment_is_unknown_and_not_sent_again(
    venue: GateioVenue, kind: Kind, happened: bool
) -> None:
    order = await resting(venue)
    # A PUT on a kept connection that is cut is sent once more by aiohttp, which changes nothing twice.
    await venue.control.set_faults(Rule(kind=kind, method="PUT", path=ONE_ORDER, times=2))
    assert isinstance(await amend(venue, order, "7"), AmendUnknown)
    (row,) = (await venue.control.audit()).orders
    assert row.size == (7 if happened else 5)


# ------------------------------------------------------------------ batches


async def test_each_order_of_a_batch_has_its_own_outcome(venue: GateioVenue) -> None:
    orders = [
        an_order(venue.account, order_qty=Decimal(3)),
        an_order(venue.account, side="sell", reduce_only=True, symbol="ETH_USDT"),
        await away(venue),
    ]
    filled, refused, rests = await batch(venue, orders)
    assert isinstance(filled, Acked)
    assert filled.report.cum_qty == 3
    assert isinstance(refused, Rejected), refused
    assert refused.kind == "risk"
    assert isinstance(rests, Acked)
    assert rests.report.ord_status is OrdState.NEW
    assert [filled.report.cl_ord_id, rests.report.cl_ord_id] == [
        orders[0].cl_ord_id,
        orders[2].cl_ord_id,
    ]


async def test_a_malformed_order_keeps_its_whole_batch_here(venue: GateioVenue) -> None:
    good, bad = an_order(venue.account), an_order(venue.account, order_qty=Decimal("1.5"))
    first, second = await batch(venue, [good, bad])
    assert isinstance(first, Unsent)
    assert isinstance(second, Rejected)
    assert not second.left
    assert "whole contracts" in second.text
    assert await executed(venue) == []


async def test_a_batch_has_ten_orders_at_most_and_each_name_once(venue: GateioVenue) -> None:
    one = an_order(venue.account)
    for orders in ([], [one, one], [an_order(venue.account) for _ in range(11)]):
        with pytest.raises(ValueError, match="a batch is 1 to 10 orders"):
            await batch(venue, orders)


@pytest.mark.parametrize(
    ("kind", "exists"),
    [("drop_before", False), ("drop_after", True), ("500_after", True), ("empty_201", True)],
)
async def test_an_unclear_batch_leaves_every_order_in_doubt_and_each_is_found(
    venue: GateioVenue, kind: Kind, exists: bool
) -> None:
    await venue.control.set_faults(Rule(kind=kind, path=BATCHES, times=1))
    orders = [an_order(venue.account), await away(venue)]
    outcomes = await batch(venue, orders)
    assert [type(outcome) for outcome in outcomes] == [InDoubt, InDoubt]
    sent_by = datetime.now(UTC)
    wanted = Found if exists else AbsentProven
    for order in orders:
        found = await venue.broker.find(venue.account, order, sent_by=sent_by)
        assert isinstance(found, wanted), found
    assert len(await executed(venue)) == (2 if exists else 0)


# ------------------------------------------------------------------ cancelling many


async def test_all_open_orders_are_cancelled_in_one_contract_and_in_all(venue: GateioVenue) -> None:
    here = await resting(venue)
    last = (await venue.broker.instruments())["ETH_USDT"].last_price
    assert last is not None
    there = await resting(
        venue, symbol="ETH_USDT", price=(last * Decimal("0.9")).quantize(Decimal(1))
    )
    assert await venue.broker.cancel_all(venue.account, "ETH_USDT")
    assert [one.cl_ord_id for one in await venue.broker.open_orders(venue.account)] == [
        here.cl_ord_id
    ]
    assert await venue.broker.cancel_all(venue.account, None)
    assert await venue.broker.open_orders(venue.account) == []
    found = await venue.broker.find(venue.account, there, sent_by=datetime.now(UTC))
    assert isinstance(found, Found)
    assert found.report.ord_status is OrdState.CANCELED


async def test_an_unclear_cancel_of_all_says_nothing(venue: GateioVenue) -> None:
    await resting(venue)
    path = "/api/v4/futures/usdt/orders"
    await venue.control.set_faults(Rule(kind="500_before", method="DELETE", path=path, times=1))
    assert not await venue.broker.cancel_all(venue.account, None)
    assert len(await venue.broker.open_orders(venue.account)) == 1


async def test_a_batch_cancel_tells_what_is_too_late_and_leaves_the_rest_a_question(
    venue: GateioVenue,
) -> None:
    open_, ended, unnamed = await resting(venue), await resting(venue), await away(venue)
    await venue.broker.cancel(venue.account, ended)
    first, second, third = await venue.broker.cancel_batch(venue.account, [open_, ended, unnamed])
    assert isinstance(first, CancelUnknown)
    assert isinstance(second, CancelTooLate), second
    assert isinstance(third, CancelUnknown)
    found = await venue.broker.find(venue.account, open_, sent_by=datetime.now(UTC))
    assert isinstance(found, Found)
    assert found.report.ord_status is OrdState.CANCELED


# ------------------------------------------------------------------ the countdown


async def test_the_countdown_is_confirmed_and_called_off(venue: GateioVenue) -> None:
    assert await venue.broker.dead_man(venue.account, 30.7)
    assert await venue.broker.dead_man(venue.account, 0)
    assert not await venue.broker.dead_man(venue.account, 4.9)


async def test_an_unclear_countdown_is_nothing_to_rely_on(venue: GateioVenue) -> None:
    path = "/api/v4/futures/usdt/countdown_cancel_all"
    await venue.control.set_faults(Rule(kind="empty_201", path=path, times=1))
    assert not await venue.broker.dead_man(venue.account, 30)
