"""Gate.io's adapter against a misbehaving venue: the outcome is honest, and find() tells the truth.

The truth is the simulator's audit: every order that was executed, whatever the client was told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.order import Order, OrdState, cl_ord_id
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
from loadtest.exchanges.gateio.control_client import AuditedOrder
from loadtest.exchanges.gateio.faults import Rule
from tests.contract.venues import EXPTIME_S, REQUEST_TIMEOUT_S, GateioVenue, gateio
from tests.fakes.orders import an_order, submitted


@pytest.fixture
async def venue() -> AsyncIterator[GateioVenue]:
    async with gateio() as up:
        yield up


def an_intent(venue: GateioVenue, **changed: Any) -> Order:
    return an_order(venue.account, **({"order_qty": Decimal(10)} | changed))


async def executed(venue: GateioVenue, order: Order) -> list[AuditedOrder]:
    text = f"t-{order.cl_ord_id}"
    return [row for row in (await venue.control.audit()).orders if row.text == text]


SILENT_S = REQUEST_TIMEOUT_S + 0.5
LATE_S = EXPTIME_S + 0.2

FAULTS = [
    # what the venue does, how long, what submit() must say, whether the order is there
    ("drop_before", 0.0, InDoubt, False),
    ("drop_after", 0.0, InDoubt, True),
    ("500_before", 0.0, InDoubt, False),
    ("500_after", 0.0, InDoubt, True),
    ("hang_before", SILENT_S, InDoubt, False),
    ("hang_after", SILENT_S, InDoubt, True),
    ("empty_201", 0.0, InDoubt, True),
    ("unknown_enum", 0.0, InDoubt, True),
    ("429", 0.0, RateLimited, False),
    ("delay_before", EXPTIME_S / 3, Acked, True),
    ("delay_before", LATE_S, Unsent, False),
    ("delay_before", SILENT_S, InDoubt, False),
    ("delay_after", SILENT_S, InDoubt, True),
]


@pytest.mark.parametrize(("kind", "seconds", "expected", "exists"), FAULTS)
async def test_after_each_fault_the_outcome_is_honest_and_find_tells_the_truth(
    venue: GateioVenue, kind: Any, seconds: float, expected: type, exists: bool
) -> None:
    await venue.control.set_faults(Rule(kind=kind, seconds=seconds, times=1))
    order = an_intent(venue)
    outcome = await submitted(venue.broker, venue.account, order)
    sent_by = datetime.now(UTC)
    assert isinstance(outcome, expected), outcome

    lookup = await venue.broker.find(venue.account, order, sent_by=sent_by)
    rows = await executed(venue, order)
    assert len(rows) == (1 if exists else 0)
    if exists:
        assert isinstance(lookup, Found), lookup
        (row,) = rows
        assert lookup.report.ord_status is OrdState.FILLED
        assert lookup.report.cum_qty == row.filled == 10
        assert lookup.report.avg_px == row.fill_price
        assert lookup.report.broker_order_id == str(row.order_id)
    else:
        assert isinstance(lookup, AbsentProven), lookup
        # The proof must hold: nothing shows up later.
        await asyncio.sleep(0.2)
        assert not await executed(venue, order)


async def test_a_request_that_is_still_on_its_way_is_never_proven_absent_too_early(
    venue: GateioVenue,
) -> None:
    """It executes after the client gave up: find() must wait for the server's deadline."""
    late = EXPTIME_S * 0.9
    await venue.control.set_faults(Rule(kind="delay_before", seconds=late, times=1))
    order = an_intent(venue)
    sending = asyncio.create_task(submitted(venue.broker, venue.account, order))
    await asyncio.sleep(0.02)
    sending.cancel()  # as a crash would: nobody reads the answer
    await asyncio.gather(sending, return_exceptions=True)
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    rows = await executed(venue, order)
    assert len(rows) == 1
    assert isinstance(lookup, Found)
    assert lookup.report.broker_order_id == str(rows[0].order_id)


async def test_a_lease_that_ends_while_the_request_travels_ends_the_order(
    venue: GateioVenue,
) -> None:
    """X-Gate-Exptime is the earlier of Gate's deadline and our lease."""
    await venue.control.set_faults(Rule(kind="delay_before", seconds=EXPTIME_S / 2, times=1))
    order = an_intent(venue)
    lease_ends = datetime.now(UTC) + timedelta(seconds=EXPTIME_S / 4)
    outcome = await venue.broker.submit(venue.account, order, not_after=lease_ends)
    assert isinstance(outcome, Unsent)
    assert not await executed(venue, order)


async def test_the_next_attempt_after_a_proof_makes_exactly_one_order(venue: GateioVenue) -> None:
    await venue.control.set_faults(Rule(kind="drop_before", times=1))
    first = an_intent(venue)
    assert isinstance(await submitted(venue.broker, venue.account, first), InDoubt)
    lookup = await venue.broker.find(venue.account, first, sent_by=datetime.now(UTC))
    assert isinstance(lookup, AbsentProven)
    second = an_intent(
        venue, order_id=first.order_id, cl_ord_id=cl_ord_id(first.order_id, 2), attempt=2
    )
    assert isinstance(await submitted(venue.broker, venue.account, second), Acked)
    audit = await venue.control.audit()
    assert [row.text for row in audit.orders] == [f"t-{second.cl_ord_id}"]
    assert not audit.duplicates


@pytest.mark.parametrize("kind", ["500_before", "drop_before", "hang_before", "429", "empty_201"])
async def test_a_look_that_fails_proves_nothing(venue: GateioVenue, kind: Any) -> None:
    order = an_intent(venue)
    await venue.control.set_faults(
        Rule(kind=kind, method="GET", path="/api/v4/futures/usdt/my_trades", seconds=SILENT_S)
    )
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    assert isinstance(lookup, AbsentUnproven)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("500_after", CancelUnknown),
        ("hang_after", CancelUnknown),
        ("unknown_enum", CancelUnknown),
        # aiohttp repeats a DELETE on a cut connection once: by then it is done, so "too late".
        ("drop_after", CancelTooLate),
    ],
)
async def test_a_cancel_without_a_clear_answer_is_resolved_by_find(
    venue: GateioVenue, kind: Any, expected: type
) -> None:
    order = an_intent(venue, ord_type="limit", price=await venue.price_at("0.8"))
    assert isinstance(await submitted(venue.broker, venue.account, order), Acked)
    path = "/api/v4/futures/usdt/orders/*"
    await venue.control.set_faults(
        Rule(kind=kind, method="DELETE", path=path, seconds=SILENT_S, times=1)
    )
    outcome = await venue.broker.cancel(venue.account, order)
    assert isinstance(outcome, expected), outcome
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    assert isinstance(lookup, Found)
    assert lookup.report.ord_status is OrdState.CANCELED


async def test_a_wrong_key_stops_the_account(venue: GateioVenue) -> None:
    forged = venue.broker
    stranger = an_order(venue.poor)
    signer = forged._client._signer  # type: ignore[attr-defined]
    signer.secrets[venue.poor.account_id] = b"wrong"
    outcome = await submitted(venue.broker, venue.poor, stranger)
    assert isinstance(outcome, AuthFailed)
    assert outcome.kind == "sign"


async def test_a_storm_of_faults_loses_and_doubles_nothing(venue: GateioVenue) -> None:
    """Each outcome, resolved, agrees with the audit, order by order."""
    kinds: list[Any] = [
        "drop_before",
        "drop_after",
        "500_after",
        "empty_201",
        "unknown_enum",
        "429",
    ]
    await venue.control.set_faults(
        *(Rule(kind=kind, probability=0.12, seed=seed) for seed, kind in enumerate(kinds))
    )

    async def one() -> tuple[Order, bool]:
        order = an_intent(venue, order_qty=Decimal(1))
        outcome = await submitted(venue.broker, venue.account, order)
        if isinstance(outcome, Acked):
            return order, True
        if isinstance(outcome, RateLimited | Unsent):
            return order, False
        assert isinstance(outcome, InDoubt), outcome
        lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
        assert isinstance(lookup, Found | AbsentProven), lookup
        return order, isinstance(lookup, Found)

    told = await asyncio.gather(*(one() for _ in range(90)))
    audit = await venue.control.audit()
    assert not audit.duplicates
    really = {row.text for row in audit.orders}
    assert {f"t-{order.cl_ord_id}" for order, exists in told if exists} == really
    assert len(really) < len(told)
