"""Hints come, nothing is believed, and after every cut there is a gap that says: ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from random import Random
from typing import Any, cast

import pytest

from fanout.abilities import Hint
from fanout.brokers.gate import hosts, stream_wire
from fanout.brokers.gate.stream import GateStream
from fanout.brokers.gate.stream_settings import StreamSettings
from fanout.brokers.gate.stream_wire import Auth
from fanout.brokers.gateio.adapter import CHANNELS, GateioBroker
from fanout.ports import BrokerAccount
from tenancy.clock import SystemClock
from tests.fakes.gate_stream import SECRET, FakeStream, fake_stream
from tests.fakes.orders import an_account
from tests.fakes.scripted_http import Seen, reply, scripted
from tests.fakes.signer import InProcessSigner
from tests.unit.brokers.scripted_gate import settings, shown_time

ACCOUNT = an_account()
KINDS = {one.name: one.kind for one in CHANNELS}
QUICK = {"ping_s": 0.05, "silence_s": 0.3, "pause_s": 0.01, "pause_most_s": 0.02}
Told = AsyncGenerator[Hint, None]


def gap(account: BrokerAccount = ACCOUNT) -> Hint:
    return Hint(kind="gap", account_id=account.account_id)


@asynccontextmanager
async def listening(fake: FakeStream, **changed: Any) -> AsyncIterator[GateioBroker]:
    """A broker whose REST side knows whose key it is, and nothing else."""

    def script(seen: Seen) -> bytes | str:
        if seen.target == "/api/v4/spot/time":
            return shown_time()
        if seen.target == "/api/v4/account/detail":
            return reply(200, {"user_id": 10001, "key": {"mode": 1}})
        return reply(200, [])

    async with scripted(script) as server:
        stream = StreamSettings(url=fake.url, **(QUICK | changed))
        signer = InProcessSigner({}, default=SECRET)
        broker = GateioBroker(settings(server.url, stream=stream), signer, SystemClock())
        await broker.open()
        try:
            yield broker
        finally:
            await broker.close()


def told(broker: GateioBroker, account: BrokerAccount = ACCOUNT) -> aclosing[Told]:
    return aclosing(cast(Told, broker.hints(account)))


async def following(hints: Told) -> Hint:
    return await asyncio.wait_for(anext(hints), 5)


# ------------------------------------------------------------------ what is said and heard


async def test_it_subscribes_to_its_own_channels_signed_and_begins_with_a_gap() -> None:
    async with fake_stream() as fake, listening(fake) as broker, told(broker) as hints:
        assert await following(hints) == gap()
        user, key = "10001", ACCOUNT.api_key
        assert fake.subscribed == [
            ("futures.orders", [user, "!all"], key),
            ("futures.usertrades", [user, "!all"], key),
            ("futures.positions", [user, "!all"], key),
            ("futures.balances", [user], key),
        ]


async def test_a_message_is_a_hint_of_its_kind_and_names_our_order() -> None:
    async with fake_stream() as fake, listening(fake) as broker, told(broker) as hints:
        assert await following(hints) == gap()
        await fake.update("futures.orders", {"contract": "BTC_USDT", "text": "t-abc.1", "left": 0})
        await fake.update("futures.usertrades", {"contract": "BTC_USDT", "text": "web"})
        await fake.update(
            "futures.positions", {"contract": "ETH_USDT", "size": 5}, {"contract": "X"}
        )
        await fake.update("futures.balances", {"balance": 9.9, "text": "BTC_USD:3914424"})
        heard = [await following(hints) for _ in range(5)]
        assert [(one.kind, one.cl_ord_id, one.symbol) for one in heard] == [
            ("order", "abc.1", "BTC_USDT"),
            ("fill", None, "BTC_USDT"),
            ("position", None, "ETH_USDT"),
            ("position", None, "X"),
            ("balance", None, None),
        ]
        assert {one.account_id for one in heard} == {ACCOUNT.account_id}


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        json.dumps({"channel": "futures.orders", "event": "update", "result": "?"}),
        json.dumps({"channel": "futures.orders", "event": "update", "result": [{"text": 5}]}),
        json.dumps({"channel": "futures.orders", "event": "update", "error": {"code": 1}}),
        json.dumps({"channel": "futures.orders", "event": "all"}),
        json.dumps({"channel": "futures.orders", "event": "update"}),
    ],
)
def test_what_cannot_be_read_is_a_gap(text: str) -> None:
    assert stream_wire.hints(text, ACCOUNT.account_id, KINDS) == [gap()]


@pytest.mark.parametrize(
    "said",
    [
        {"channel": "futures.pong", "event": ""},
        {"channel": "futures.tickers", "event": "update", "result": []},
        {"channel": "futures.orders", "event": "subscribe", "result": {"status": "success"}},
    ],
)
def test_what_is_not_about_the_account_is_nothing(said: dict[str, Any]) -> None:
    assert stream_wire.hints(json.dumps(said), ACCOUNT.account_id, KINDS) == []


# ------------------------------------------------------------------ what breaks


async def test_after_a_cut_it_comes_back_and_says_gap() -> None:
    async with fake_stream() as fake, listening(fake) as broker, told(broker) as hints:
        for round_ in range(1, 4):
            assert await following(hints) == gap()
            assert fake.connections == round_
            await fake.cut()


async def test_a_quiet_connection_is_pinged_and_kept() -> None:
    async with fake_stream() as fake, listening(fake) as broker, told(broker) as hints:
        assert await following(hints) == gap()
        waiting = asyncio.ensure_future(anext(hints))
        async with fake.seen:  # longer than silence_s altogether
            await asyncio.wait_for(fake.seen.wait_for(lambda: fake.pings >= 8), 5)
        await fake.update("futures.orders", {"contract": "BTC_USDT"})
        assert (await asyncio.wait_for(waiting, 5)).kind == "order"
        assert fake.connections == 1


async def test_a_connection_that_says_nothing_is_dead() -> None:
    """Half open: no end is ever seen of it."""
    async with fake_stream() as fake, listening(fake) as broker, told(broker) as hints:
        assert await following(hints) == gap()
        fake.silent = True
        waiting = asyncio.ensure_future(anext(hints))
        async with fake.seen:
            await asyncio.wait_for(fake.seen.wait_for(lambda: fake.connections == 2), 5)
        fake.silent = False
        assert await asyncio.wait_for(waiting, 5) == gap()


@pytest.mark.parametrize("trouble", ["shut", "refuse"])
async def test_a_refusal_is_no_end_and_no_gap_until_it_stands(trouble: str) -> None:
    async with fake_stream() as fake:
        setattr(fake, trouble, True)
        async with listening(fake) as broker, told(broker) as hints:
            waiting = asyncio.ensure_future(anext(hints))
            async with fake.seen:
                await asyncio.wait_for(fake.seen.wait_for(lambda: fake.connections >= 3), 5)
            assert not waiting.done()
            setattr(fake, trouble, False)
            assert await asyncio.wait_for(waiting, 5) == gap()


class Away(InProcessSigner):
    """Refuses once, then signs."""

    refused = 0

    async def sign_request(self, *args: Any, **kwargs: Any) -> str:
        if not self.refused:
            self.refused += 1
            raise RuntimeError("the token is away")
        return await super().sign_request(*args, **kwargs)


async def test_a_signature_that_cannot_be_had_is_no_end() -> None:
    async with fake_stream() as fake, listening(fake) as broker, told(broker) as hints:
        broker._client._signer = signer = Away({}, default=SECRET)
        assert await following(hints) == gap()
        assert signer.refused == 1


async def test_never_more_connections_than_the_settings_allow() -> None:
    first, second = an_account(), an_account()
    async with fake_stream() as fake, listening(fake, connections=1) as broker:
        async with told(broker, first) as hints:
            assert await following(hints) == gap(first)
            waiting = asyncio.ensure_future(anext(cast(Told, (other := broker.hints(second)))))
            for _ in range(
                50
            ):  # more of the first one's messages than the second would need to be in
                await fake.update("futures.orders", {"contract": "BTC_USDT"})
                assert (await following(hints)).account_id == first.account_id
            assert fake.connections == 1
        assert await asyncio.wait_for(waiting, 5) == gap(second)
        assert fake.most_at_once == 1
        await cast(Told, other).aclose()


async def test_the_pause_grows_up_to_a_bound_and_chance_is_in_it() -> None:
    pauses: list[float] = []

    class Enough(Exception):
        pass

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise Enough

    async def nobody(*_: Any) -> Any:
        raise TimeoutError

    stream = GateStream(
        "gateio",
        "ws://127.0.0.1:1",
        StreamSettings(pause_s=1.0, pause_most_s=30.0),
        CHANNELS,
        ping="futures.ping",
        sign=cast(Any, nobody),
        user_of=nobody,
        clock=SystemClock(),
        sleep=sleep,
        chance=Random(7),
    )
    with pytest.raises(Enough):
        await anext(stream.hints(ACCOUNT))
    for pause, whole in zip(pauses, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert whole / 2 <= pause <= whole
    assert len(set(pauses)) == 8


def test_the_subscription_is_gates_own_example() -> None:
    said = stream_wire.subscribe("futures.orders", ["20011", "BTC_USD"], Auth("k", "s", 123))
    assert json.loads(said) == {
        "time": 123,
        "channel": "futures.orders",
        "event": "subscribe",
        "payload": ["20011", "BTC_USD"],
        "auth": {"method": "api_key", "KEY": "k", "SIGN": "s"},
    }


# ------------------------------------------------------------------ settings and hosts


@pytest.mark.parametrize(
    "wrong",
    [
        {"connections": 301},
        {"connections": 0},
        {"ping_s": 30.0},
        {"pause_s": 0.0},
        {"pause_s": 31.0},
        {"url": "ws://fx-ws.gateio.ws/v4/ws/usdt"},
        {"url": "https://fx-ws.gateio.ws"},
        {"url": "wss://me:pw@fx-ws.gateio.ws/v4"},
    ],
)
def test_stream_settings_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StreamSettings(**wrong)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"url": "https://api.gateio.ws", "environment": "testnet"}, "trades with money"),
        ({"url": "https://api-testnet.gateapi.io"}, "Gate.io's testnet"),
        ({"url": "https://fx-api-testnet.gateio.ws"}, "Gate.io's testnet"),
        (
            {
                "url": "https://api-testnet.gateapi.io",
                "environment": "testnet",
                "stream": StreamSettings(url="wss://fx-ws.gateio.ws/v4/ws/usdt"),
            },
            "stream.url .* trades with money",
        ),
        (
            {
                "url": "https://api.gateio.ws",
                "stream": StreamSettings(url="wss://ws-testnet.gate.com/v4/ws/futures/usdt"),
            },
            "stream.url .*testnet",
        ),
    ],
)
def test_a_live_host_is_no_testnet_and_the_other_way_round(
    changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        settings(**changed)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.gateio.ws", "wss://fx-ws.gateio.ws/v4/ws/usdt"),
        ("https://api-testnet.gateapi.io", "wss://ws-testnet.gate.com/v4/ws/futures/usdt"),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v4/ws/usdt"),
        ("https://gate.example.net", "wss://gate.example.net/v4/ws/usdt"),
    ],
)
def test_the_stream_is_where_its_rest_side_is(base_url: str, url: str) -> None:
    assert hosts.futures_stream(base_url, "usdt") == url
