"""A time of day that is set, forward or back, neither doubles an order at Gate.io nor outlives a lease.

The truth is the simulator's audit, and its clock is never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.order import Order, cl_ord_id
from fanout.ports import AbsentProven, AbsentUnproven, Acked, Found, InDoubt, Unsent
from loadtest.exchanges.gateio.faults import Rule
from tests.contract.venues import EXPTIME_S, REQUEST_TIMEOUT_S, GateioVenue, gateio
from tests.fakes.orders import LEASE_S, an_order
from tests.fakes.stepped_clock import SteppedClock

STEPS = pytest.mark.parametrize("step_s", [3600.0, 30.0, 1.0, -1.0, -30.0, -3600.0])
LATE_S = EXPTIME_S * 0.9
"""How long the request is on its way: it arrives just in time, after two looks 300 ms apart."""


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def venue(clock: SteppedClock) -> AsyncIterator[GateioVenue]:
    async with gateio(clock) as up:
        yield up


def lease_ends(clock: SteppedClock) -> datetime:
    return clock.now() + timedelta(seconds=LEASE_S)


async def executed(venue: GateioVenue, *orders: Order) -> int:
    names = {f"t-{order.cl_ord_id}" for order in orders}
    return len([row for row in (await venue.control.audit()).orders if row.text in names])


async def on_its_way(venue: GateioVenue, clock: SteppedClock) -> Order:
    """An order that its sender crashed over, and that Gate takes LATE_S after it left."""
    await venue.control.set_faults(Rule(kind="delay_before", seconds=LATE_S, times=1))
    order = an_order(venue.account, order_qty=Decimal(10))
    sending = asyncio.create_task(
        venue.broker.submit(venue.account, order, not_after=lease_ends(clock))
    )
    await asyncio.sleep(0.05)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    return order


@STEPS
async def test_a_step_before_the_wait_proves_nothing_until_the_clock_is_put_right(
    venue: GateioVenue, clock: SteppedClock, step_s: float
) -> None:
    order = await on_its_way(venue, clock)
    sent_by = clock.now()
    clock.step_s = step_s
    assert isinstance(
        await venue.broker.find(venue.account, order, sent_by=sent_by), AbsentUnproven
    )
    clock.step_s = 0
    assert isinstance(await venue.broker.find(venue.account, order, sent_by=sent_by), Found)
    assert await executed(venue, order) == 1


@STEPS
async def test_a_step_in_the_middle_of_the_wait_proves_nothing(
    venue: GateioVenue, clock: SteppedClock, step_s: float
) -> None:
    await venue.control.set_faults(Rule(kind="drop_before", times=1))
    order = an_order(venue.account)
    outcome = await venue.broker.submit(venue.account, order, not_after=lease_ends(clock))
    assert isinstance(outcome, InDoubt)
    asking = asyncio.create_task(venue.broker.find(venue.account, order, sent_by=clock.now()))
    await asyncio.sleep(EXPTIME_S / 2)
    clock.step_s = step_s
    assert isinstance(await asking, AbsentUnproven)
    clock.step_s = 0
    proven = await venue.broker.find(venue.account, order, sent_by=clock.now())
    assert isinstance(proven, AbsentProven)


async def test_a_doubt_that_was_stamped_in_the_future_is_not_proven_absent(
    venue: GateioVenue, clock: SteppedClock
) -> None:
    """Stamped by a clock an hour ahead, which was then put right."""
    order = an_order(venue.account)
    sent_by = clock.now() + timedelta(hours=1)
    answer = await venue.broker.find(venue.account, order, sent_by=sent_by)
    assert isinstance(answer, AbsentUnproven)


@STEPS
async def test_an_order_of_a_clock_that_was_set_does_not_leave_and_one_put_right_does(
    venue: GateioVenue, clock: SteppedClock, step_s: float
) -> None:
    """Its deadline at Gate would be as wrong as the clock, and its proof of absence with it."""
    clock.step_s = step_s
    order = an_order(venue.account)
    for _ in range(2):
        outcome = await venue.broker.submit(venue.account, order, not_after=lease_ends(clock))
        assert isinstance(outcome, Unsent), outcome
    clock.step_s = 0
    outcomes = [
        await venue.broker.submit(venue.account, order, not_after=lease_ends(clock))
        for _ in range(2)
    ]
    # The first finds the comparison gone, and makes a new one.
    assert [type(outcome) for outcome in outcomes] == [Unsent, Acked]
    assert await executed(venue, order) == 1


@STEPS
async def test_a_step_after_the_order_left_doubles_nothing(
    venue: GateioVenue, clock: SteppedClock, step_s: float
) -> None:
    """As dispatch does it: ask until there is an answer, and only after a proof send another."""
    first = await on_its_way(venue, clock)
    sent_by, clock.step_s = clock.now(), step_s
    answer: Any = None
    for _ in range(8):
        answer = await venue.broker.find(venue.account, first, sent_by=sent_by)
        if not isinstance(answer, AbsentUnproven):
            break
        clock.step_s = 0  # chrony, meanwhile
    second = an_order(
        venue.account, order_id=first.order_id, cl_ord_id=cl_ord_id(first.order_id, 2), attempt=2
    )
    if isinstance(answer, AbsentProven):
        await venue.broker.submit(venue.account, second, not_after=lease_ends(clock))
    await asyncio.sleep(REQUEST_TIMEOUT_S)
    assert isinstance(answer, Found)
    assert await executed(venue, first, second) == 1


@pytest.mark.parametrize("step_s", [-3600.0, -1.0, 1.0, 3600.0])
async def test_a_clock_that_is_set_while_signing_does_not_lengthen_the_lease(
    venue: GateioVenue, clock: SteppedClock, step_s: float
) -> None:
    signer = venue.broker._client._signer  # type: ignore[attr-defined]
    really = signer.sign_request

    async def slowly(*args: Any, **named: Any) -> str:
        clock.step_s = step_s
        await asyncio.sleep(0.2)
        return str(await really(*args, **named))

    signer.sign_request = slowly
    order = an_order(venue.account)
    ends = clock.now() + timedelta(seconds=0.1)
    outcome = await venue.broker.submit(venue.account, order, not_after=ends)
    assert isinstance(outcome, Unsent)
    assert await executed(venue, order) == 0
