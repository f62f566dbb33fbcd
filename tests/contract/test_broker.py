"""What every broker adapter owes us, case by case. docs/brokers.md names the cases by number.

An adapter passes all of them or its Caps say why a case does not apply.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.order import FINAL, Order, OrdState
from fanout.ports import (
    AbsentProven,
    Acked,
    BrokerAccount,
    CancelDone,
    CancelTooLate,
    Found,
    Rejected,
    Report,
    Unsent,
)
from tests.contract import venues
from tests.contract.shioaji_venue import shioaji
from tests.contract.venues import Venue
from tests.fakes.orders import an_order, submitted

VENUES = {
    "gateio": venues.gateio,
    "gateio_spot": venues.gateio_spot,
    "paper": venues.paper,
    "paper_as_gateio": venues.paper_as_gateio,
    "paper_plain": venues.paper_plain,
    "shioaji": shioaji,
}


@pytest.fixture(params=sorted(VENUES))
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[Venue]:
    async with VENUES[request.param]() as up:
        yield up


def market(venue: Venue, **changed: Any) -> Order:
    facts = {"broker": venue.broker.name, "symbol": venue.symbol, "order_qty": Decimal(10)}
    return an_order(venue.account, **(facts | changed))


async def resting(venue: Venue, **changed: Any) -> Order:
    """A buy far below the market."""
    price = await venue.price_at("0.8")
    return market(venue, **({"ord_type": "limit", "price": price} | changed))


async def placed(venue: Venue, order: Order, account: BrokerAccount | None = None) -> Report:
    outcome = await submitted(venue.broker, account or venue.account, order)
    assert isinstance(outcome, Acked), outcome
    assert outcome.report.cl_ord_id == order.cl_ord_id
    assert outcome.report.broker_order_id
    assert outcome.report.raw
    return outcome.report


async def found(venue: Venue, order: Order) -> Report:
    lookup = await venue.broker.find(venue.account, order, sent_by=_now())
    assert isinstance(lookup, Found), lookup
    return lookup.report


async def refused(venue: Venue, order: Order, account: BrokerAccount | None = None) -> Rejected:
    outcome = await submitted(venue.broker, account or venue.account, order)
    assert isinstance(outcome, Rejected), outcome
    assert outcome.code
    assert outcome.text
    return outcome


async def held(venue: Venue) -> Decimal:
    rows = await venue.broker.positions(venue.account)
    return sum((row.qty for row in rows if row.symbol == venue.symbol), Decimal(0))


def _now() -> datetime:
    return datetime.now(UTC)


# ------------------------------------------------------------------ placing


async def test_b01_a_market_order_fills_with_a_price(venue: Venue) -> None:
    report = await placed(venue, market(venue))
    assert (report.ord_status, report.cum_qty) == (OrdState.FILLED, 10)
    assert report.avg_px is not None
    assert abs(report.avg_px / await venue.price() - 1) < Decimal("0.01")
    assert abs(report.transact_time - _now()) < timedelta(seconds=5)


async def test_b02_a_limit_order_away_from_the_market_rests(venue: Venue) -> None:
    report = await placed(venue, await resting(venue))
    assert (report.ord_status, report.cum_qty, report.avg_px) == (OrdState.NEW, 0, None)


async def test_b03_a_limit_order_through_the_market_fills_no_worse_than_its_limit(
    venue: Venue,
) -> None:
    limit = await venue.price_at("1.1")
    report = await placed(venue, market(venue, ord_type="limit", price=limit))
    assert report.ord_status is OrdState.FILLED
    assert report.avg_px is not None
    assert report.avg_px <= limit


@pytest.mark.parametrize("tif", ["ioc", "fok"])
async def test_b04_an_order_that_must_fill_at_once_and_cannot_leaves_nothing(
    venue: Venue, tif: str
) -> None:
    order = await resting(venue, time_in_force=tif)
    outcome = await submitted(venue.broker, venue.account, order)
    if isinstance(outcome, Acked):
        assert (outcome.report.ord_status, outcome.report.cum_qty) == (OrdState.CANCELED, 0)
    else:
        assert isinstance(outcome, Rejected)
    assert not await venue.broker.open_orders(venue.account)


async def test_b05_a_second_sending_of_an_id_is_refused_or_is_a_second_order(venue: Venue) -> None:
    """Where ids are not unique the broker protects nobody: only our own rule does, once each."""
    order = market(venue)
    await placed(venue, order)
    again = await submitted(venue.broker, venue.account, order)
    if venue.broker.caps.unique_client_ids:
        assert isinstance(again, Rejected)
        assert again.kind == "duplicate_id"
        assert await held(venue) == 10
    else:
        assert isinstance(again, Acked)
        assert await held(venue) == 20


# ------------------------------------------------------------------ refusals


async def test_b06_without_funds_the_order_is_refused(venue: Venue) -> None:
    refusal = await refused(venue, market(venue, order_qty=Decimal(1000)), venue.poor)
    assert refusal.kind == "funds"


async def test_b07_an_unknown_symbol_is_refused(venue: Venue) -> None:
    assert (await refused(venue, market(venue, symbol="NOPE_USDT"))).kind == "instrument"


async def test_b08_below_the_minimum_and_above_the_maximum_is_refused(venue: Venue) -> None:
    instrument = (await venue.broker.instruments())[venue.symbol]
    too_large = market(venue, order_qty=instrument.max_qty + instrument.lot_step)
    assert (await refused(venue, too_large)).kind == "size"
    too_small = instrument.min_qty - instrument.lot_step
    if too_small > 0:
        assert (await refused(venue, market(venue, order_qty=too_small))).kind == "size"


async def test_b09_a_price_off_the_tick_is_refused(venue: Venue) -> None:
    tick = (await venue.broker.instruments())[venue.symbol].tick
    off = await venue.price_at("0.8") + tick / 2
    await refused(venue, market(venue, ord_type="limit", price=off))


async def test_b10_reduce_only_without_a_position_is_refused(venue: Venue) -> None:
    assert (await refused(venue, market(venue, side="sell", reduce_only=True))).kind == "risk"


async def test_b11_reduce_only_never_turns_a_position(venue: Venue) -> None:
    await placed(venue, market(venue))
    report = await placed(
        venue, market(venue, side="sell", reduce_only=True, order_qty=Decimal(30))
    )
    assert report.ord_status in FINAL
    assert report.cum_qty == 10
    assert await held(venue) == 0


async def test_b12_a_refused_order_is_proven_absent(venue: Venue) -> None:
    order = market(venue, symbol="NOPE_USDT")
    await refused(venue, order)
    ours = market(venue, cl_ord_id=order.cl_ord_id)
    lookup = await venue.broker.find(venue.account, ours, sent_by=_now())
    assert isinstance(lookup, AbsentProven)


# ------------------------------------------------------------------ finding


async def test_b13_a_filled_order_is_found_filled(venue: Venue) -> None:
    order = market(venue)
    report = await placed(venue, order)
    seen = await found(venue, order)
    assert (seen.ord_status, seen.cum_qty, seen.avg_px, seen.broker_order_id) == (
        report.ord_status,
        report.cum_qty,
        report.avg_px,
        report.broker_order_id,
    )


async def test_b14_a_resting_order_is_found_and_then_found_filled(venue: Venue) -> None:
    order = await resting(venue)
    await placed(venue, order)
    assert (await found(venue, order)).ord_status is OrdState.NEW
    await venue.move(await venue.price_at("0.7"))
    seen = await found(venue, order)
    assert (seen.ord_status, seen.cum_qty) == (OrdState.FILLED, 10)
    assert seen.avg_px is not None
    assert order.price is not None
    assert seen.avg_px <= order.price


async def test_b15_a_cancelled_order_is_found_cancelled(venue: Venue) -> None:
    order = await resting(venue)
    await placed(venue, order)
    await venue.broker.cancel(venue.account, order)
    assert (await found(venue, order)).ord_status is OrdState.CANCELED


async def test_b16_an_order_never_sent_is_proven_absent_and_so_for_another_account(
    venue: Venue,
) -> None:
    order = market(venue)
    lookup = await venue.broker.find(venue.account, order, sent_by=_now())
    assert isinstance(lookup, AbsentProven)
    another = market(venue)  # what was proven absent is never sent again
    await placed(venue, another)
    theirs = await venue.broker.find(venue.poor, another, sent_by=_now())
    assert isinstance(theirs, AbsentProven)


async def test_b17_an_order_is_found_by_the_brokers_id_too(venue: Venue) -> None:
    order = await resting(venue)
    report = await placed(venue, order)
    known = market(venue, **_same(order), broker_order_id=report.broker_order_id)
    assert (await found(venue, known)).ord_status is OrdState.NEW


def _same(order: Order) -> dict[str, Any]:
    return {"cl_ord_id": order.cl_ord_id, "ord_type": order.ord_type, "price": order.price}


# ------------------------------------------------------------------ cancelling


async def test_b18_a_resting_order_is_cancelled_once_and_then_it_is_too_late(venue: Venue) -> None:
    order = await resting(venue)
    await placed(venue, order)
    first = await venue.broker.cancel(venue.account, order)
    assert isinstance(first, CancelDone)
    assert (first.report.ord_status, first.report.cum_qty) == (OrdState.CANCELED, 0)
    assert isinstance(await venue.broker.cancel(venue.account, order), CancelTooLate)
    assert not await venue.broker.open_orders(venue.account)


async def test_b19_a_filled_order_and_an_unknown_one_are_too_late_to_cancel(venue: Venue) -> None:
    order = market(venue)
    await placed(venue, order)
    for late in (order, market(venue)):
        assert isinstance(await venue.broker.cancel(venue.account, late), CancelTooLate)


# ------------------------------------------------------------------ the account


async def test_b20_positions_are_the_sum_of_the_fills(venue: Venue) -> None:
    assert await held(venue) == 0
    await placed(venue, market(venue))
    await placed(venue, market(venue, order_qty=Decimal(5)))
    assert await held(venue) == 15
    more = market(venue, side="sell", order_qty=Decimal(35))
    if venue.broker.caps.balances:  # what is held are assets: nobody sells what is not there
        assert (await refused(venue, more)).kind == "funds"
        assert await held(venue) == 15
        return
    await placed(venue, more)
    (row,) = await venue.broker.positions(venue.account)
    assert row.qty == -20
    assert row.avg_px is not None
    assert abs(row.avg_px / await venue.price() - 1) < Decimal("0.01")
    assert list(await venue.broker.positions(venue.poor)) == []


async def test_b21_equity_is_stated_and_margin_lowers_what_is_available(venue: Venue) -> None:
    if not venue.broker.caps.equity:
        assert await venue.broker.equity(venue.account) is None
        return
    before = await venue.broker.equity(venue.account)
    await placed(venue, market(venue, order_qty=Decimal(1000)))
    after = await venue.broker.equity(venue.account)
    assert before is not None
    assert after is not None
    assert (before.equity, before.currency) == (10_000, venue.currency)
    assert abs(after.equity - before.equity) < 10  # fees and spread
    assert after.available < before.available - 500


async def test_b22_open_orders_are_those_that_rest(venue: Venue) -> None:
    first, second = await resting(venue), await resting(venue)
    for order in (first, second, market(venue)):
        await placed(venue, order)
    rows = await venue.broker.open_orders(venue.account)
    assert {row.cl_ord_id for row in rows} == {first.cl_ord_id, second.cl_ord_id}
    assert {row.ord_status for row in rows} == {OrdState.NEW}


async def test_b23_instruments_can_be_sized_with(venue: Venue) -> None:
    table = await venue.broker.instruments()
    assert venue.symbol in table
    for symbol, instrument in table.items():
        assert instrument.symbol == symbol
        assert instrument.multiplier > 0
        assert instrument.tick > 0
        assert instrument.lot_step > 0
        assert instrument.min_qty > 0
        assert instrument.min_qty % instrument.lot_step == 0
        assert instrument.max_qty >= instrument.min_qty
        assert instrument.last_price is None or instrument.last_price > 0
        assert instrument.currency == venue.currency
        assert instrument.min_notional >= 0
        if instrument.bid is not None and instrument.ask is not None:
            assert 0 < instrument.bid <= instrument.ask
        assert abs(instrument.as_of - _now()) < timedelta(seconds=60)
    ours = table[venue.symbol]
    assert ours.bid is not None, "the spread filter needs a quote"
    assert ours.ask is not None
    assert ours.last_price is not None
    assert abs(ours.bid - ours.last_price) < ours.last_price / 100


async def test_b24_caps_and_the_longest_request_are_stated(venue: Venue) -> None:
    caps = venue.broker.caps
    assert {"market", "limit"} <= caps.ord_types == set(caps.times_in_force)
    assert caps.orders_per_s > 0
    assert 0 < venue.broker.request_timeout_s < 60


async def test_b25_an_order_type_or_time_in_force_not_in_caps_is_refused_for_good(
    venue: Venue,
) -> None:
    """Unsent would be tried again until its deadline, a close for ever."""
    unsupported = {"stop", "stop_limit", "trailing_stop"} - venue.broker.caps.ord_types
    for ord_type in sorted(unsupported):
        refusal = await refused(venue, market(venue, ord_type=ord_type))
        assert refusal.code == "unsupported_order"
    price = await venue.price()
    for ord_type in ("market", "limit"):
        for tif in ("day", "gtc", "opg", "cls", "ioc", "fok"):
            if tif not in venue.broker.caps.times_in_force[ord_type]:
                order = market(venue, ord_type=ord_type, time_in_force=tif, price=price)
                assert (await refused(venue, order)).code == "unsupported_order"
    assert await held(venue) == 0


async def test_b26_an_order_is_not_sent_after_its_lease(venue: Venue) -> None:
    """A process that slept must not place what another one may place again."""
    order = market(venue)
    outcome = await venue.broker.submit(venue.account, order, not_after=_now())
    assert isinstance(outcome, Unsent)
    assert await held(venue) == 0


async def test_b33_a_statement_tells_of_every_fill_by_the_name_of_its_order(venue: Venue) -> None:
    """Of a broker that keeps one (Caps.statement): what was filled, and nothing that was not."""
    since = _now() - timedelta(minutes=1)
    order = market(venue)
    await placed(venue, order)
    await placed(venue, await resting(venue))
    teller = venue.broker
    if not teller.caps.statement:
        assert not hasattr(teller, "fills")
        return
    fills = await teller.fills(venue.account, since=since, until=_now() + timedelta(minutes=1))  # type: ignore[attr-defined]
    assert {fill.cl_ord_id for fill in fills} == {order.cl_ord_id}
    assert sum(fill.qty for fill in fills) == order.order_qty
    assert {fill.side for fill in fills} == {order.side}
    assert all(fill.price > 0 for fill in fills)
