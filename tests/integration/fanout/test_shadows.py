"""A live account at the Gate.io simulator and its shadow in one running worker: both trade, one on paper."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.settings import PaperSettings
from gateway.admin.app import admin_app
from gateway.admin.operation import Services
from tenancy.clock import SystemClock
from tenancy.ids import new_id
from tenancy.store.accounts import put_credential
from tenancy.store.service_keys import create_service_key
from tests.contract.venues import gateio_settings
from tests.fakes.signer import InProcessSigner
from tests.fakes.vault import Vault
from tests.fixtures.api import Client
from tests.fixtures.proving import prove_all

SLIPPAGE_BPS = 20
BOOK = "SELECT count(*) FROM orders WHERE state = 'filled'"


@pytest.fixture
async def caller(bench, admin) -> Client:
    """One live account, and somebody who may make its shadow and read reports."""
    await bench.set_up(1, allow_add_to_position=True)
    vault = Vault()
    services = Services(
        database=admin, redis=None, enroller=vault, signer=vault, clock=SystemClock(),
        brokers=("gateio",), hooks_base_url="https://hooks.example",
    )  # fmt: skip
    async with admin.tenant(bench.scope) as conn:
        scopes = ("subscriptions:write", "subscriptions:read", "orders:read")
        key = await create_service_key(conn, bench.scope, str(new_id()), scopes)
    return Client(admin_app(services, checks={}), key)


@pytest.fixture
async def venue(bench, admin, caller, gateio) -> GateioBroker:
    """The simulator with the live account's key, and its imitation beside it, which slips."""
    (account,) = bench.accounts
    async with admin.tenant(bench.scope) as conn:
        await put_credential(
            conn, bench.scope, account, broker="gateio", api_key="rich", sealed=b"sealed"
        )
    await prove_all(bench.made)
    await gateio.control.create_account("rich", "s1", balance=Decimal(10_000))
    settings = gateio_settings(gateio.url)
    broker = GateioBroker(settings, InProcessSigner({account: b"s1"}), SystemClock())
    bench.settings = msgspec.structs.replace(bench.settings, lease_ttl_s=2.5)
    bench.beside["shadow-gateio"] = PaperBroker(
        PaperSettings(slippage_bps=str(SLIPPAGE_BPS)), SystemClock(),
        source=broker.instruments, name="shadow-gateio",
    )  # fmt: skip
    return broker


async def shadowed(bench, caller) -> tuple[str, dict[str, Any]]:
    """The address of the live one's shadow, and the shadow."""
    ((subscription,),) = await bench.rows("SELECT subscription_id FROM subscriptions")
    address = f"/v1/subscriptions/{subscription}/shadow"
    reply = await caller("POST", address)
    assert reply.status == 201, reply
    return address, reply.json()


async def test_a_signal_trades_both_and_the_report_shows_what_each_got(bench, caller, venue):
    address, shadow = await shadowed(bench, caller)
    async with bench.worker(venue):
        await bench.until("SELECT count(*) FROM balances", 2)
        bought = await bench.signal(quantity=3)
        await bench.until(BOOK, 2)
        sold = await bench.signal(action="exit")
        await bench.until(BOOK, 4)
        report = await caller.get(f"{address}/report")
    rows = await bench.rows(
        "SELECT broker, place, order_qty, side FROM orders ORDER BY signal_id, place"
    )
    assert rows == [
        ("gateio", 0, Decimal(3), "buy"), ("shadow-gateio", 1, Decimal(3), "buy"),
        ("gateio", 0, Decimal(3), "sell"), ("shadow-gateio", 1, Decimal(3), "sell"),
    ]  # fmt: skip
    assert (report["both"], report["live_only"], report["shadow_only"]) == (2, 0, 0)
    assert report["shadow_subscription_id"] == shadow["subscription_id"]
    assert [one["signal_id"] for one in report["signals"]] == [str(bought), str(sold)]
    for one in report["signals"]:
        live, paper = one["live"], one["shadow"]
        assert live["filled"] == paper["filled"] == "3"
        assert 0 <= live["filled_after_ms"] < 10_000
        paid, reference = Decimal(live["price"]), Decimal(paper["price"])
        worse = paid - reference if one["side"] == "buy" else reference - paid
        assert Decimal(one["worse_bps"]) == (worse / reference * 10_000).quantize(Decimal("0.0001"))
        assert (
            Decimal(one["worse_bps"]) < 0
        )  # for paper was set to slip more than the simulator does
    assert report["worse_bps"]["n"] == report["live_filled_after_ms"]["n"] == 2
    assert report["symbols"][0]["live_filled"] == report["symbols"][0]["shadow_filled"] == "6"
    costs = await caller.get("/v1/reports/execution")
    assert "gateio" in str(costs["rows"])
    assert "shadow-gateio" not in str(costs["rows"])
    fair = await caller.get(f"/v1/reports/fairness?strategy_id={bench.strategy}")
    assert fair["accounts"] == []  # a signal of one account, which nobody is compared with
    table = await caller("GET", f"{address}/report", headers={"accept": "text/csv"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(io.StringIO(table.body.decode())))
    assert [line["worse_bps"] for line in lines] == [
        one["worse_bps"] for one in report["signals"]
    ]  # fmt: skip


async def test_a_shadow_trades_on_where_its_twins_broker_refuses_and_the_report_says_so(
    bench, caller, venue, gateio
):
    """The difference that matters most: an order that paper got and the live account did not."""
    address, _ = await shadowed(bench, caller)
    async with bench.worker(venue):
        await bench.until("SELECT count(*) FROM balances", 2)
        await bench.signal(quantity=900_000)
        await bench.until(
            "SELECT count(*) FROM orders WHERE state IN ('filled', 'rejected', 'canceled')", 2
        )
        report = await caller.get(f"{address}/report")
    (one,) = report["signals"]
    states = await bench.rows("SELECT broker, state FROM orders ORDER BY place")
    assert states[0] == ("gateio", "rejected")
    assert (one["live"]["filled"], one["worse_bps"]) == ("0", None)
    assert report["worse_bps"] == {"mean": None, "n": 0}


async def test_without_a_shadow_broker_the_shadow_is_refused_and_its_twin_trades(
    bench, caller, venue
):
    """A worker that does not have it: no price is no guess, and nothing real waits for it."""
    bench.beside.clear()
    await shadowed(bench, caller)
    async with bench.worker(venue):
        await bench.signal(quantity=1)
        await bench.until(BOOK, 1)
        ((plan,),) = await bench.rows("SELECT plan FROM plans")
    reasons = [group["reason"] for group in plan["groups"]]
    assert reasons == ["order", "not_connected"]
