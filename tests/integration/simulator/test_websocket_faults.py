"""Faults of the WebSocket, half-open connections, storms, maintenance, and moods by number."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import aiohttp
import pytest

from loadtest.exchanges.gateio.control_client import ControlClient, ControlRefused
from loadtest.exchanges.gateio.faults import Faults, Rule
from loadtest.exchanges.gateio.mood import BadMood, SeededMood, decide
from loadtest.exchanges.launch import launched
from tests.integration.simulator.clients import ORDERS, Wire
from tests.integration.simulator.socket_client import PATH, Talk, talking
from tests.integration.simulator.test_connection import order

PING = {"time": 1, "channel": "futures.ping"}
FILLS = "futures.usertrades"


@pytest.fixture
async def wire(gateio):
    await gateio.control.create_account("key", "secret")
    return Wire(gateio.url, "key", "secret")


@pytest.fixture
async def talk(gateio, wire):
    """Listens to fills alone, so that one order is one message."""
    async with talking(gateio.url, "key", "secret") as it:
        await it.subscribe(FILLS, "!all")
        yield it


async def told(talk: Talk, n: int) -> list[str]:
    """The texts of the next n fills, and no more after them: a ping's answer bounds the wait."""
    texts = [(await talk.update(FILLS))[0]["text"] for _ in range(n)]
    assert (await talk.ask(PING))["channel"] == "futures.pong"
    return texts + [it["result"][0]["text"] for it in talk.updates]


async def fill(wire: Wire, *texts: str) -> None:
    for text in texts:
        assert (await wire.order(text))[0] == 201


async def test_a_dropped_message_never_comes(gateio, talk, wire):
    await gateio.control.set_faults(Rule(kind="ws_drop", text="t-1"))
    await fill(wire, "t-1", "t-2")
    assert await told(talk, 1) == ["t-2"]


async def test_a_duplicated_message_comes_twice(gateio, talk, wire):
    await gateio.control.set_faults(Rule(kind="ws_duplicate", nth=1))
    await fill(wire, "t-1", "t-2")
    assert await told(talk, 3) == ["t-1", "t-1", "t-2"]


async def test_a_reordered_message_comes_after_the_next(gateio, talk, wire):
    await gateio.control.set_faults(Rule(kind="ws_reorder", nth=1, seconds=30))
    await fill(wire, "t-1", "t-2")
    assert await told(talk, 2) == ["t-2", "t-1"]


async def test_a_reordered_message_without_a_next_comes_all_the_same(gateio, talk, wire):
    await gateio.control.set_faults(Rule(kind="ws_reorder", seconds=0.05))
    await fill(wire, "t-1")
    assert await told(talk, 1) == ["t-1"]


async def test_a_late_message_is_overtaken(gateio, talk, wire):
    await gateio.control.set_faults(Rule(kind="ws_late", text="t-1", seconds=0.3))
    await fill(wire, "t-1", "t-2")
    assert await told(talk, 2) == ["t-2", "t-1"]


async def test_in_a_gap_all_is_lost_and_pings_are_answered(gateio, talk, wire):
    await gateio.control.set_faults(Rule(kind="ws_gap", nth=1, seconds=30))
    await fill(wire, "t-1", "t-2")
    assert await told(talk, 0) == []


async def test_in_silence_not_even_a_ping_is_answered_and_then_it_goes_on(gateio, talk, wire):
    await gateio.control.set_faults(Rule(kind="ws_silence", nth=1, seconds=0.4))
    await fill(wire, "t-1")
    await talk.socket.send_json(PING)
    with pytest.raises(TimeoutError):
        await talk.next(timeout_s=0.2)
    await asyncio.sleep(0.3)
    await fill(wire, "t-2")
    assert await told(talk, 1) == ["t-2"]


async def test_in_silence_the_protocols_own_ping_has_no_answer_either(gateio, wire):
    async with talking(gateio.url, "key", "secret", autoping=False) as talk:
        await talk.subscribe(FILLS, "!all")
        await talk.socket.ping()
        assert (await talk.socket.receive(timeout=5)).type is aiohttp.WSMsgType.PONG
        await gateio.control.set_faults(Rule(kind="ws_silence", seconds=30))
        await fill(wire, "t-1")
        await talk.socket.ping()
        with pytest.raises(TimeoutError):
            await talk.socket.receive(timeout=0.2)


async def test_a_cut_ends_the_connection_and_the_order_lives(gateio, talk, wire):
    await gateio.control.set_faults(Rule(kind="ws_cut"))
    await fill(wire, "t-1")
    with pytest.raises(ConnectionError):
        await talk.next()
    assert [o.text for o in (await gateio.control.audit()).orders] == ["t-1"]


async def test_rules_name_channel_and_key(gateio, talk, wire):
    await talk.subscribe("futures.balances")
    await gateio.control.set_faults(
        Rule(kind="ws_drop", channel="futures.bal*"), Rule(kind="ws_drop", key="somebody")
    )
    await fill(wire, "t-1")
    assert await told(talk, 1) == ["t-1"]


async def test_an_order_over_the_socket_can_be_executed_and_its_answer_lost(gateio, wire):
    wanted = {"contract": "BTC_USDT", "size": 1, "price": "0", "tif": "ioc", "text": "t-1"}
    async with talking(gateio.url, "key", "secret") as talk:
        await talk.log_in()
        await gateio.control.set_faults(Rule(kind="ws_drop", channel="futures.order_place"))
        await talk.send_api("futures.order_place", wanted)
        assert (await talk.answer())["ack"]
        assert (await talk.ask(PING))["channel"] == "futures.pong"
        await gateio.control.clear_faults()
        await gateio.control.set_faults(Rule(kind="drop_after"))
        await talk.send_api("futures.order_place", wanted | {"text": "t-2"})
        with pytest.raises(ConnectionError):
            await talk.api("futures.nothing")  # it comes to the end before any answer
    assert [o.text for o in (await gateio.control.audit()).orders] == ["t-1", "t-2"]


@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("maintenance", 503)])
async def test_a_handshake_can_be_refused(gateio, kind, status):
    await gateio.control.set_faults(Rule(kind=kind, method="GET", path=PATH))
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with talking(gateio.url, "k", "s"):
            pass
    assert refused.value.status == status


# ------------------------------------------------------------------ of requests


@pytest.mark.parametrize(
    ("kind", "lives"), [("half_open_before", False), ("half_open_after", True)]
)
async def test_a_half_open_connection_takes_everything_and_says_nothing(gateio, wire, kind, lives):
    await gateio.control.set_faults(Rule(kind=kind, times=1))
    with pytest.raises(TimeoutError):
        await wire.order("t-half", timeout_s=0.15)
    texts = [o.text for o in (await gateio.control.audit()).orders]
    assert texts == (["t-half"] if lives else [])
    await fill(wire, "t-next")  # another connection


async def test_on_a_half_open_connection_later_requests_are_not_executed(gateio, wire):
    await gateio.control.set_faults(Rule(kind="half_open_after", times=1))
    host, port = gateio.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(order("t-first"))
    writer.write(order("t-second"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await reader.read(1)
    assert [o.text for o in (await gateio.control.audit()).orders] == ["t-first"]
    writer.close()
    await writer.wait_closed()


async def test_maintenance_is_a_page_of_html_and_nothing_is_executed(gateio, wire):
    await gateio.control.set_faults(Rule(kind="maintenance"))
    document = {"contract": "BTC_USDT", "size": 1, "price": "0", "tif": "ioc"}
    status, body, headers = await wire.send("POST", ORDERS, document)
    assert (status, body[:6], headers["Content-Type"]) == (503, b"<html>", "text/html")
    assert (await gateio.control.audit()).orders == []


async def test_a_storm_lasts(gateio, wire):
    """One hit, and everything after it."""
    await gateio.control.set_faults(Rule(kind="429", nth=2, lasting_s=60))
    assert [(await wire.order(f"t-{n}"))[0] for n in range(4)] == [201, 429, 429, 429]


def test_a_lasting_rule_hits_all_that_match_until_its_time_is_over():
    clock = [100.0]
    faults = Faults(now=lambda: clock[0])
    faults.add([Rule(kind="429", nth=2, lasting_s=5, times=1)])
    seen = []
    for at in (100.0, 101.0, 103.0, 105.9, 106.1, 107.0):
        clock[0] = at
        seen.append(faults.choose("POST", ORDERS, "k", b"") is not None)
    assert seen == [False, True, True, True, False, False]


# ------------------------------------------------------------------ moods


def course(seed: int, what: str, key: str, n: int = 500, share: float = 0.2) -> list[str | None]:
    asked = BadMood(seed=seed, share=share)
    rules = (decide(asked, what, key, at) for at in range(1, n + 1))
    return [None if rule is None else f"{rule.kind}/{rule.seconds}" for rule in rules]


def test_a_mood_is_a_function_of_its_number():
    assert course(7, "request", "k") == course(7, "request", "k")
    assert course(7, "request", "k") != course(8, "request", "k")
    assert course(7, "request", "k") != course(7, "request", "other")
    assert course(7, "request", "k") != course(7, "push", "k")
    hit = [one for one in course(7, "request", "k", 2000) if one]
    assert 300 < len(hit) < 500
    assert len({one.partition("/")[0] for one in hit}) == 14  # every kind has its turn
    assert not any(course(7, "request", "k", share=0))


def test_a_key_meets_the_same_faults_however_others_come_between():
    alone, among = SeededMood(BadMood(seed=3, share=0.3)), SeededMood(BadMood(seed=3, share=0.3))
    first = [alone.request("POST", ORDERS, "k") for _ in range(100)]
    second = []
    for n in range(100):
        for _ in range(n % 3):
            among.request("POST", ORDERS, "another")
        second.append(among.request("POST", ORDERS, "k"))
    assert first == second
    assert any(first)


async def test_a_mood_hits_what_is_private_and_can_be_ended(gateio, wire):
    await gateio.control.set_mood(5, share=1)
    contracts = "/api/v4/futures/usdt/contracts"
    assert (await wire.send("GET", contracts))[0] == 200
    gone = 0
    for n in range(6):
        try:
            status, document = await wire.order(f"t-{n}", timeout_s=0.2)
            gone += status != 201 or document.get("finish_as") != "filled"
        except (TimeoutError, aiohttp.ClientError):
            gone += 1
    report = await gateio.control.mood()
    assert report is not None
    assert sum(report["hits"].values()) == 6
    assert gone >= 3
    await gateio.control.clear_mood()
    assert await gateio.control.mood() is None
    assert (await wire.order("t-well"))[0] == 201


async def test_a_share_above_one_is_refused(gateio):
    with pytest.raises(ControlRefused, match="from 0 to 1"):
        await gateio.control._ask("POST", "mood", {"seed": 1, "share": 2})


async def test_the_process_takes_seed_and_faults_from_its_command_line():
    async with (
        launched(arguments=["--seed", "9", "--share", "0", "--fault", "429,nth=2"]) as process,
        ControlClient(process.url) as control,
    ):
        await control.create_account("key", "secret", balance=Decimal(1000))
        report = await control.mood()
        assert report is not None
        assert report["seed"] == 9
        wire = Wire(process.url, "key", "secret")
        assert [(await wire.order(f"t-{n}"))[0] for n in range(3)] == [201, 429, 201]
