"""Preview over the API, from the pictures that workers put: what it says is what the signal then does."""

from __future__ import annotations

import time
from decimal import Decimal

import psycopg
import pytest

from fanout.pictures import BETWEEN_S, Pictures, PictureWriter
from fanout.preview import read_only
from gateway.admin.app import admin_app
from gateway.admin.operation import Services
from tenancy.clock import SystemClock
from tenancy.ids import new_id
from tenancy.store.service_keys import create_service_key
from tests.builders import instrument
from tests.fakes.broker import FakeBroker
from tests.fakes.vault import Vault
from tests.fixtures.api import Client

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"
PICTURE = "SELECT count(*) FROM broker_instruments"
EVERYTHING = """
SELECT (SELECT count(*) FROM plans), (SELECT count(*) FROM signals), (SELECT count(*) FROM orders),
       (SELECT count(*) FROM audit_inbox), (SELECT count(*) FROM idempotency_keys),
       (SELECT sum(version) FROM strategies)"""
BUY = {"ticker": "BTC_USDT", "action": "buy", "quantity": 3}


@pytest.fixture
def app(admin):
    vault = Vault()
    services = Services(
        database=admin, redis=None, enroller=vault, signer=vault, clock=SystemClock(),
        brokers=("gateio",), hooks_base_url="https://hooks.example",
    )  # fmt: skip
    return admin_app(services, checks={})


async def client(bench, app, admin, *scopes: str) -> Client:
    async with admin.tenant(bench.scope) as conn:
        key = await create_service_key(conn, bench.scope, str(new_id()), scopes or ("orders:read",))
    return Client(app, key)


async def picture(bench, *instruments, age_s: float = 0.0) -> None:
    """As a worker puts it."""
    worker = await bench.open("worker")
    table = {one.symbol: one for one in instruments or (instrument(),)}
    await PictureWriter(worker, "w").put("gateio", table, FakeBroker.caps, age_s=age_s)
    await worker.close()


async def previewed(caller: Client, bench, **body):
    reply = await caller(
        "POST", f"/v1/strategies/{bench.strategy}/preview", {"signal": BUY, **body}
    )
    assert reply.status == 200, reply
    return reply.json()


SHOWN_ALIKE = ("account_id", "place", "reason", "sentence", "words", "symbol", "legs", "source",
               "position", "equity", "price", "cancel_open", "asked")  # fmt: skip


async def test_a_preview_and_the_signal_after_it_say_the_same_to_the_letter(bench, app, admin):
    """Quantities, reasons, order, arithmetic: for a first signal and for the one that rotates and flips."""
    await bench.set_up(5, allow_add_to_position=True)
    await bench.rows("UPDATE subscriptions SET enabled = false WHERE priority = 1 RETURNING 1")
    await bench.rows(
        'UPDATE subscriptions SET settings = \'{"override_quantity": "2.5",'
        ' "override_quantity_type": "multiplier"}\' WHERE priority = 2 RETURNING 1'
    )
    caller = await client(bench, app, admin)
    filled = 0
    async with bench.worker():
        await bench.until(PICTURE, 1)
        await bench.until("SELECT count(*) FROM balances", 5)
        for signal in (BUY, {"ticker": "BTCUSDT", "action": "sell", "quantity": 2}):
            foretold = await previewed(caller, bench, signal=signal)
            filled += sum(len(entry["legs"]) for entry in foretold["entries"])
            real = await bench.signal(**signal)
            await bench.until(DONE, filled)
            plan = await caller.get(f"/v1/plans/{real}")
            assert [{m: e[m] for m in SHOWN_ALIKE} for e in foretold["entries"]] == [
                {m: e[m] for m in SHOWN_ALIKE} for e in plan["entries"]
            ]
            assert foretold["rotation"] == plan["rotation"]
            assert foretold["settings_version"] == plan["settings_version"]
    assert filled == 12  # four accounts: one leg each, then two


async def test_nothing_is_written_and_nothing_is_sent(bench, app, admin):
    await bench.set_up(2)
    await picture(bench)
    caller = await client(bench, app, admin)
    before = await bench.rows(EVERYTHING)
    made = await previewed(caller, bench)
    again = await previewed(caller, bench)
    assert made["totals"]["trading"] == 2
    assert (made["rotation"], again["rotation"]) == (0, 0)
    assert await bench.rows(EVERYTHING) == before
    assert bench.broker.executed == []


async def test_postgresql_itself_would_refuse_a_write(bench, admin):
    await bench.set_up(1)
    async with admin.connection() as conn, conn.transaction(force_rollback=True):
        await read_only(conn)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await conn.execute("UPDATE subscriptions SET enabled = false")


async def test_the_totals_add_up_and_every_reason_has_its_sentence_once(bench, app, admin):
    await bench.set_up(3)
    await picture(bench)
    await bench.rows("UPDATE subscriptions SET enabled = false WHERE priority = 1 RETURNING 1")
    made = await previewed(await client(bench, app, admin), bench)
    assert made["totals"] == {
        "accounts": 3,
        "trading": 2,
        "asked": 0,
        "reasons": [
            {"reason": "order", "sentence": "An order was planned.", "accounts": 2},
            {"reason": "subscription_disabled", "sentence": "The subscription is switched off.",
             "accounts": 1},
        ],
        "turnover": [
            {"broker": "gateio", "symbol": "BTC_USDT", "currency": "USDT", "accounts": 2,
             "buy_lots": "6", "sell_lots": "0", "buy_notional": "30", "sell_notional": "0"},
        ],
    }  # fmt: skip
    assert [entry["name"] for entry in made["entries"]] == ["account 0", "account 1", "account 2"]
    assert [entry["decision"] for entry in made["entries"]] == ["order", "nothing", "order"]
    assert made["quorum"] is None


@pytest.mark.parametrize("age_s", [None, 31.0])
async def test_without_a_fresh_picture_every_account_is_not_connected_and_the_age_is_said(
    bench, app, admin, age_s
):
    await bench.set_up(2)
    if age_s is not None:
        await picture(bench, age_s=age_s)
    made = await previewed(await client(bench, app, admin), bench)
    assert [entry["reason"] for entry in made["entries"]] == ["not_connected"] * 2
    ages = [(one["broker"], one["fresh"], one["age_ms"] >= 31_000) for one in made["brokers"]]
    assert ages == ([] if age_s is None else [("gateio", False, True)])


async def test_what_is_proposed_decides_and_is_not_kept(bench, app, admin):
    await bench.set_up(2)
    await picture(bench)
    caller = await client(bench, app, admin)
    ((second,),) = await bench.rows("SELECT subscription_id FROM subscriptions WHERE priority = 1")
    signal = {"ticker": "BTC_USDT", "action": "buy"}
    made = await previewed(
        caller, bench, signal=signal,
        settings={"default_quantity": "7"}, limits={"max_order_quantity": "8", "over_limit": "cut"},
        sequence="fixed",
        subscriptions=[{"subscription_id": str(second), "priority": -1,
                        "settings": {"use_signal_quantity": False, "override_quantity": "9"}}],
    )  # fmt: skip
    assert made["proposed"] is True
    assert [(e["name"], e["legs"][0]["order_qty"]) for e in made["entries"]] == [
        ("account 1", "8"),
        ("account 0", "7"),
    ]
    after = await previewed(caller, bench, signal=signal)
    assert [(e["name"], e["legs"][0]["order_qty"]) for e in after["entries"]] == [
        ("account 0", "1"),
        ("account 1", "1"),
    ]


async def test_a_proposal_that_could_not_be_saved_is_refused_here_too(bench, app, admin):
    await bench.set_up(1)
    caller = await client(bench, app, admin)
    address = f"/v1/strategies/{bench.strategy}/preview"
    ((first,),) = await bench.rows("SELECT subscription_id FROM subscriptions")
    said = {"subscription_id": str(first), "settings": {"use_signal_order_type_entry": False}}
    reply = await caller("POST", address, {"signal": BUY, "subscriptions": [said]})
    assert (reply.status, reply.json()["code"]) == (422, "unresolvable")
    said = {"subscription_id": str(new_id())}
    reply = await caller("POST", address, {"signal": BUY, "subscriptions": [said]})
    assert (reply.status, reply.json()["code"]) == (404, "not_found")
    reply = await caller("POST", address, {"signal": {"ticker": "BTC_USDT", "acton": "buy"}})
    assert (reply.status, reply.json()["code"]) == (422, "invalid_signal")
    assert "acton" in reply.json()["detail"]


async def test_a_key_that_may_not_read_plans_may_not_preview(bench, app, admin):
    await bench.set_up(1)
    caller = await client(bench, app, admin, "signals:read")
    reply = await caller("POST", f"/v1/strategies/{bench.strategy}/preview", {"signal": BUY})
    assert reply.status == 403


async def test_a_thousand_accounts_are_answered_whole_and_soon(bench, app, admin):
    await bench.set_up(1000)
    await picture(bench)
    caller = await client(bench, app, admin)
    await previewed(caller, bench)  # prices are decoded once
    began = time.perf_counter()
    made = await previewed(caller, bench)
    assert time.perf_counter() - began < 5
    assert len(made["entries"]) == made["totals"]["trading"] == 1000
    assert made["totals"]["turnover"][0]["buy_lots"] == "3000"


async def test_a_young_picture_is_left_alone_and_the_newest_wins(bench):
    worker = await bench.open("worker")
    one, two = PictureWriter(worker, "one"), PictureWriter(worker, "two")
    table = {"BTC_USDT": instrument(last_price=Decimal(1))}
    newer = {"BTC_USDT": instrument(last_price=Decimal(2))}
    assert await one.put("gateio", table, FakeBroker.caps, age_s=BETWEEN_S + 1)
    assert await two.put("gateio", newer, FakeBroker.caps, age_s=0.0)
    assert not await one.put("gateio", table, FakeBroker.caps, age_s=0.1), "it is too young"
    async with worker.connection() as conn:
        (seen,) = (await Pictures().read(conn)).seen
    assert (seen.worker, seen.fresh) == ("two", True)
    found = seen.instruments.find("btc-usdt", {})
    assert found is not None
    assert found.last_price == 2
    assert seen.caps == FakeBroker.caps
    await worker.close()


async def test_a_picture_that_cannot_be_read_is_as_good_as_none(bench, app, admin):
    """Another version wrote it: nothing is guessed."""
    await bench.set_up(1)
    await picture(bench)
    await bench.rows("UPDATE broker_instruments SET picture = '\\x00' RETURNING 1")
    made = await previewed(await client(bench, app, admin), bench)
    assert [entry["reason"] for entry in made["entries"]] == ["not_connected"]


async def test_instruments_are_listed_in_pages_and_found_by_ticker(bench, app, admin):
    await bench.set_up(1)
    await picture(
        bench, instrument("ETH_USDT"), instrument(bid=Decimal("49999.9")), instrument("SOL_USDT")
    )
    caller = await client(bench, app, admin, "signals:read")
    first = await caller.get("/v1/instruments?limit=2")
    assert [item["symbol"] for item in first["items"]] == ["BTC_USDT", "ETH_USDT"]
    rest = await caller.get(f"/v1/instruments?limit=2&cursor={first['next']}")
    assert [item["symbol"] for item in rest["items"]] == ["SOL_USDT"]
    assert "next" not in rest
    (found,) = (await caller.get("/v1/instruments?ticker=btcusdt"))["items"]
    assert (found["symbol"], found["bid"], found["multiplier"]) == ("BTC_USDT", "49999.9", "0.0001")
    assert found["fresh"] is True
    assert (await caller.get("/v1/instruments?ticker=BTC&broker=gateio"))["items"] == []
