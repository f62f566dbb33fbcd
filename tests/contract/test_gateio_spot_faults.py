"""Gate.io's spot adapter against a misbehaving venue: the outcome is honest, and find() tells the truth.

After the model of test_gateio_faults.py; the truth is the simulator's audit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.brokers.gateio_spot.adapter import GateioSpotBroker
from fanout.brokers.gateio_spot.looking import SECOND_LOOK_S
from fanout.order import Order, OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    Acked,
    AuthFailed,
    CancelTooLate,
    CancelUnknown,
    Found,
    InDoubt,
    RateLimited,
    Unsent,
)
from loadtest.exchanges.gateio.faults import Rule
from loadtest.exchanges.gateio.spot_control_client import AuditedSpotOrder
from tenancy.clock import SystemClock
from tests.contract.venues import (
    EXPTIME_S,
    REQUEST_TIMEOUT_S,
    SpotVenue,
    gateio_spot,
    gateio_spot_settings,
)
from tests.fakes.orders import an_order, submitted

ORDERS = "/api/v4/spot/orders"
SILENT_S = REQUEST_TIMEOUT_S + 0.5
LATE_S = EXPTIME_S + 0.2


@pytest.fixture
async def venue() -> AsyncIterator[SpotVenue]:
    async with gateio_spot() as up:
        yield up


def an_intent(venue: SpotVenue, **changed: Any) -> Order:
    facts = {"broker": "gateio_spot", "symbol": venue.symbol, "order_qty": Decimal(10)}
    return an_order(venue.account, **(facts | changed))


async def executed(venue: SpotVenue, order: Order) -> list[AuditedSpotOrder]:
    text = f"t-{order.cl_ord_id}"
    return [row for row in (await venue.control.spot_audit()).orders if row.text == text]


FAULTS = [
    # what the venue does, how long, what submit() must say, whether the order is there
    ("drop_before", 0.0, InDoubt, False),
    ("drop_after", 0.0, InDoubt, True),
    ("500_after", 0.0, InDoubt, True),
    ("empty_201", 0.0, InDoubt, True),
    ("unknown_enum", 0.0, InDoubt, True),
    ("429", 0.0, RateLimited, False),
    ("delay_before", LATE_S, Unsent, False),
]


@pytest.mark.parametrize(("kind", "seconds", "expected", "exists"), FAULTS)
async def test_after_each_fault_the_outcome_is_honest_and_find_tells_the_truth(
    venue: SpotVenue, kind: Any, seconds: float, expected: type, exists: bool
) -> None:
    await venue.control.set_faults(Rule(kind=kind, path=ORDERS, seconds=seconds, times=1))
    order = an_intent(venue)
    outcome = await submitted(venue.broker, venue.account, order)
    assert isinstance(outcome, expected), outcome
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    rows = await executed(venue, order)
    assert len(rows) == (1 if exists else 0)
    if not exists:
        assert isinstance(lookup, AbsentProven), lookup
        return
    assert isinstance(lookup, Found), lookup
    (row,) = rows
    assert lookup.report.ord_status is OrdState.FILLED
    assert lookup.report.cum_qty == row.filled == 10
    assert lookup.report.avg_px == row.filled_total / row.filled
    assert lookup.report.broker_order_id == str(row.order_id)


async def test_an_order_cancelled_without_a_fill_is_found_cancelled_though_text_finds_it_no_more(
    venue: SpotVenue,
) -> None:
    """Immediate-or-cancel, far from the market, and the answer is lost."""
    await venue.control.set_faults(Rule(kind="drop_after", path=ORDERS, times=1))
    price = await venue.price_at("0.8")
    order = an_intent(venue, ord_type="limit", price=price, time_in_force="ioc")
    assert isinstance(await submitted(venue.broker, venue.account, order), InDoubt)
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    assert isinstance(lookup, Found), lookup
    assert (lookup.report.ord_status, lookup.report.cum_qty) == (OrdState.CANCELED, 0)


async def test_a_request_that_is_still_on_its_way_is_never_proven_absent_too_early(
    venue: SpotVenue,
) -> None:
    """It executes after the client gave up: find() must wait for the server's deadline."""
    late = EXPTIME_S * 0.9
    await venue.control.set_faults(Rule(kind="delay_before", path=ORDERS, seconds=late, times=1))
    order = an_intent(venue)
    sending = asyncio.create_task(submitted(venue.broker, venue.account, order))
    while (await venue.control.stats())["fault_hits"] == 0:
        pass
    sending.cancel()  # as a crash would: nobody reads the answer
    await asyncio.gather(sending, return_exceptions=True)
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    (row,) = await executed(venue, order)
    assert isinstance(lookup, Found)
    assert lookup.report.broker_order_id == str(row.order_id)


async def test_what_gates_copies_show_late_is_seen_by_the_second_look(venue: SpotVenue) -> None:
    """Whatever was not there at the first look comes to be seen while we wait for the second."""
    order = an_intent(venue)

    async def sleep(seconds: float) -> None:
        if seconds == SECOND_LOOK_S:
            assert isinstance(await submitted(venue.broker, venue.account, order), Acked)
        else:
            await asyncio.sleep(seconds)

    signer = venue.broker._client._signer  # type: ignore[attr-defined]
    settings = gateio_spot_settings(venue.control.url)
    looking = GateioSpotBroker(settings, signer, SystemClock(), sleep=sleep)
    await looking.open()
    try:
        lookup = await looking.find(venue.account, order, sent_by=datetime.now(UTC))
    finally:
        await looking.close()
    assert isinstance(lookup, Found), lookup


async def test_a_lease_that_ends_while_the_request_travels_ends_the_order(venue: SpotVenue) -> None:
    await venue.control.set_faults(
        Rule(kind="delay_before", path=ORDERS, seconds=EXPTIME_S / 2, times=1)
    )
    order = an_intent(venue)
    lease_ends = datetime.now(UTC) + timedelta(seconds=EXPTIME_S / 4)
    outcome = await venue.broker.submit(venue.account, order, not_after=lease_ends)
    assert isinstance(outcome, Unsent)
    assert not await executed(venue, order)


@pytest.mark.parametrize("path", [ORDERS, "/api/v4/spot/my_trades"])
@pytest.mark.parametrize("kind", ["500_before", "drop_before", "429", "empty_201"])
async def test_a_look_that_fails_proves_nothing(venue: SpotVenue, path: str, kind: Any) -> None:
    order = an_intent(venue)
    await venue.control.set_faults(Rule(kind=kind, method="GET", path=path))
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    assert isinstance(lookup, AbsentUnproven)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("500_after", CancelUnknown),
        ("unknown_enum", CancelUnknown),
        # aiohttp repeats a DELETE on a cut connection once: by then it is done, so "too late".
        ("drop_after", CancelTooLate),
    ],
)
async def test_a_cancel_without_a_clear_answer_is_resolved_by_find(
    venue: SpotVenue, kind: Any, expected: type
) -> None:
    order = an_intent(venue, ord_type="limit", price=await venue.price_at("0.8"))
    assert isinstance(await submitted(venue.broker, venue.account, order), Acked)
    await venue.control.set_faults(Rule(kind=kind, method="DELETE", path=ORDERS + "/*", times=1))
    assert isinstance(await venue.broker.cancel(venue.account, order), expected)
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    assert isinstance(lookup, Found)
    assert lookup.report.ord_status is OrdState.CANCELED


@pytest.mark.parametrize(("kind", "said"), [("500_before", "500"), ("hang_before", "within 0.5 s")])
async def test_a_balance_that_is_not_told_leaves_a_closing_sell_unsent(
    venue: SpotVenue, kind: Any, said: str
) -> None:
    """In time, too: a lease does not outlive a second request."""
    await venue.control.set_faults(
        Rule(kind=kind, method="GET", path="/api/v4/spot/accounts", seconds=SILENT_S)
    )
    order = an_intent(venue, side="sell", reduce_only=True)
    outcome = await submitted(venue.broker, venue.account, order)
    assert isinstance(outcome, Unsent)
    assert said in outcome.cause
    assert not await executed(venue, order)


async def test_a_wrong_key_stops_the_account(venue: SpotVenue) -> None:
    venue.broker._client._signer.secrets[venue.poor.account_id] = b"wrong"  # type: ignore[attr-defined]
    stranger = an_order(venue.poor, symbol=venue.symbol, order_qty=Decimal(10))
    outcome = await submitted(venue.broker, venue.poor, stranger)
    assert isinstance(outcome, AuthFailed)
    assert outcome.kind == "sign"


async def test_a_storm_of_faults_loses_and_doubles_nothing(venue: SpotVenue) -> None:
    """Single orders and batches: each outcome, resolved, agrees with the audit, order by order."""
    broker = venue.broker
    assert isinstance(broker, GateioSpotBroker)
    kinds: list[Any] = [
        "drop_before",
        "drop_after",
        "500_after",
        "empty_201",
        "unknown_enum",
        "429",
    ]
    paths = (ORDERS, "/api/v4/spot/batch_orders")
    await venue.control.set_faults(
        *(
            Rule(kind=kind, path=path, probability=0.12, seed=seed)
            for seed, kind in enumerate(kinds)
            for path in paths
        )
    )

    async def resolved(order: Order, outcome: Any) -> tuple[Order, bool]:
        if isinstance(outcome, Acked):
            return order, True
        if isinstance(outcome, RateLimited | Unsent):
            return order, False
        assert isinstance(outcome, InDoubt), outcome
        lookup = await broker.find(venue.account, order, sent_by=datetime.now(UTC))
        assert isinstance(lookup, Found | AbsentProven), lookup
        return order, isinstance(lookup, Found)

    async def one() -> list[tuple[Order, bool]]:
        order = an_intent(venue)
        return [await resolved(order, await submitted(broker, venue.account, order))]

    async def batch() -> list[tuple[Order, bool]]:
        orders = [an_intent(venue) for _ in range(4)]
        lease_ends = datetime.now(UTC) + timedelta(seconds=30)
        told = await broker.submit_batch(venue.account, orders, not_after=lease_ends)
        return list(await asyncio.gather(*map(resolved, orders, told)))

    tries = (*(one() for _ in range(40)), *(batch() for _ in range(12)))
    told = [pair for pairs in await asyncio.gather(*tries) for pair in pairs]
    audit = await venue.control.spot_audit()
    assert not audit.duplicates
    really = {row.text for row in audit.orders}
    assert {f"t-{order.cl_ord_id}" for order, exists in told if exists} == really
    assert len(really) < len(told)
