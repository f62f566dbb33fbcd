"""Stops, targets and trailing stops that Gate.io holds; on the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.abilities import Protection
from fanout.ports import (
    Acked,
    CancelDone,
    CancelTooLate,
    CancelUnknown,
    InDoubt,
    Outcome,
    Rejected,
    Report,
)
from loadtest.exchanges.gateio.faults import Kind, Rule
from tests.contract.venues import GateioVenue, gateio
from tests.fakes.orders import an_order, submitted

PRICE_ORDERS = "/api/v4/futures/usdt/price_orders"


@pytest.fixture
async def venue() -> AsyncIterator[GateioVenue]:
    """Long ten contracts."""
    async with gateio() as up:
        order = an_order(up.account, order_qty=Decimal(10))
        assert isinstance(await submitted(up.broker, up.account, order), Acked)
        yield up


async def protect(venue: GateioVenue, **changed: Any) -> Outcome:
    facts: dict[str, Any] = {
        "cl_ord_id": "a" * 24 + ".1",
        "symbol": "BTC_USDT",
        "side": "sell",
        "qty": Decimal(10),
        "stop_px": None,
        "target_px": None,
    }
    not_after = datetime.now(UTC) + timedelta(seconds=5)
    wanted = Protection(**(facts | changed))
    return await venue.broker.protect(venue.account, wanted, not_after=not_after)


async def standing(venue: GateioVenue) -> list[Report]:
    return list(await venue.broker.protections(venue.account, "BTC_USDT"))


async def held(venue: GateioVenue) -> Decimal:
    return sum((one.qty for one in await venue.broker.positions(venue.account)), Decimal(0))


async def test_a_stop_closes_the_position_and_the_target_is_taken_back(venue: GateioVenue) -> None:
    stop, target = await venue.price_at("0.95"), await venue.price_at("1.05")
    outcome = await protect(venue, stop_px=stop, target_px=target)
    assert isinstance(outcome, Acked), outcome
    names = outcome.report.broker_order_id.split("+")
    assert {one.broker_order_id for one in await standing(venue)} == set(names)
    assert {one.text for one in await standing(venue)} == {
        f"≤ {stop.normalize():f}, size -10",
        f"≥ {target.normalize():f}, size -10",
    }
    await venue.move(stop - 1)
    assert await held(venue) == 0
    (left,) = await standing(venue)
    assert left.broker_order_id == names[1]
    assert isinstance(await venue.broker.unprotect(venue.account, names[1]), CancelDone)
    assert await standing(venue) == []
    assert isinstance(await venue.broker.unprotect(venue.account, names[1]), CancelTooLate)


async def test_both_are_taken_back_by_their_joint_name(venue: GateioVenue) -> None:
    outcome = await protect(
        venue, stop_px=await venue.price_at("0.95"), target_px=await venue.price_at("1.05")
    )
    assert isinstance(outcome, Acked)
    name = outcome.report.broker_order_id
    assert isinstance(await venue.broker.unprotect(venue.account, name), CancelDone)
    assert await standing(venue) == []


async def test_a_trailing_stop_follows_the_market_and_closes(venue: GateioVenue) -> None:
    outcome = await protect(venue, trail_percent=Decimal(1))
    assert isinstance(outcome, Acked), outcome
    (one,) = await standing(venue)
    assert (one.broker_order_id, one.cl_ord_id) == (
        outcome.report.broker_order_id,
        "a" * 24 + ".1",
    )
    start = await venue.price()
    await venue.move(start * 2)
    assert await held(venue) == 10
    await venue.move(start * Decimal("1.9"))  # far above where it began, 5 % below its best
    assert await held(venue) == 0
    assert await standing(venue) == []


async def test_a_trailing_stop_is_taken_back(venue: GateioVenue) -> None:
    outcome = await protect(venue, trail_amount=Decimal("250.5"))
    assert isinstance(outcome, Acked), outcome
    name = outcome.report.broker_order_id
    assert isinstance(await venue.broker.unprotect(venue.account, name), CancelDone)
    assert await standing(venue) == []


@pytest.mark.parametrize(
    ("side", "stop_at"), [("sell", "1.02"), ("buy", "0.98")], ids=["above a long", "below a short"]
)
async def test_a_stop_that_the_market_has_passed_is_refused_by_gate(
    venue: GateioVenue, side: str, stop_at: str
) -> None:
    outcome = await protect(venue, side=side, stop_px=await venue.price_at(stop_at))
    assert isinstance(outcome, Rejected), outcome
    assert (outcome.kind, outcome.left) == ("price", True)
    assert await standing(venue) == []


@pytest.mark.parametrize("kind", ["drop_after", "500_after", "empty_201"])
async def test_an_unclear_answer_is_in_doubt_and_what_stands_is_seen_and_taken_back(
    venue: GateioVenue, kind: Kind
) -> None:
    await venue.control.set_faults(Rule(kind=kind, path=PRICE_ORDERS, times=1))
    outcome = await protect(
        venue, stop_px=await venue.price_at("0.95"), target_px=await venue.price_at("1.05")
    )
    assert isinstance(outcome, InDoubt)
    (one,) = await standing(venue)  # the target was not sent after that
    assert isinstance(await venue.broker.unprotect(venue.account, one.broker_order_id), CancelDone)
    assert await standing(venue) == []


async def test_a_second_leg_that_is_refused_leaves_doubt_that_names_the_first(
    venue: GateioVenue,
) -> None:
    stop = await venue.price_at("0.95")
    outcome = await protect(venue, stop_px=stop, target_px=await venue.price_at("0.97"))
    assert isinstance(outcome, InDoubt), outcome
    (one,) = await standing(venue)
    assert one.broker_order_id in outcome.cause
    assert one.text.startswith("≤")


async def test_an_unclear_taking_back_is_unknown(venue: GateioVenue) -> None:
    outcome = await protect(venue, stop_px=await venue.price_at("0.95"))
    assert isinstance(outcome, Acked)
    path = PRICE_ORDERS + "/*"
    await venue.control.set_faults(Rule(kind="500_before", method="DELETE", path=path, times=1))
    name = outcome.report.broker_order_id
    assert isinstance(await venue.broker.unprotect(venue.account, name), CancelUnknown)
    assert len(await standing(venue)) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "needs a stop"),
        ({"stop_px": Decimal(5), "trail_percent": Decimal(1)}, "not both"),
        ({"stop_px": Decimal(0)}, "above 0"),
        ({"stop_px": Decimal(9), "target_px": Decimal(5)}, "wrong way round"),
        ({"side": "buy", "stop_px": Decimal(5), "target_px": Decimal(9)}, "wrong way round"),
        ({"stop_px": Decimal(5), "qty": Decimal("1.5")}, "whole contracts"),
    ],
)
async def test_what_makes_no_sense_is_refused_here(
    venue: GateioVenue, wrong: dict[str, Any], words: str
) -> None:
    outcome = await protect(venue, **wrong)
    assert isinstance(outcome, Rejected)
    assert not outcome.left
    assert words in outcome.text
