"""The official gate-api client trades spot on the simulator: amounts, fees, look-ups, refusals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import gate_api
import pytest
from gate_api.exceptions import GateApiException

from loadtest.exchanges.gateio.spot_control_client import SpotControlClient
from tests.fixtures.gateio_simulator import RunningSimulator

Ask = Callable[..., Any]


@pytest.fixture
async def control(gateio: RunningSimulator) -> AsyncIterator[SpotControlClient]:
    async with SpotControlClient(gateio.url) as client:
        await client.create_spot_account("key-1", "secret-1", USDT=Decimal(10_000))
        yield client


@pytest.fixture
async def ask(gateio: RunningSimulator, control: SpotControlClient) -> AsyncIterator[Ask]:
    """Calls a method of the official client, off the loop."""
    configuration = gate_api.Configuration(host=gateio.api, key="key-1", secret="secret-1")
    api = gate_api.SpotApi(gate_api.ApiClient(configuration))

    async def asked(method: str, *arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(api, method), *arguments, **options)

    yield asked
    api.api_client.close()
    api.api_client.rest_client.pool_manager.clear()


def order(side: str, amount: str, price: str | None = None, **more: Any) -> gate_api.Order:
    kind = {"type": "market", "time_in_force": "ioc"} if price is None else {"price": price}
    facts = {"currency_pair": "BTC_USDT", "side": side, "amount": amount}
    return gate_api.Order(**(facts | kind | more))


async def refused(ask: Ask, *arguments: Any, **options: Any) -> str:
    with pytest.raises(GateApiException) as no:
        await ask(*arguments, **options)
    return str(no.value.label)


async def balances(ask: Ask) -> dict[str, tuple[Decimal, Decimal]]:
    rows = await ask("list_spot_accounts")
    return {row.currency: (Decimal(row.available), Decimal(row.locked)) for row in rows}


async def test_a_market_order_to_buy_is_sized_in_quote_and_its_fee_is_taken_from_what_is_bought(
    ask,
):
    bought = await ask("create_order", order("buy", "600", text="t-one"))
    assert (bought.status, bought.finish_as, bought.fee_currency) == ("closed", "filled", "BTC")
    assert Decimal(bought.filled_total) <= 600
    assert Decimal(bought.filled_amount) == Decimal("0.009999")
    fee = Decimal("0.009999") * Decimal("0.002")
    assert Decimal(bought.fee) == fee
    held = await balances(ask)
    assert held["BTC"] == (Decimal("0.009999") - fee, 0)
    assert held["USDT"] == (10_000 - Decimal(bought.filled_total), 0)
    (trade,) = await ask("list_my_trades", currency_pair="BTC_USDT")
    assert (trade.text, trade.order_id, trade.role) == ("t-one", bought.id, "taker")
    assert await refused(ask, "create_order", order("sell", "0.009999")) == "BALANCE_NOT_ENOUGH"


async def test_text_finds_what_is_pending_and_id_finds_what_has_ended(ask):
    resting = await ask("create_order", order("buy", "0.001", "50000", text="t-rest"))
    assert (await ask("get_order", "t-rest", "BTC_USDT")).id == resting.id
    assert (await balances(ask))["USDT"] == (9_950, 50)
    (listed,) = await ask("list_all_open_orders")
    assert (listed.currency_pair, [o.text for o in listed.orders]) == ("BTC_USDT", ["t-rest"])
    gone = await ask("cancel_order", "t-rest", "BTC_USDT")
    assert (gone.status, gone.finish_as) == ("cancelled", "cancelled")
    assert await refused(ask, "get_order", "t-rest", "BTC_USDT") == "ORDER_NOT_FOUND"
    assert (await ask("get_order", resting.id, "BTC_USDT")).status == "cancelled"
    assert await refused(ask, "cancel_order", resting.id, "BTC_USDT") == "ORDER_CANCELLED"
    finished = await ask("list_orders", "BTC_USDT", "finished")
    assert [o.text for o in finished] == ["t-rest"]
    assert (await balances(ask))["USDT"] == (10_000, 0)


async def test_what_gate_refuses(ask):
    for wrong, label in (
        (order("buy", "0.001", "100", currency_pair="NO_USDT"), "INVALID_CURRENCY_PAIR"),
        (order("buy", "0.0000001", "60000"), "INVALID_PRECISION"),
        (order("buy", "0.001", "50000.01"), "INVALID_PRECISION"),
        (order("buy", "0.00001", "60000"), "INVALID_PARAM_VALUE"),
        (order("buy", "1", "60000"), "BALANCE_NOT_ENOUGH"),
        (order("sell", "0.001", "60000"), "BALANCE_NOT_ENOUGH"),
        (order("buy", "0.001", "61000", time_in_force="poc"), "POC_FILL_IMMEDIATELY"),
        (order("buy", "0.001", "59000", time_in_force="fok"), "FOK_NOT_FILL"),
    ):
        assert await refused(ask, "create_order", wrong) == label
    assert await ask("list_orders", "BTC_USDT", "finished") == []


async def test_an_amended_order_holds_what_it_now_needs_and_trades_when_it_crosses(ask):
    resting = await ask("create_order", order("buy", "0.001", "50000", text="t-rest"))
    patch = gate_api.OrderPatch(currency_pair="BTC_USDT", amount="0.002")
    assert (await ask("amend_order", resting.id, patch)).amount == "0.002"
    assert (await balances(ask))["USDT"] == (9_900, 100)
    crossing = gate_api.OrderPatch(currency_pair="BTC_USDT", price="61000")
    assert (await ask("amend_order", "t-rest", crossing)).status == "closed"
    assert (await balances(ask))["USDT"][1] == 0


async def test_batches_run_each_on_its_own(ask):
    orders = [order("buy", "0.001", "50000", text="t-b1"), order("buy", "9", "50000", text="t-b2")]
    answers = await ask("create_batch_orders", orders)
    assert [a.succeeded for a in answers] == [True, False]
    assert answers[1].label == "BALANCE_NOT_ENOUGH"
    named = [
        gate_api.CancelBatchOrder(currency_pair="BTC_USDT", id=ident)
        for ident in (answers[0].id, "t-b2")
    ]
    cancelled = await ask("cancel_batch_orders", named)
    assert [c.succeeded for c in cancelled] == [True, False]


async def test_cancel_all_and_the_countdown_take_open_orders(ask, gateio):
    await ask("create_order", order("buy", "0.001", "50000"))
    assert len(await ask("cancel_orders", currency_pair="BTC_USDT")) == 1
    await ask("create_order", order("buy", "0.001", "50000"))
    task = gate_api.CountdownCancelAllSpotTask(timeout=4)
    assert await refused(ask, "countdown_cancel_all_spot", task) == "INVALID_PARAM_VALUE"
    task.timeout = 5
    assert (await ask("countdown_cancel_all_spot", task)).trigger_time > time.time() * 1000
    assert len(await ask("list_all_open_orders")) == 1
    gateio.simulator.exchange.spot.now = lambda: time.time() + 6
    assert await ask("list_all_open_orders") == []


async def test_a_price_triggered_order_is_placed_when_its_price_is_touched(ask, control):
    made = await ask(
        "create_spot_price_triggered_order",
        gate_api.SpotPriceTriggeredOrder(
            market="BTC_USDT",
            trigger=gate_api.SpotPriceTrigger(price="59000", rule="<=", expiration=3600),
            put=gate_api.SpotPricePutOrder(
                side="buy", price="59500", amount="0.001", account="normal", time_in_force="gtc"
            ),
        ),
    )
    assert (await ask("get_spot_price_triggered_order", str(made.id))).status == "open"
    await control.set_spot_price("BTC_USDT", Decimal(58_000))
    fired = await ask("get_spot_price_triggered_order", str(made.id))
    assert fired.status == "finish"
    assert (await ask("get_order", str(fired.fired_order_id), "BTC_USDT")).status == "closed"


async def test_resting_orders_meet_each_other_and_what_is_sold_is_what_is_bought(ask, control):
    await control.set_spot_price("BTC_USDT", Decimal(60_000), levels=0)
    await control.create_spot_account("key-2", "secret-2", BTC=Decimal(1))
    assert (await ask("create_order", order("buy", "0.001", "60000"))).status == "open"
    await control.deposit("key-1", BTC=Decimal("0.0005"))
    sold = await ask("create_order", order("sell", "0.0005", "59000"))
    assert (sold.status, sold.avg_deal_price) == ("closed", "60000")
    (left,) = await ask("list_orders", "BTC_USDT", "open")
    assert left.left == "0.0005"
