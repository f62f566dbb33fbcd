"""What SinoPac and the way to it do to an order: may it exist, and is it placed once?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.abilities import Amended, AmendRefused, Hint
from fanout.brokers.shioaji.names import custom_field
from fanout.order import Order, OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    Acked,
    AuthFailed,
    CancelDone,
    CancelUnknown,
    Found,
    InDoubt,
    Maintenance,
    RateLimited,
    Rejected,
    Unsent,
)
from loadtest.exchanges.shioaji.faults import Fault
from tenancy.errors import Unavailable
from tests.contract.shioaji_venue import SYMBOL, ShioajiVenue, served, shioaji
from tests.fakes.orders import an_order, submitted


@pytest.fixture
async def venue() -> AsyncIterator[ShioajiVenue]:
    async with shioaji() as up:
        yield up


def buy(venue: ShioajiVenue, **changed: Any) -> Order:
    facts = {"broker": "shioaji", "symbol": SYMBOL, "order_qty": Decimal(2)}
    return an_order(venue.account, **(facts | changed))


def rests(venue: ShioajiVenue, **changed: Any) -> Order:
    return buy(venue, **({"ord_type": "limit", "price": Decimal(20_000)} | changed))


async def find(venue: ShioajiVenue, order: Order) -> Any:
    return await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))


async def eventually(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - what is waited for is a thread's doing
            await asyncio.sleep(0.005)


async def ended(venue: ShioajiVenue) -> None:
    """The session is gone, and the broker has noticed."""
    await venue.server.stop()
    with pytest.raises(Unavailable):
        await venue.broker.positions(venue.account)


# ------------------------------------------------------------------ an answer that is lost


@pytest.mark.parametrize("kind", ["lose_after", "unknown", "cut"])
async def test_an_order_that_was_taken_and_not_answered_is_in_doubt_and_is_found(
    venue: ShioajiVenue, kind: str
) -> None:
    venue.exchange.faults.rules.append(Fault("place", kind))
    order = buy(venue)
    assert isinstance(await submitted(venue.broker, venue.account, order), InDoubt)
    seen = await find(venue, order)
    assert isinstance(seen, Found)
    assert (seen.report.ord_status, seen.report.cum_qty) == (OrdState.FILLED, 2)
    assert len(venue.exchange.orders) == 1


async def test_an_order_that_was_lost_on_its_way_is_not_proven_absent(venue: ShioajiVenue) -> None:
    """It may still come: SinoPac has nothing that would say otherwise. A person decides."""
    venue.exchange.faults.rules.append(Fault("place", "lose_before"))
    order = buy(venue)
    assert isinstance(await submitted(venue.broker, venue.account, order), InDoubt)
    assert isinstance(await find(venue, order), AbsentUnproven)
    again = await submitted(venue.broker, venue.account, order)
    assert isinstance(again, Rejected)
    assert again.kind == "duplicate_id"
    assert not venue.exchange.orders


async def test_an_order_that_was_said_to_be_absent_is_never_sent(venue: ShioajiVenue) -> None:
    """A worker that slept through its lease comes with it afterwards."""
    order = buy(venue)
    assert isinstance(await find(venue, order), AbsentProven)
    assert isinstance(await submitted(venue.broker, venue.account, order), Unsent)
    assert not venue.exchange.orders


async def test_a_pending_order_is_not_acknowledged(venue: ShioajiVenue) -> None:
    venue.exchange.faults.rules.append(Fault("place", "pending"))
    order = rests(venue)
    outcome = await submitted(venue.broker, venue.account, order)
    assert isinstance(outcome, InDoubt)
    assert "PendingSubmit" in outcome.cause
    assert isinstance(await find(venue, order), AbsentUnproven)
    venue.exchange.release()
    seen = await find(venue, order)
    assert isinstance(seen, Found)
    assert seen.report.ord_status is OrdState.NEW


async def test_another_session_finds_what_its_predecessor_left_in_doubt(
    venue: ShioajiVenue,
) -> None:
    """By the journal what was never handed over is proven absent across a restart, and only that."""
    venue.exchange.faults.rules.append(Fault("place", "lose_after"))
    venue.exchange.faults.rules.append(Fault("place", "lose_before"))
    taken, lost, never = buy(venue), buy(venue), buy(venue)
    for order in (taken, lost):
        assert isinstance(await submitted(venue.broker, venue.account, order), InDoubt)
    await ended(venue)
    async with served(venue.exchange, venue.settings):
        assert isinstance(await find(venue, taken), Found)
        assert isinstance(await find(venue, lost), AbsentUnproven)
        assert isinstance(await find(venue, never), AbsentProven)
        older = buy(venue, intent_at=datetime.now(UTC) - timedelta(days=1))
        assert isinstance(await find(venue, older), AbsentUnproven), "from before the record began"


async def test_two_orders_of_one_name_are_a_persons_decision(venue: ShioajiVenue) -> None:
    venue.exchange.faults.rules.append(Fault("place", "lose_after"))
    order = buy(venue)
    await submitted(venue.broker, venue.account, order)
    (one,) = venue.exchange.orders.values()
    assert one.custom_field == custom_field(order.cl_ord_id)
    twin = type(one)(**(vars(one) | {"id": "ffffffff", "seqno": "9"}))
    venue.exchange.orders["ffffffff"] = twin
    answer = await find(venue, order)
    assert isinstance(answer, AbsentUnproven)
    assert "2 orders" in answer.why
    twin.custom_field = ""  # as an order is that came by futures' events alone
    one.custom_field = "OTHERS"
    answer = await find(venue, order)
    assert isinstance(answer, AbsentUnproven)
    assert "no name" in answer.why


async def test_a_session_that_ends_while_it_has_an_order_leaves_doubt(venue: ShioajiVenue) -> None:
    venue.exchange.faults.rules.append(Fault("place", "hang"))
    order = buy(venue)
    under_way = asyncio.create_task(submitted(venue.broker, venue.account, order))
    await eventually(lambda: "place hang" in venue.exchange.faults.happened)
    for writer in list(venue.server._writers):
        writer.close()
    assert isinstance(await under_way, InDoubt)


async def test_one_order_of_an_account_and_contract_is_in_flight_at_a_time(
    venue: ShioajiVenue,
) -> None:
    """The second is not sent while nobody knows of the first; another contract does not wait."""
    venue.exchange.faults.rules.append(Fault("place", "hang"))
    first = asyncio.create_task(submitted(venue.broker, venue.account, buy(venue)))
    await eventually(lambda: "place hang" in venue.exchange.faults.happened)
    second = asyncio.create_task(submitted(venue.broker, venue.account, buy(venue)))
    other = await submitted(venue.broker, venue.account, buy(venue, symbol="TXFL6"))
    assert isinstance(other, Acked)
    assert isinstance(await second, Unsent)
    assert venue.exchange.limits.most_in_flight == 1
    venue.exchange.release()
    assert isinstance(await first, Acked)
    assert len(venue.exchange.orders) == 2


async def test_without_a_session_nothing_is_sent_and_nothing_is_known(venue: ShioajiVenue) -> None:
    await ended(venue)
    order = buy(venue)
    assert isinstance(await submitted(venue.broker, venue.account, order), Unsent)
    assert isinstance(await find(venue, order), AbsentUnproven)
    assert isinstance(await venue.broker.cancel(venue.account, order), CancelUnknown)
    with pytest.raises(Unavailable, match="no session"):
        await venue.broker.positions(venue.account)


# ------------------------------------------------------------------ a no


@pytest.mark.parametrize(
    ("kind", "outcome"), [("maintenance", Maintenance), ("ban", RateLimited), ("token", AuthFailed)]
)
async def test_what_was_not_let_in_is_a_no(venue: ShioajiVenue, kind: str, outcome: type) -> None:
    venue.exchange.faults.rules.append(Fault("place", kind))
    answer = await submitted(venue.broker, venue.account, buy(venue))
    assert isinstance(answer, outcome)
    assert not venue.exchange.orders


async def test_a_ban_is_obeyed(venue: ShioajiVenue) -> None:
    """Not one call more, and the session says that it has to end."""
    venue.exchange.faults.rules.append(Fault("place", "ban"))
    first = await submitted(venue.broker, venue.account, buy(venue))
    assert isinstance(first, RateLimited)
    assert first.retry_after_s > 60
    second = await submitted(venue.broker, venue.account, buy(venue))
    assert isinstance(second, RateLimited)
    assert second.retry_after_s > 50
    with pytest.raises(Unavailable):
        await venue.broker.positions(venue.account)
    assert venue.exchange.limits.disobeyed == 0
    assert venue.calls.ended.is_set()
    assert venue.calls.banned


async def test_the_exchange_s_no_comes_with_its_own_words(venue: ShioajiVenue) -> None:
    venue.exchange.faults.rules.append(Fault("place", "reject", text="委託價格錯誤"))
    answer = await submitted(venue.broker, venue.account, buy(venue))
    assert answer == Rejected(code="F9", kind="price", text="委託價格錯誤")
    venue.exchange.closed = True
    closed = await submitted(venue.broker, venue.account, buy(venue))
    assert isinstance(closed, Rejected)
    assert closed.kind == "session_closed"


# ------------------------------------------------------------------ events


@pytest.mark.parametrize("kind", ["deal_first", "twice", "late"])
async def test_events_that_are_late_double_or_out_of_order_change_nothing(
    venue: ShioajiVenue, kind: str
) -> None:
    venue.exchange.faults.rules.append(Fault("place", kind))
    order = buy(venue)
    outcome = await submitted(venue.broker, venue.account, order)
    seen = await find(venue, order)
    assert isinstance(seen, Found)
    if kind != "late":  # without its event, the order's own status is asked for
        assert isinstance(outcome, Acked)
        assert outcome.report.cum_qty == 2
    assert (seen.report.ord_status, seen.report.cum_qty) == (OrdState.FILLED, 2)


async def test_hints_name_the_order_and_come_once(venue: ShioajiVenue) -> None:
    hints = venue.broker.hints(venue.account)
    heard: list[Hint] = []

    async def listen() -> None:
        async for hint in hints:
            heard.append(hint)

    listening = asyncio.create_task(listen())
    try:
        await eventually(lambda: len(heard) == 1)
        assert heard[0].kind == "gap"
        venue.exchange.faults.rules.append(Fault("place", "twice"))
        order = rests(venue)
        await submitted(venue.broker, venue.account, order)
        (theirs,) = venue.exchange.orders
        venue.exchange.fill(theirs, 1)
        await eventually(lambda: heard[-1].kind == "fill")
        assert [hint.kind for hint in heard] == ["gap", "order", "fill"]
        assert heard[-1].cl_ord_id == order.cl_ord_id
        assert heard[-1].symbol == SYMBOL
        venue.exchange.faults.rules.append(Fault("update_status", "down"))
        await find(venue, order)
        await eventually(lambda: heard[-1].kind == "gap")
        for writer in list(venue.server._writers):
            writer.close()
        await eventually(lambda: [hint.kind for hint in heard].count("gap") == 3)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await hints.aclose()


async def test_a_copy_that_is_not_whole_is_not_believed(venue: ShioajiVenue) -> None:
    await submitted(venue.broker, venue.account, order := rests(venue))
    venue.exchange.health = "Degraded"
    with pytest.raises(Unavailable, match="not whole"):
        await venue.broker.open_orders(venue.account)
    assert isinstance(await find(venue, order), AbsentUnproven)


# ------------------------------------------------------------------ cancelling and changing


@pytest.mark.parametrize("kind", ["lose_after", "lose_before"])
async def test_a_cancel_that_is_not_answered_is_looked_up(venue: ShioajiVenue, kind: str) -> None:
    await submitted(venue.broker, venue.account, order := rests(venue))
    venue.exchange.faults.rules.append(Fault("cancel", kind))
    outcome = await venue.broker.cancel(venue.account, order)
    assert isinstance(outcome, CancelDone if kind == "lose_after" else CancelUnknown)


async def test_a_price_is_changed_where_the_broker_says_so(venue: ShioajiVenue) -> None:
    await submitted(venue.broker, venue.account, order := rests(venue))
    lease = datetime.now(UTC) + timedelta(seconds=30)

    async def amend(price: Decimal | None, qty: Decimal | None = None) -> Any:
        return await venue.broker.amend(
            venue.account, order, order_qty=qty, price=price, not_after=lease
        )

    assert isinstance(await amend(Decimal(20_100)), Amended)
    (theirs,) = venue.exchange.orders.values()
    assert theirs.modified_price == 20_100
    assert isinstance(await amend(Decimal("20100.5")), AmendRefused), "off the tick"
    assert isinstance(await amend(None, Decimal(1)), AmendRefused)
    assert isinstance(await find(venue, order), Found)
