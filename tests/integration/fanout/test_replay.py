"""Replay over the API: signals that were really traded, under another configuration."""

from __future__ import annotations

import pytest

from gateway.admin import replay
from tenancy.ids import new_id
from tests.integration.fanout.test_preview import BUY, DONE, EVERYTHING, PICTURE, app, client

__all__ = ["app"]


@pytest.fixture
async def traded(bench):
    """Two accounts bought 3 and then 2 more each."""
    await bench.set_up(2, allow_add_to_position=True)
    async with bench.worker():
        await bench.until(PICTURE, 1)
        first = await bench.signal(**BUY)
        await bench.until(DONE, 2)
        second = await bench.signal(**{**BUY, "quantity": 2})
        await bench.until(DONE, 4)
    return [str(first), str(second)]


async def replayed(caller, bench, **body):
    reply = await caller("POST", f"/v1/strategies/{bench.strategy}/replay", body)
    assert reply.status == 200, reply
    return reply.json()


async def test_as_things_stand_the_past_is_what_it_was_and_nothing_is_written(
    bench, app, admin, traded
):
    caller = await client(bench, app, admin)
    before = await bench.rows(EVERYTHING)
    seen = await replayed(caller, bench)
    assert (seen["replayed"], seen["same"], seen["different"], seen["unknown"]) == (2, 4, 0, 0)
    assert [one["signal_id"] for one in seen["signals"]] == traded
    assert seen["lots"] == [
        {"broker": "gateio", "symbol": "BTC_USDT", "buy_before": "10", "buy_after": "10",
         "sell_before": "0", "sell_after": "0"},
    ]  # fmt: skip
    assert seen["not_known"]
    assert await bench.rows(EVERYTHING) == before


async def test_a_tighter_limit_is_shown_signal_by_signal_and_in_sum(bench, app, admin, traded):
    caller = await client(bench, app, admin)
    seen = await replayed(caller, bench, limits={"max_order_quantity": "2", "over_limit": "cut"})
    assert (seen["same"], seen["different"]) == (2, 2)
    first, second = seen["signals"]
    assert second["differences"] == []
    for one in first["differences"]:
        assert one["before"]["orders"][0]["order_qty"] == "3"
        assert one["after"]["orders"][0]["order_qty"] == "2"
    assert seen["lots"][0]["buy_after"] == "8"


async def test_the_positions_are_those_that_each_plan_found(bench, app, admin, traded):
    """Without adding, the first signal opened and the second would have found a position."""
    ((one,),) = await bench.rows("SELECT subscription_id FROM subscriptions WHERE priority = 0")
    seen = await replayed(
        await client(bench, app, admin),
        bench,
        subscriptions=[{"subscription_id": str(one), "settings": {}}],
    )
    first, second = seen["signals"]
    assert first["differences"] == []
    (difference,) = second["differences"]
    assert difference["account_id"] == str(bench.accounts[0])
    assert (difference["kind"], difference["after"]["reason"]) == ("different", "position_exists")
    assert seen["lots"][0]["buy_after"] == "8"


async def test_signals_are_chosen_by_id_or_by_time_and_only_the_strategys_own(
    bench, app, admin, traded
):
    caller = await client(bench, app, admin)
    assert (await replayed(caller, bench, signal_ids=[traded[1]]))["replayed"] == 1
    assert (await replayed(caller, bench, until="2020-01-01T00:00:00Z"))["signals"] == []
    address = f"/v1/strategies/{bench.strategy}/replay"
    reply = await caller("POST", address, {"signal_ids": [str(new_id())]})
    assert reply.status == 404
    reply = await caller(
        "POST", address, {"signal_ids": [traded[0]], "since": "2020-01-01T00:00:00Z"}
    )
    assert (reply.status, reply.json()["code"]) == (422, "invalid")


async def test_a_plan_that_this_version_cannot_read_is_said_and_costs_no_other(
    bench, app, admin, traded
):
    await bench.rows("UPDATE plans SET plan = '{}' WHERE signal_id = %s RETURNING 1", traded[0])
    seen = await replayed(await client(bench, app, admin), bench)
    assert [one["state"] for one in seen["signals"]] == ["unreadable", "replayed"]


async def test_too_much_at_a_time_is_refused_before_anything_is_read(
    bench, app, admin, traded, monkeypatch
):
    monkeypatch.setattr(replay, "DECISIONS_MOST", 3)  # two signals at two accounts are four
    caller = await client(bench, app, admin)
    reply = await caller("POST", f"/v1/strategies/{bench.strategy}/replay", {})
    assert (reply.status, reply.json()["code"]) == (422, "invalid")
    assert "shorter time" in reply.json()["detail"]
    assert (await replayed(caller, bench, signal_ids=traded[:1]))["replayed"] == 1


async def test_what_is_not_listed_is_counted_all_the_same(bench, app, admin, traded, monkeypatch):
    monkeypatch.setattr(replay, "LISTED_MOST", 1)
    seen = await replayed(
        await client(bench, app, admin), bench,
        limits={"max_order_quantity": "1", "over_limit": "cut"},
    )  # fmt: skip
    assert (seen["different"], seen["not_listed"]) == (4, 3)
    assert sum(len(one["differences"]) for one in seen["signals"]) == 1
    assert (seen["lots"][0]["buy_before"], seen["lots"][0]["buy_after"]) == ("10", "4")


async def test_past_days_of_an_exchange_are_read_for_their_own_time(bench, app, admin, traded):
    """A calendar that could not be read for that week would make every decision unknown."""
    ids = [row[0] for row in await bench.rows("SELECT subscription_id FROM subscriptions")]
    all_day = {
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "00:00",
        "time_zone": "UTC", "calendar": "24/7",
    }  # fmt: skip
    seen = await replayed(
        await client(bench, app, admin), bench,
        subscriptions=[
            {"subscription_id": str(one),
             "settings": {"allow_add_to_position": True, "trading_windows": [all_day]}}
            for one in ids
        ],
    )  # fmt: skip
    assert (seen["same"], seen["different"], seen["unknown"]) == (4, 0, 0), seen["signals"]
