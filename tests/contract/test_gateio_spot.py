"""What is spot's own at Gate.io: fees out of what is bought, balances for positions, sells that fit them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.abilities import Amended, AmendRefused, Balance
from fanout.brokers.gateio_spot.adapter import GateioSpotBroker
from fanout.fill_check import OwnFill, differences
from fanout.order import Order, OrdState
from fanout.ports import AbsentProven, Acked, Found, Rejected, Report, Unsent
from fanout.proof import NotProven, Proven
from loadtest.exchanges.gateio.control import Settings
from loadtest.exchanges.gateio.faults import Rule
from tests.contract.venues import SpotVenue, gateio_spot
from tests.fakes.orders import an_order, submitted

NAME = "p" + "a" * 25
LATER = timedelta(seconds=30)


@pytest.fixture
async def venue() -> AsyncIterator[SpotVenue]:
    """Fees are taken from what is received, as for a user without points."""
    async with gateio_spot(points=False) as up:
        yield up


@pytest.fixture
def broker(venue: SpotVenue) -> GateioSpotBroker:
    assert isinstance(venue.broker, GateioSpotBroker)
    return venue.broker


def an_intent(venue: SpotVenue, **changed: Any) -> Order:
    facts = {"broker": "gateio_spot", "symbol": venue.symbol, "order_qty": Decimal(10)}
    return an_order(venue.account, **(facts | changed))


async def placed(venue: SpotVenue, order: Order) -> Report:
    outcome = await submitted(venue.broker, venue.account, order)
    assert isinstance(outcome, Acked), outcome
    return outcome.report


async def held(venue: SpotVenue) -> Decimal:
    return sum((row.qty for row in await venue.broker.positions(venue.account)), Decimal(0))


async def balance(venue: SpotVenue, currency: str) -> Decimal:
    rows = await venue.control.spot_balances()
    return sum((r.available for r in rows if (r.key, r.currency) == ("rich", currency)), Decimal(0))


def now() -> datetime:
    return datetime.now(UTC)


async def test_what_is_bought_counts_without_the_fee_and_can_be_sold_to_the_last_step(venue):
    bought = await placed(venue, an_intent(venue, order_qty=Decimal("12.34")))
    # 12.34 less 0.2 % is 12.31532: two decimals can be sold.
    assert (bought.ord_status, bought.cum_qty) == (OrdState.FILLED, Decimal("12.31"))
    assert await held(venue) == Decimal("12.31")
    sold = await placed(
        venue, an_intent(venue, side="sell", reduce_only=True, order_qty=bought.cum_qty)
    )
    assert (sold.ord_status, sold.cum_qty) == (OrdState.FILLED, Decimal("12.31"))
    assert await held(venue) == 0
    assert await balance(venue, "XRP") == Decimal("0.00532")


async def test_a_closing_sell_is_cut_to_what_there_is_and_says_so(venue):
    await placed(venue, an_intent(venue))
    closing = an_intent(venue, side="sell", reduce_only=True, order_qty=Decimal(10))
    sold = await placed(venue, closing)
    assert (sold.ord_status, sold.cum_qty) == (OrdState.CANCELED, Decimal("9.98"))
    lookup = await venue.broker.find(venue.account, closing, sent_by=now())
    assert isinstance(lookup, Found)
    assert (lookup.report.ord_status, lookup.report.cum_qty) == (OrdState.CANCELED, Decimal("9.98"))


async def test_a_sell_beyond_the_balance_is_refused_and_nothing_is_ever_short(venue):
    await placed(venue, an_intent(venue))
    for order in (
        an_intent(venue, side="sell"),
        an_intent(venue, side="sell", ord_type="limit", price=await venue.price_at("1.1")),
    ):
        outcome = await submitted(venue.broker, venue.account, order)
        assert isinstance(outcome, Rejected)
        assert (outcome.code, outcome.kind) == ("BALANCE_NOT_ENOUGH", "funds")
    assert await held(venue) == Decimal("9.98")


async def test_a_market_order_buys_no_more_than_asked_and_no_dearer_than_its_bound(venue, broker):
    """The market ran 5 % away since prices were last read: less is bought, here nothing."""
    await broker.instruments()
    await venue.move(await venue.price_at("1.05"))
    bought = await placed(venue, an_intent(venue))
    assert (bought.ord_status, bought.cum_qty) == (OrdState.CANCELED, 0)
    await venue.move(await venue.price_at("0.8"))
    bought = await placed(venue, an_intent(venue))
    rows = (await venue.control.spot_audit()).orders
    assert (bought.ord_status, rows[-1].filled, rows[-1].tif) == (OrdState.FILLED, 10, "ioc")


async def test_equity_is_all_balances_by_last_prices_and_positions_leave_dust_out(venue, broker):
    await venue.control.deposit("rich", XRP=Decimal("0.5"), BTC=Decimal("0.1"), LUNC=Decimal(7))
    equity = await broker.equity(venue.account)
    assert equity is not None
    assert (equity.equity, equity.available) == (10_000 + 1 + 6_000, 10_000)
    rows = {row.symbol: row.qty for row in await broker.positions(venue.account)}
    assert rows == {"BTC_USDT": Decimal("0.1")}
    assert Balance(asset="LUNC", total=Decimal(7), available=Decimal(7)) in await broker.balances(
        venue.account
    )


async def test_the_statement_says_what_the_reports_said(venue, broker):
    """Through the check that compares them every day, over orders of one trade and of many."""
    since = now() - timedelta(minutes=1)
    await venue.control.set_spot_price(
        venue.symbol, Decimal(2), levels=10, level_size=Decimal("1.37")
    )
    orders = [an_intent(venue, order_qty=Decimal("12.34")), an_intent(venue)]
    orders.append(an_intent(venue, side="sell", order_qty=Decimal("5.55")))
    ours = []
    for order in orders:
        report = await placed(venue, order)
        assert report.cum_qty > 0
        ours.append(
            OwnFill(order.cl_ord_id, order.symbol, order.side, report.cum_qty, report.avg_px, now())
        )
    theirs = await broker.fills(venue.account, since=since, until=now() + LATER)
    assert len(theirs) > len(orders)
    today = date(now().year, now().month, now().day)
    assert differences(today, ours, theirs) == []


async def test_what_rests_is_amended_in_place_and_what_has_ended_is_too_late(venue, broker):
    order = an_intent(venue, ord_type="limit", price=await venue.price_at("0.8"))
    await placed(venue, order)
    price = await venue.price_at("0.9")
    seen = await broker.amend(
        venue.account, order, order_qty=Decimal(20), price=price, not_after=now() + LATER
    )
    assert isinstance(seen, Amended), seen
    (row,) = (await venue.control.spot_audit()).orders
    assert (row.amount, row.price) == (20, price)
    late = await broker.amend(
        venue.account, order, order_qty=Decimal(30), price=None, not_after=now()
    )
    assert isinstance(late, AmendRefused)
    assert late.code == "unsent"
    await broker.cancel_all(venue.account, venue.symbol)
    gone = await broker.amend(
        venue.account, order, order_qty=Decimal(30), price=None, not_after=now() + LATER
    )
    assert isinstance(gone, AmendRefused)
    assert gone.too_late


async def test_a_batch_tells_of_each_and_its_closing_sells_share_what_there_is(venue, broker):
    await placed(venue, an_intent(venue, order_qty=Decimal(10)))
    orders = [
        an_intent(venue, side="sell", reduce_only=True, order_qty=Decimal(6)),
        an_intent(venue, symbol="NOPE_USDT"),
        an_intent(venue, side="sell", reduce_only=True, order_qty=Decimal(6)),
        an_intent(venue, order_qty=Decimal(100_000)),
    ]
    told = await broker.submit_batch(venue.account, orders, not_after=now() + LATER)
    assert isinstance(told[0], Acked)
    assert told[0].report.cum_qty == 6
    assert isinstance(told[1], Rejected)
    assert (told[1].kind, told[1].left) == ("instrument", False)
    assert isinstance(told[2], Acked)
    assert told[2].report.cum_qty == Decimal("3.98")
    assert isinstance(told[3], Rejected)
    assert (told[3].kind, told[3].left) == ("funds", True)
    assert await held(venue) == 0


async def test_a_batch_larger_than_gate_takes_leaves_the_rest_unsent(venue, broker):
    orders = [an_intent(venue) for _ in range(11)]
    told = await broker.submit_batch(venue.account, orders, not_after=now() + LATER)
    assert [type(outcome) for outcome in told] == [Acked] * 10 + [Unsent]
    assert len((await venue.control.spot_audit()).orders) == 10


async def test_cancel_all_and_the_countdown_end_what_is_open(venue, broker):
    for _ in range(2):
        price = await venue.price_at("0.8")
        await placed(venue, an_intent(venue, ord_type="limit", price=price))
    assert not await broker.dead_man(venue.account, 3)
    assert await broker.dead_man(venue.account, 30)
    assert await broker.dead_man(venue.account, 0)
    assert len(await broker.open_orders(venue.account)) == 2
    assert await broker.cancel_all(venue.account, None)
    assert not await broker.open_orders(venue.account)


async def test_a_key_is_proven_by_its_scopes_and_a_test_order_that_leaves_nothing(venue, broker):
    proof = await broker.prove(venue.account, test_order=NAME, not_after=now() + LATER)
    assert isinstance(proof, Proven), proof
    assert proof.scopes == ("spot:write",)
    assert proof.checks == ("scopes", "not_ip_bound", "account_read", "test_order")
    (tried,) = (await venue.control.spot_audit()).orders
    assert (tried.text, tried.finish_as, tried.filled) == (f"t-{NAME}", "cancelled", 0)


@pytest.mark.parametrize(
    ("permissions", "code"),
    [(("spot", "wallet"), "can_withdraw"), (("futures",), "cannot_trade"), ((), "scope_unknown")],
)
async def test_a_key_that_can_do_more_or_less_than_trade_spot_is_not_taken(
    venue, broker, permissions, code
):
    await venue.control.change_key("rich", permissions=permissions)
    proof = await broker.prove(venue.account, test_order=None, not_after=now() + LATER)
    assert isinstance(proof, NotProven)
    assert proof.code == code


async def test_an_old_intent_that_is_not_found_is_not_proven_absent(venue, broker):
    """Gate tells of seven days' fills: what is older may have traded, and nobody would say."""
    old = an_intent(venue, intent_at=now() - timedelta(days=8))
    lookup = await broker.find(venue.account, old, sent_by=now())
    assert not isinstance(lookup, AbsentProven | Found)


async def test_gates_own_limit_is_kept_by_its_headers(venue, broker):
    await venue.control.change_settings(Settings(spot_orders_per_s=3))
    outcomes = [await submitted(broker, venue.account, an_intent(venue)) for _ in range(4)]
    assert [type(o).__name__ for o in outcomes] == ["Acked"] * 3 + ["RateLimited"]


async def test_an_order_its_fill_and_the_money_are_hinted_at(venue, broker):
    wanted = {"order", "fill", "balance"}
    async with aclosing(broker.hints(venue.account)) as hints, asyncio.timeout(5):
        assert (await anext(hints)).kind == "gap"
        order = an_intent(venue)
        await placed(venue, order)
        heard = [await anext(hints)]
        while not wanted <= {one.kind for one in heard}:
            heard.append(await anext(hints))
        named = {(h.cl_ord_id, h.symbol) for h in heard if h.kind in ("order", "fill")}
        assert named == {(order.cl_ord_id, venue.symbol)}
        await venue.control.set_faults(Rule(kind="ws_cut", times=1))
        await placed(venue, an_intent(venue))
        while (await anext(hints)).kind != "gap":
            pass
