"""The official gate-api client, which shares no code with us, trades on the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import gate_api
import pytest
from gate_api.exceptions import GateApiException

from tests.fixtures.gateio_simulator import RunningSimulator
from tests.integration.simulator.clients import limit, market, official


@pytest.fixture
async def api(gateio: RunningSimulator) -> AsyncIterator[gate_api.FuturesApi]:
    await gateio.control.create_account("key-1", "secret-1", balance=Decimal(10_000))
    client = official(gateio.api, "key-1", "secret-1")
    yield client
    client.api_client.close()
    client.api_client.rest_client.pool_manager.clear()


async def test_a_market_order_fills_and_shows_in_position_account_and_trades(api):
    order = await asyncio.to_thread(api.create_futures_order, "usdt", market(3, "t-one"))
    assert (order.status, order.finish_as, order.left) == ("finished", "filled", "0")
    position = await asyncio.to_thread(api.get_position, "usdt", "BTC_USDT")
    assert (position.size, position.entry_price) == ("3", order.fill_price)
    trades = await asyncio.to_thread(api.get_my_trades, "usdt", order=order.id)
    assert [(t.size, t.role, t.order_id) for t in trades] == [("3", "taker", str(order.id))]
    account = await asyncio.to_thread(api.list_futures_accounts, "usdt")
    paid = Decimal(trades[0].fee)
    assert paid > 0
    assert Decimal(account.total) == Decimal(10_000) - paid
    assert Decimal(account.history.fee) == -paid
    assert Decimal(account.available) < Decimal(account.total)


async def test_a_limit_order_rests_is_found_by_text_and_is_cancelled(api):
    order = await asyncio.to_thread(api.create_futures_order, "usdt", limit(2, "59000", "t-rest"))
    assert (order.status, order.left) == ("open", "2")
    found = await asyncio.to_thread(api.get_futures_order, "usdt", "t-rest")
    assert found.id == order.id
    listed = await asyncio.to_thread(api.list_futures_orders, "usdt", "open")
    assert [o.id for o in listed] == [order.id]
    cancelled = await asyncio.to_thread(api.cancel_futures_order, "usdt", "t-rest")
    assert (cancelled.status, cancelled.finish_as, cancelled.left) == ("finished", "cancelled", "2")
    assert await asyncio.to_thread(api.list_futures_orders, "usdt", "open") == []
    account = await asyncio.to_thread(api.list_futures_accounts, "usdt")
    assert account.available == "10000"


async def test_cancel_all_takes_one_contracts_orders(api):
    for price in ("59000", "59001"):
        await asyncio.to_thread(api.create_futures_order, "usdt", limit(1, price))
    other = gate_api.FuturesOrder(contract="ETH_USDT", size="1", price="2900")
    await asyncio.to_thread(api.create_futures_order, "usdt", other)
    gone = await asyncio.to_thread(api.cancel_futures_orders, "usdt", contract="BTC_USDT")
    assert len(gone) == 2
    left = await asyncio.to_thread(api.list_futures_orders, "usdt", "open")
    assert [o.contract for o in left] == ["ETH_USDT"]


async def test_a_batch_runs_every_order_on_its_own(api):
    orders = [market(1, "t-b1"), limit(1_000_000, "60000", "t-b2"), market(-1, "t-b3")]
    answers = await asyncio.to_thread(api.create_batch_futures_order, "usdt", orders)
    assert [a.succeeded for a in answers] == [True, False, True]
    assert answers[1].label == "INSUFFICIENT_AVAILABLE"


async def test_one_malformed_element_fails_the_whole_batch(api):
    orders = [market(1, "t-b1"), market(1, "no-prefix")]
    with pytest.raises(GateApiException) as refused:
        await asyncio.to_thread(api.create_batch_futures_order, "usdt", orders)
    assert (refused.value.status, refused.value.label) == (400, "INVALID_PARAM_VALUE")
    assert await asyncio.to_thread(api.list_positions, "usdt") == []


async def test_closing_with_size_zero_leaves_nothing(api):
    await asyncio.to_thread(api.create_futures_order, "usdt", market(-5))
    closed = await asyncio.to_thread(api.create_futures_order, "usdt", market(0, close=True))
    assert (closed.size, closed.is_close, closed.finish_as) == ("5", True, "filled")
    assert (await asyncio.to_thread(api.get_position, "usdt", "BTC_USDT")).size == "0"
    with pytest.raises(GateApiException, match="POSITION_EMPTY"):
        await asyncio.to_thread(api.create_futures_order, "usdt", market(0, close=True))


async def test_contracts_tickers_and_account_detail_are_readable(api):
    contracts = await asyncio.to_thread(api.list_futures_contracts, "usdt")
    assert {c.name for c in contracts} >= {"BTC_USDT", "ETH_USDT"}
    one = await asyncio.to_thread(api.get_futures_contract, "usdt", "SOL_USDT")
    assert (one.quanto_multiplier, one.enable_decimal, one.order_size_min) == ("1", True, "0.1")
    (ticker,) = await asyncio.to_thread(api.list_futures_tickers, "usdt", contract="BTC_USDT")
    assert Decimal(ticker.highest_bid) < Decimal(ticker.lowest_ask)
    account_api = gate_api.AccountApi(api.api_client)
    detail = await asyncio.to_thread(account_api.get_account_detail)
    keys = await asyncio.to_thread(account_api.get_account_main_keys)
    assert detail.user_id == keys.user_id
    assert [p.name for p in keys.perms] == ["futures"]


@pytest.mark.parametrize(
    ("key", "secret", "label"),
    [("key-1", "wrong", "INVALID_SIGNATURE"), ("nobody", "secret-1", "INVALID_KEY")],
)
async def test_a_wrong_secret_or_key_is_refused(gateio, api, key, secret, label):
    stranger = official(gateio.api, key, secret)
    with pytest.raises(GateApiException) as refused:
        await asyncio.to_thread(stranger.create_futures_order, "usdt", market(1, "t-x"))
    stranger.api_client.rest_client.pool_manager.clear()
    assert (refused.value.status, refused.value.label) == (401, label)
    assert (await gateio.control.audit()).orders == []


async def test_the_official_client_chokes_on_an_unknown_enum_after_the_order_lives(gateio, api):
    """The trap of spec brokers.md: a ValueError, and the order is there."""
    from loadtest.exchanges.gateio.faults import Rule

    await gateio.control.set_faults(Rule(kind="unknown_enum"))
    with pytest.raises(ValueError, match="unheard_of"):
        await asyncio.to_thread(api.create_futures_order, "usdt", market(1, "t-odd"))
    assert [o.text for o in (await gateio.control.audit()).orders] == ["t-odd"]


async def test_it_trades_on_the_process_as_well_and_sigterm_ends_it_cleanly(tmp_path):
    import orjson

    from loadtest.exchanges.gateio.control_client import ControlClient
    from loadtest.exchanges.launch import launched

    state = tmp_path / "state.json"
    async with launched(state_file=state) as process:
        async with ControlClient(process.url) as control:
            await control.create_account("k", "s")
        client = official(process.url + "/api/v4", "k", "s")
        await asyncio.to_thread(client.create_futures_order, "usdt", market(1, "t-process"))
        client.api_client.rest_client.pool_manager.clear()
        assert await process.stop() == 0
    assert [o["text"] for o in orjson.loads(state.read_bytes())["orders"]] == ["t-process"]
