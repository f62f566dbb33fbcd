"""Each fault does what it says: the audit shows whether the order was executed."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from loadtest.exchanges.gateio.control_client import ControlRefused
from loadtest.exchanges.gateio.faults import Faults, Rule
from tests.integration.simulator.clients import ORDERS, Wire


@pytest.fixture
async def wire(gateio):
    await gateio.control.create_account("key", "secret")
    return Wire(gateio.url, "key", "secret")


async def executed(gateio) -> list[str]:
    return [order.text for order in (await gateio.control.audit()).orders]


@pytest.mark.parametrize(("kind", "lives"), [("drop_before", False), ("drop_after", True)])
async def test_a_drop_cuts_the_connection_without_an_answer(gateio, wire, kind, lives):
    await gateio.control.set_faults(Rule(kind=kind))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await wire.order("t-cut")
    assert await executed(gateio) == (["t-cut"] if lives else [])


@pytest.mark.parametrize(
    ("kind", "status", "label", "lives"),
    [
        ("429", 429, "TOO_MANY_REQUESTS", False),
        ("500_before", 500, "INTERNAL", False),
        ("500_after", 500, "INTERNAL", True),
    ],
)
async def test_a_refusing_answer(gateio, wire, kind, status, label, lives):
    await gateio.control.set_faults(Rule(kind=kind))
    answered, document = await wire.order("t-no")
    assert (answered, document["label"]) == (status, label)
    assert await executed(gateio) == (["t-no"] if lives else [])


@pytest.mark.parametrize(("kind", "lives"), [("hang_before", False), ("hang_after", True)])
async def test_a_hang_never_answers(gateio, wire, kind, lives):
    await gateio.control.set_faults(Rule(kind=kind, seconds=0.2))
    with pytest.raises(TimeoutError):
        await wire.order("t-hang", timeout_s=0.1)
    assert await executed(gateio) == (["t-hang"] if lives else [])
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await wire.order("t-hang-2", timeout_s=5)
    assert await executed(gateio) == (["t-hang", "t-hang-2"] if lives else [])


@pytest.mark.parametrize(("kind", "at_once"), [("delay_before", False), ("delay_after", True)])
async def test_a_delay_is_before_or_after_the_execution(gateio, wire, kind, at_once):
    await gateio.control.set_faults(Rule(kind=kind, seconds=0.15))
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        late = group.create_task(wire.order("t-late"))
        await asyncio.sleep(0.07)
        assert bool(await executed(gateio)) == at_once
    assert late.result()[0] == 201
    assert time.monotonic() - started >= 0.15
    (order,) = (await gateio.control.audit()).orders
    assert (order.executed_monotonic - order.arrived_monotonic < 0.1) == at_once


async def test_a_client_that_gave_up_is_executed_all_the_same(gateio, wire):
    """The danger that in-doubt handling is for: time-out here, an order there."""
    await gateio.control.set_faults(Rule(kind="delay_before", seconds=0.15))
    with pytest.raises(TimeoutError):
        await wire.order("t-late", timeout_s=0.05)
    assert await executed(gateio) == []
    await asyncio.sleep(0.3)
    assert await executed(gateio) == ["t-late"]


async def test_exptime_is_judged_at_execution_so_a_delayed_order_is_refused(gateio, wire):
    await gateio.control.set_faults(Rule(kind="delay_before", seconds=0.15))
    soon = {"X-Gate-Exptime": str(int(time.time() * 1000) + 50)}
    status, document = await wire.order("t-late", headers=soon)
    assert (status, document["label"]) == (403, "REQUEST_EXPIRED")
    assert await executed(gateio) == []
    later = {"X-Gate-Exptime": str(int(time.time() * 1000) + 5000)}
    assert (await wire.order("t-in-time", headers=later))[0] == 201


async def test_a_past_exptime_is_refused_without_any_fault(gateio, wire):
    past = {"x-gate-exptime": str(int(time.time() * 1000) - 1)}
    assert (await wire.order("t-past", headers=past))[0] == 403
    assert await executed(gateio) == []


async def test_unknown_enum_and_empty_201_are_executed(gateio, wire):
    await gateio.control.set_faults(Rule(kind="unknown_enum", nth=1), Rule(kind="empty_201", nth=1))
    status, document = await wire.order("t-enum")
    assert (status, document["finish_as"], document["status"]) == (201, "unheard_of", "unheard_of")
    assert document["text"] == "t-enum"
    assert await wire.order("t-empty") == (201, {})
    assert await executed(gateio) == ["t-enum", "t-empty"]


async def test_order_delay_slows_orders_and_nothing_else(gateio, wire):
    await gateio.control.set_delay(100)
    started = time.monotonic()
    await wire.send("GET", ORDERS, query="status=open")
    assert time.monotonic() - started < 0.1
    await wire.order("t-slow")
    assert time.monotonic() - started >= 0.1
    await gateio.control.set_delay(0)


async def test_a_429_by_fault_says_when_to_come_back(gateio, wire):
    await gateio.control.set_faults(Rule(kind="429", seconds=5))
    document = {"contract": "BTC_USDT", "size": 1, "price": "0", "tif": "ioc"}
    status, _, headers = await wire.send("POST", ORDERS, document)
    assert (status, headers["X-Gate-RateLimit-Requests-Remain"]) == (429, "0")
    assert 4 < int(headers["X-Gate-RateLimit-Reset-Timestamp"]) - time.time() <= 6


async def test_cleared_faults_do_nothing(gateio, wire):
    await gateio.control.set_faults(Rule(kind="429"))
    await gateio.control.clear_faults()
    assert (await wire.order("t-fine"))[0] == 201


async def test_look_ups_can_be_hit_too(gateio, wire):
    await gateio.control.set_faults(
        Rule(kind="500_before", method="GET", path="/api/v4/futures/usdt/orders/*", times=1)
    )
    await wire.order("t-a")
    assert (await wire.send("GET", ORDERS + "/t-a"))[0] == 500
    assert (await wire.send("GET", ORDERS + "/t-a"))[0] == 200


async def test_a_misspelt_rule_is_refused(gateio):
    with pytest.raises(ControlRefused, match="probabilty"):
        await gateio.control._ask("POST", "faults", [{"kind": "429", "probabilty": 0.1}])


async def test_repeated_texts_are_reported_as_duplicates(gateio, wire):
    for text in ("t-twice", "t-once", "t-twice"):
        await wire.order(text)
    (duplicate,) = (await gateio.control.audit()).duplicates
    assert (duplicate.key, duplicate.text, len(duplicate.order_ids)) == ("key", "t-twice", 2)


def hits(rule: Rule, n: int) -> list[int]:
    faults = Faults()
    faults.add([rule])
    return [i for i in range(n) if faults.choose("POST", ORDERS, "k", b'{"text":"t-x"}')]


def test_rules_hit_by_nth_times_seed_key_and_text():
    assert hits(Rule(kind="429", nth=3), 6) == [2]
    assert hits(Rule(kind="429", times=2), 6) == [0, 1]
    seeded = hits(Rule(kind="429", probability=0.3, seed=7), 200)
    assert seeded == hits(Rule(kind="429", probability=0.3, seed=7), 200)
    assert seeded != hits(Rule(kind="429", probability=0.3, seed=8), 200)
    assert 30 < len(seeded) < 90
    assert hits(Rule(kind="429", key="someone else"), 6) == []
    assert hits(Rule(kind="429", text="t-y"), 6) == []
    assert len(hits(Rule(kind="429", text="t-x", key="k"), 6)) == 6
