"""The WebSocket: who may listen, what is pushed, and orders over it. The client is aiohttp's."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import aiohttp
import pytest

from loadtest.exchanges.gateio.control import Settings
from loadtest.exchanges.gateio.faults import Rule
from tests.integration.simulator.clients import ORDERS, Wire
from tests.integration.simulator.socket_client import PATH, Talk, talking

BTC = "BTC_USDT"
PLACE = "futures.order_place"


@pytest.fixture
async def wire(gateio):
    await gateio.control.create_account("key", "secret")
    return Wire(gateio.url, "key", "secret")


@pytest.fixture
async def talk(gateio, wire):
    async with talking(gateio.url, "key", "secret") as it:
        yield it


def limit(price: str = "59000", size: int = 1, **more) -> dict:
    return {"contract": BTC, "size": size, "price": price, "tif": "gtc", **more}


def market(size: int = 1, **more) -> dict:
    return {"contract": BTC, "size": size, "price": "0", "tif": "ioc", **more}


# ------------------------------------------------------------------ subscriptions


async def test_a_ping_is_answered_on_both_layers(talk: Talk):
    pong = await talk.ask({"time": 1, "channel": "futures.ping"})
    assert (pong["channel"], pong["event"], pong["result"]) == ("futures.pong", "", None)
    await talk.socket.ping(b"there?")
    assert (await talk.ask({"time": 1, "channel": "futures.ping"}))["channel"] == "futures.pong"


async def test_an_order_is_told_when_it_is_put_filled_and_finished(gateio, talk, wire):
    done = await talk.subscribe("futures.orders", BTC)
    assert (done["event"], done["result"], done["error"]) == (
        "subscribe",
        {"status": "success"},
        None,
    )
    await wire.order("t-rest", size=3, price="59000", tif="gtc")
    (put,) = await talk.update("futures.orders")
    assert (put["text"], put["status"], put["left"]) == ("t-rest", "open", 3)
    await gateio.control.set_price(BTC, Decimal(58999), levels=1, level_size=Decimal(2))
    (part,) = await talk.update("futures.orders")
    assert (part["status"], part["left"], part["fill_price"]) == ("open", 1, 59000.0)
    await wire.send("DELETE", ORDERS + "/t-rest")
    (end,) = await talk.update("futures.orders")
    assert (end["status"], end["finish_as"], end["left"]) == ("finished", "cancelled", 1)
    assert put["update_id"] < part["update_id"] < end["update_id"]


async def test_a_fill_is_told_with_its_position_and_its_money(talk, wire):
    for channel in ("futures.usertrades", "futures.positions", "futures.balances"):
        assert (await talk.subscribe(channel, "!all"))["error"] is None
    _, order = await wire.order("t-fill", size=2)
    (fill,) = await talk.update("futures.usertrades")
    assert (fill["text"], fill["size"], fill["role"]) == ("t-fill", 2, "taker")
    assert fill["order_id"] == str(order["id"])
    (position,) = await talk.update("futures.positions")
    assert (position["size"], position["mode"], position["update_id"]) == (2, "single", 1)
    (balance,) = await talk.update("futures.balances")
    assert balance["type"] == "fee"
    assert balance["change"] == pytest.approx(-fill["fee"])


async def test_the_fill_comes_before_the_answer_to_the_order(gateio, talk, wire):
    """Spec brokers.md: fills can arrive before the REST answer. Here the answer waits for us."""
    await talk.subscribe("futures.usertrades", "!all")
    await gateio.control.set_faults(Rule(kind="delay_after", seconds=30))
    answer = asyncio.create_task(wire.order("t-early"))
    (fill,) = await talk.update("futures.usertrades")
    assert fill["text"] == "t-early"
    assert not answer.done()
    answer.cancel()


async def test_each_account_hears_only_of_itself_and_of_the_contracts_it_named(gateio, talk, wire):
    await gateio.control.create_account("other", "secret")
    await talk.subscribe("futures.orders", BTC)
    await Wire(gateio.url, "other", "secret").order("t-other")
    await wire.order("t-eth", contract="ETH_USDT")
    await wire.order("t-mine")
    (first,) = await talk.update("futures.orders")
    assert first["text"] == "t-mine"


async def test_after_a_reconnection_nothing_is_told_again(gateio, wire):
    async with talking(gateio.url, "key", "secret") as before:
        await before.subscribe("futures.orders", "!all")
    await wire.order("t-missed")
    async with talking(gateio.url, "key", "secret") as after:
        await after.subscribe("futures.orders", "!all")
        await wire.order("t-seen")
        (first,) = await after.update("futures.orders")
        assert first["text"] == "t-seen"


async def test_unsubscribed_is_silent_and_costs_the_venue_nothing(gateio, talk, wire):
    account = gateio.simulator.exchange.accounts["key"]
    await talk.subscribe("futures.orders", "!all")
    assert account.feed is not None
    await talk.subscribe("futures.orders", "!all", event="unsubscribe")
    assert account.feed is None
    await wire.order("t-unheard")
    pong = await talk.ask({"time": 1, "channel": "futures.ping"})
    assert (pong["channel"], talk.updates) == ("futures.pong", [])


@pytest.mark.parametrize("gap_s", [-61.5, 61.5])
async def test_a_subscription_61_s_off_is_refused(talk, gap_s):
    refused = await talk.subscribe("futures.orders", "!all", at=time.time() + gap_s)
    assert (refused["error"]["code"], refused["result"]) == (4, None)


async def test_what_is_wrong_with_a_subscription_has_a_code(gateio, wire):
    async with talking(gateio.url, "key", "wrong") as stranger:
        assert (await stranger.subscribe("futures.orders", "!all"))["error"]["code"] == 4
    async with talking(gateio.url, "key", "secret") as talk:
        unsigned = {"time": 1, "channel": "futures.orders", "event": "subscribe", "payload": []}
        assert (await talk.ask(unsigned))["error"]["code"] == 4
        assert (await talk.subscribe("futures.orders", "XYZ_USDT"))["error"]["code"] == 2
        assert (await talk.subscribe("futures.orders", "999", "!all"))["error"]["code"] == 2
        assert (await talk.subscribe("futures.nothing"))["error"]["code"] == 2
        await talk.socket.send_str("{")
        assert (await talk.answer())["error"]["code"] == 1
        uid = str(gateio.simulator.exchange.accounts["key"].uid)
        assert (await talk.subscribe("futures.orders", uid, "!all"))["error"] is None


async def test_tickers_and_the_best_prices_need_no_key_and_move_with_the_market(gateio, talk):
    for channel in ("futures.tickers", "futures.book_ticker"):
        plain = {"time": 1, "channel": channel, "event": "subscribe", "payload": [BTC]}
        assert (await talk.ask(plain))["error"] is None
    await gateio.control.set_price(BTC, Decimal(61000))
    seen = {}
    async with asyncio.timeout(5):
        while seen.get("futures.book_ticker", {}).get("b") != "60999.9":
            message = await talk.next()  # first as it was, then as it is
            seen[message["channel"]] = message["result"]
    assert seen["futures.tickers"][0]["mark_price"] == "61000"
    assert (seen["futures.book_ticker"]["s"], seen["futures.book_ticker"]["a"]) == (BTC, "61000.1")


async def test_a_triggered_order_is_told_when_it_waits_and_when_it_fired(gateio, talk, wire):
    await talk.subscribe("futures.autoorders", "!all")
    await wire.send(
        "POST",
        "/api/v4/futures/usdt/price_orders",
        {"initial": market(2), "trigger": {"price": "61000", "rule": 1}},
    )
    (waits,) = await talk.update("futures.autoorders")
    assert (waits["status"], waits["name"], waits["initial"]["size"]) == (
        "open",
        "price_autoorders",
        2,
    )
    await gateio.control.set_price(BTC, Decimal(61000))
    (fired,) = await talk.update("futures.autoorders")
    assert (fired["id"], fired["finish_as"]) == (waits["id"], "succeeded")
    assert fired["trade_id"] > 0


async def test_a_client_that_asks_for_decimal_sizes_gets_strings(gateio, wire):
    asked = {"X-Gate-Size-Decimal": "1"}
    async with talking(gateio.url, "key", "secret", headers=asked) as talk:
        await talk.subscribe("futures.usertrades", "!all")
        await wire.order("t-sol", contract="SOL_USDT", size="0.3")
        (fill,) = await talk.update("futures.usertrades")
        assert fill["size"] == "0.3"


# ------------------------------------------------------------------ orders over it


async def test_after_the_log_in_orders_are_placed_amended_found_and_cancelled(gateio, talk):
    login = await talk.log_in()
    assert (login["header"]["status"], login["data"]["result"]["api_key"]) == ("200", "key")
    await talk.send_api(PLACE, limit(text="t-ws"), req_id="one")
    ack, placed = await talk.answer(), await talk.answer()
    assert (ack["ack"], ack["request_id"], ack["data"]["result"]["req_param"]["text"]) == (
        True, "one", "t-ws",
    )  # fmt: skip
    assert (placed["ack"], placed["data"]["result"]["status"]) == (False, "open")
    assert placed["header"]["x_gate_ratelimit_requests_remain"] == 99
    amended = await talk.api("futures.order_amend", {"order_id": "t-ws", "price": "58000"})
    assert amended["data"]["result"]["price"] == "58000"
    found = await talk.api("futures.order_status", {"order_id": "t-ws"})
    assert found["data"]["result"]["status"] == "open"
    listed = await talk.api("futures.order_list", {"contract": BTC, "status": "open"})
    assert [o["text"] for o in listed["data"]["result"]] == ["t-ws"]
    gone = await talk.api("futures.order_cancel", {"order_id": "t-ws"})
    assert gone["data"]["result"]["finish_as"] == "cancelled"
    (executed,) = (await gateio.control.audit()).orders
    assert executed.text == "t-ws"


async def test_batches_and_cancel_all_over_the_socket(talk):
    await talk.log_in()
    both = await talk.api("futures.order_batch_place", [limit(text="t-1"), limit(size=10**6)])
    assert [one["succeeded"] for one in both["data"]["result"]] == [True, False]
    gone = await talk.api("futures.order_cancel_cp", {"contract": BTC, "side": "bid"})
    assert [o["text"] for o in gone["data"]["result"]] == ["t-1"]


async def test_a_signed_order_needs_no_log_in_and_an_unsigned_one_does(gateio, talk):
    refused = await talk.api(PLACE, limit(text="t-no"))
    assert (refused["header"]["status"], refused["data"]["errs"]["label"]) == ("401", "INVALID_KEY")
    placed = await talk.api(PLACE, market(text="t-yes"), signed=True)
    assert placed["data"]["result"]["finish_as"] == "filled"
    assert [o.text for o in (await gateio.control.audit()).orders] == ["t-yes"]


async def test_a_wrong_signature_logs_nobody_in(gateio, wire):
    async with talking(gateio.url, "key", "wrong") as talk:
        refused = await talk.log_in()
        assert refused["data"]["errs"]["label"] == "INVALID_SIGNATURE"
        assert (await talk.api(PLACE, market()))["header"]["status"] == "401"


async def test_refusals_and_limits_are_those_of_rest(gateio, talk):
    await talk.log_in()
    odd = await talk.api(PLACE, limit("59000.05"))
    assert (odd["header"]["status"], odd["data"]["errs"]["label"]) == ("400", "INVALID_PARAM_VALUE")
    await gateio.control.change_settings(Settings(orders_per_s=2))
    answers = [await talk.api(PLACE, market()) for _ in range(3)]
    assert answers[-1]["data"]["errs"]["label"] == "TOO_MANY_REQUESTS"
    assert answers[-1]["header"]["status"] == "429"


async def test_a_deadline_is_kept_over_the_socket_too(gateio, talk):
    await talk.log_in()
    past = {"X-Gate-Exptime": str(int(time.time() * 1000) - 1)}
    refused = await talk.api(PLACE, market(), req_header=past)
    assert refused["data"]["errs"]["label"] == "REQUEST_EXPIRED"
    assert (await gateio.control.audit()).orders == []


async def test_a_read_only_key_listens_and_does_not_trade(gateio, talk):
    await gateio.control.change_key("key", read_only=("futures",))
    await talk.log_in()
    assert (await talk.subscribe("futures.orders", "!all"))["error"] is None
    refused = await talk.api(PLACE, market())
    assert refused["data"]["errs"]["label"] == "READ_ONLY"


# ------------------------------------------------------------------ the connection


async def test_another_path_is_not_found_and_garbage_ends_the_connection(gateio):
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(gateio.url + "/v4/ws/nowhere")
        assert refused.value.status == 404
    host, port = gateio.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"101" in head.split(b"\r\n")[0]
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, section 1.3
    writer.write(b"\xff\xff\xff\xff")
    assert (await reader.read())[:1] == b"\x88"  # a closing frame, and the end
    writer.close()
    await writer.wait_closed()


async def test_the_three_hundred_and_first_connection_of_an_address_is_refused(gateio, monkeypatch):
    from loadtest.exchanges.gateio.ws import wire as wires

    assert wires.CONNECTIONS_MAX == 300
    monkeypatch.setattr(wires, "CONNECTIONS_MAX", 2)
    async with talking(gateio.url, "k", "s"), talking(gateio.url, "k", "s"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with talking(gateio.url, "k", "s"):
                pass
    assert refused.value.status == 429


async def test_who_answers_no_ping_for_a_minute_is_cut(gateio, talk):
    (socket,) = gateio.simulator.sockets.open
    started = asyncio.get_running_loop().time()
    socket.tick(started + 59)
    assert not talk.socket.closed
    socket.tick(started + 61)
    with pytest.raises(ConnectionError):
        await talk.next()
