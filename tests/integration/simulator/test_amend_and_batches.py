"""Amending, batches and the countdown, by the official client."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import gate_api
import pytest
from gate_api.exceptions import GateApiException

from loadtest.exchanges.gateio.orders import Order
from tests.integration.simulator.clients import Wire, limit, market

BATCH_CANCEL = "/api/v4/futures/usdt/batch_cancel_orders"


def change(**members: str) -> gate_api.FuturesOrderAmendment:
    return gate_api.FuturesOrderAmendment(**members)


class Ended:
    """Listens to an account for the end of an order."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def order(self, order: Order) -> None:
        if order.finish_as is not None:
            self._ended.set()


async def label(answer) -> str:
    with pytest.raises(GateApiException) as refused:
        await answer
    return refused.value.label


async def test_size_and_price_of_what_rests_can_be_amended(trader):
    order = await trader.create_futures_order(limit(2, "59000", "t-a"))
    amended = await trader.amend_futures_order(
        str(order.id), change(size="5", price="58000", amend_text="mine")
    )
    assert (amended.id, amended.size, amended.left, amended.price) == (order.id, "5", "5", "58000")
    assert amended.amend_text == "mine"
    found = await trader.get_futures_order("t-a")
    assert (found.status, found.price) == ("open", "58000")


async def test_an_amended_price_that_crosses_trades_at_once(trader):
    await trader.create_futures_order(limit(2, "59000", "t-a"))
    amended = await trader.amend_futures_order("t-a", change(price="60100"))
    assert (amended.status, amended.finish_as, amended.left) == ("finished", "filled", "0")
    assert (await trader.get_position("BTC_USDT")).size == "2"


async def test_margin_follows_an_amended_order_and_comes_back_whole(trader):
    await trader.create_futures_order(limit(100, "50000", "t-a"))
    before = Decimal((await trader.list_futures_accounts()).order_margin)
    await trader.amend_futures_order("t-a", change(size="200"))
    after = Decimal((await trader.list_futures_accounts()).order_margin)
    assert after == 2 * before
    await trader.cancel_futures_order("t-a")
    account = await trader.list_futures_accounts()
    assert (account.order_margin, account.available) == ("0", "10000")


async def test_what_an_order_holds_already_pays_for_its_amendment(trader):
    """It holds nine tenths of the money: a tenth is free, and enough for one contract more."""
    await trader.create_futures_order(limit(15_000, "60000", "t-big"))
    available = Decimal((await trader.list_futures_accounts()).available)
    assert available < 1_000
    amended = await trader.amend_futures_order("t-big", change(size="15001"))
    assert amended.left == "15001"


async def test_what_cannot_be_amended_stands_as_it_stood(trader):
    await trader.create_futures_order(limit(2, "59000", "t-a"))
    await trader.create_futures_order(limit(2, "59000", "t-poc", tif="poc"))
    await trader.create_futures_order(market(1, "t-done"))
    amend = trader.amend_futures_order
    assert await label(amend("t-a", change(size="-2"))) == "INVALID_PARAM_VALUE"
    assert await label(amend("t-a", change(price="59000.05"))) == "INVALID_PARAM_VALUE"
    assert await label(amend("t-a", change(size="900000"))) == "INSUFFICIENT_AVAILABLE"
    assert await label(amend("t-poc", change(price="60100"))) == "ORDER_POC_IMMEDIATE"
    assert await label(amend("t-done", change(size="2"))) == "ORDER_FINISHED"
    assert await label(amend("t-none", change(size="2"))) == "ORDER_NOT_FOUND"
    stands = await trader.get_futures_order("t-a")
    assert (stands.size, stands.price, stands.status) == ("2", "59000", "open")


async def test_a_size_not_above_what_is_filled_cancels(gateio, trader):
    await trader.create_futures_order(limit(5, "59000", "t-a"))
    await gateio.control.set_price("BTC_USDT", Decimal(58999), levels=1, level_size=Decimal(2))
    amended = await trader.amend_futures_order("t-a", change(size="2"))
    assert (amended.finish_as, amended.left) == ("cancelled", "3")


async def test_a_larger_size_loses_its_place_and_a_smaller_one_keeps_it(gateio, trader):
    for text in ("t-1", "t-2", "t-3"):
        await trader.create_futures_order(limit(4, "59990", text))
    await trader.amend_futures_order("t-1", change(size="5"))
    await trader.amend_futures_order("t-2", change(size="3"))
    await gateio.control.create_account("seller", "secret")
    await gateio.control.set_price("BTC_USDT", Decimal(60000), levels=0)
    sold = await Wire(gateio.url, "seller", "secret").order(
        "t-s", size=-6, price="59990", tif="ioc"
    )
    assert sold[0] == 201
    left = [(await trader.get_futures_order(text)).left for text in ("t-1", "t-2", "t-3")]
    assert left == ["5", "0", "1"]


async def test_a_batch_of_amendments_answers_one_by_one(trader):
    first = await trader.create_futures_order(limit(1, "59000", "t-1"))
    await trader.create_futures_order(limit(1, "59000", "t-2"))
    wanted = [
        gate_api.BatchAmendOrderReq(order_id=first.id, price="58000"),
        gate_api.BatchAmendOrderReq(text="t-none", price="58000"),
        gate_api.BatchAmendOrderReq(text="t-2", size="3"),
    ]
    answers = await trader.amend_batch_future_orders(wanted)
    assert [a.succeeded for a in answers] == [True, False, True]
    assert (answers[0].price, answers[1].label, answers[2].size) == (
        "58000", "ORDER_NOT_FOUND", "3",
    )  # fmt: skip


async def test_a_batch_cancel_says_for_each_whether_it_went(gateio, trader):
    ids = [(await trader.create_futures_order(limit(1, "59000"))).id for _ in range(2)]
    done = await trader.create_futures_order(market(1))
    answers = await trader.cancel_batch_future_orders([str(n) for n in (*ids, done.id, 77)])
    assert [a.succeeded for a in answers] == [True, True, False, False]
    assert [a.message for a in answers][2:] == ["ORDER_FINISHED", "ORDER_NOT_FOUND"]
    assert await trader.list_futures_orders("open") == []
    wire = Wire(gateio.url, "trader", "secret")
    assert (await wire.send("POST", BATCH_CANCEL, ["1"] * 21))[0] == 400
    assert (await wire.send("POST", BATCH_CANCEL, []))[0] == 400


async def test_the_countdown_cancels_orders_and_not_positions(gateio, trader):
    await trader.create_futures_order(market(3))
    await trader.create_futures_order(limit(1, "59000", "t-btc"))
    eth = gate_api.FuturesOrder(contract="ETH_USDT", size="1", price="2900", text="t-eth")
    await trader.create_futures_order(eth)
    task = gate_api.CountdownCancelAllFuturesTask(timeout=5, contract="BTC_USDT")
    said = await trader.countdown_cancel_all_futures(task)
    assert 3 < said.trigger_time / 1000 - time.time() <= 5
    exchange = gateio.simulator.exchange
    exchange.countdowns.look(exchange.now() + 4)
    assert len(await trader.list_futures_orders("open")) == 2
    exchange.countdowns.look(exchange.now() + 5.1)
    assert [o.text for o in await trader.list_futures_orders("open")] == ["t-eth"]
    assert (await trader.get_futures_order("t-btc")).finish_as == "cancelled"
    assert (await trader.get_position("BTC_USDT")).size == "3"


async def test_the_countdown_can_be_renewed_called_off_and_not_be_too_short(gateio, trader):
    await trader.create_futures_order(limit(1, "59000"))
    exchange = gateio.simulator.exchange

    def task(seconds: int) -> gate_api.CountdownCancelAllFuturesTask:
        return gate_api.CountdownCancelAllFuturesTask(timeout=seconds)

    await trader.countdown_cancel_all_futures(task(5))
    await trader.countdown_cancel_all_futures(task(30))
    exchange.countdowns.look(exchange.now() + 6)
    assert len(await trader.list_futures_orders("open")) == 1
    assert (await trader.countdown_cancel_all_futures(task(0))).trigger_time == 0
    exchange.countdowns.look(exchange.now() + 60)
    assert len(await trader.list_futures_orders("open")) == 1
    refused = await label(trader.countdown_cancel_all_futures(task(4)))
    assert refused == "INVALID_PARAM_VALUE"


async def test_the_running_venue_counts_down_by_itself(gateio, trader):
    """`look` is called by the server's own clock, not by a request."""
    await trader.create_futures_order(limit(1, "59000"))
    exchange = gateio.simulator.exchange
    await trader.countdown_cancel_all_futures(gate_api.CountdownCancelAllFuturesTask(timeout=5))
    real = exchange.now
    exchange.now = lambda: real() + 6
    ended = asyncio.Event()
    gateio.simulator.exchange.accounts["trader"].feed = Ended(ended)
    async with asyncio.timeout(5):
        await ended.wait()
    assert await trader.list_futures_orders("open") == []


async def test_amends_count_with_orders_and_each_of_a_batch_counts(gateio, trader):
    await trader.create_futures_order(limit(1, "59000", "t-1"))
    wanted = [{"text": "t-1", "size": str(n)} for n in (2, 3, 4)]
    wire = Wire(gateio.url, "trader", "secret")
    path = "/api/v4/futures/usdt/batch_amend_orders"
    status, _, headers = await wire.send("POST", path, wanted)
    assert (status, headers["X-Gate-RateLimit-Requests-Remain"]) == (200, "96")
