"""How doubt is resolved at Gate.io, and that reading an account never guesses."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.order import OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    CancelUnknown,
    Found,
)
from tenancy.errors import Unavailable
from tests.fakes.orders import an_order
from tests.fakes.scripted_http import CUT, HANG, Seen, reply
from tests.unit.brokers.scripted_gate import (
    ACCOUNT,
    ACK,
    GONE,
    ORDER,
    at_gate,
    gate_order,
)


def now() -> datetime:
    return datetime.now(UTC)


async def test_absence_is_proven_only_after_the_deadline_by_two_looks_at_both_places() -> None:
    def script(seen: Seen) -> bytes:
        return reply(200, []) if "my_trades" in seen.target else GONE

    async with at_gate(script) as (broker, server):
        sent_by, started = now(), time.monotonic()
        lookup = await broker.find(ACCOUNT, ORDER, sent_by=sent_by)
        took_s = time.monotonic() - started
    assert isinstance(lookup, AbsentProven)
    assert took_s >= 0.2 + 0.02 + 0.3
    kinds = [
        next((kind for kind in ("my_trades", "time") if kind in seen.target), "order")
        for seen in server.seen
    ]
    assert kinds == ["order", "time", "time", "order", "my_trades", "order", "my_trades"]


async def test_an_order_that_shows_up_late_is_found() -> None:
    """It arrived between the first look and its deadline."""
    looks = iter([GONE, GONE, reply(200, gate_order())])

    def script(seen: Seen) -> bytes:
        return reply(200, []) if "my_trades" in seen.target else next(looks)

    async with at_gate(script) as (broker, _):
        lookup = await broker.find(ACCOUNT, ORDER, sent_by=now())
    assert isinstance(lookup, Found)
    assert lookup.report.ord_status is OrdState.FILLED


async def test_a_fill_that_names_our_text_is_followed_to_its_order() -> None:
    def script(seen: Seen) -> bytes:
        if "my_trades" in seen.target:
            row = {"create_time": time.time(), "order_id": "7", "text": f"t-{ORDER.cl_ord_id}"}
            return reply(200, [row])
        return reply(200, gate_order()) if seen.target.endswith("/orders/7") else GONE

    async with at_gate(script) as (broker, _):
        lookup = await broker.find(ACCOUNT, ORDER, sent_by=now() - timedelta(seconds=9))
    assert isinstance(lookup, Found)
    assert lookup.report.broker_order_id == "7"


async def test_a_full_page_of_younger_fills_is_no_proof_until_paged_through() -> None:
    """Our fill could be on the next page."""

    def page(seen: Seen, full_pages: int) -> bytes:
        offset = int(seen.target.rpartition("=")[2])
        count = 100 if offset < full_pages * 100 else 1
        row = {"create_time": time.time() + 5, "order_id": "9", "text": "web"}
        return reply(200, [row] * count)

    for full_pages, expected in ((2, AbsentProven), (1000, AbsentUnproven)):

        def script(seen: Seen, full_pages: int = full_pages) -> bytes:
            return page(seen, full_pages) if "my_trades" in seen.target else GONE

        async with at_gate(script) as (broker, _):
            lookup = await broker.find(ACCOUNT, ORDER, sent_by=now() - timedelta(seconds=9))
        assert isinstance(lookup, expected)


@pytest.mark.parametrize(
    "unclear",
    [
        CUT,
        HANG,
        reply(500, {"label": "INTERNAL"}),
        reply(429, {"label": "TOO_MANY_REQUESTS"}),
        reply(404, b"<html>"),
        reply(401, {"label": "INVALID_KEY"}),
        reply(200, b"{}"),
        reply(200, gate_order(text="t-another")),
    ],
)
@pytest.mark.parametrize("where", ["order", "my_trades"])
async def test_anything_unclear_proves_nothing(unclear: bytes | str, where: str) -> None:
    def script(seen: Seen) -> bytes | str:
        place = "my_trades" if "my_trades" in seen.target else "order"
        if place == where:
            return unclear
        return GONE if place == "order" else reply(200, [])

    async with at_gate(script) as (broker, _):
        lookup = await broker.find(ACCOUNT, ORDER, sent_by=now() - timedelta(seconds=9))
    assert isinstance(lookup, AbsentUnproven)


async def test_an_acknowledged_order_that_gate_forgot_was_cancelled_there() -> None:
    """Gate forgets a cancelled order without fills; absent would invite a second sending."""

    def script(seen: Seen) -> bytes:
        return reply(200, []) if "my_trades" in seen.target else GONE

    past = now() - timedelta(seconds=9)
    async with at_gate(script) as (broker, server):
        known = an_order(ACCOUNT, broker_order_id="7")
        lookup = await broker.find(ACCOUNT, known, sent_by=past)
        assert isinstance(lookup, Found)
        assert lookup.report.ord_status is OrdState.CANCELED
        assert server.seen[0].target.endswith("/orders/7")
        traded = an_order(ACCOUNT, broker_order_id="7", cum_qty=Decimal(1))
        assert isinstance(await broker.find(ACCOUNT, traded, sent_by=past), AbsentUnproven)


@pytest.mark.parametrize("action", [CUT, HANG, reply(500, b"")])
async def test_a_cancel_without_clear_answer_is_unknown(action: bytes | str) -> None:
    async with at_gate(lambda seen: action) as (broker, _):
        assert isinstance(await broker.cancel(ACCOUNT, ORDER), CancelUnknown)


async def test_reading_an_account_never_guesses() -> None:
    async with at_gate(lambda seen: reply(500, b"")) as (broker, _):
        for read in (broker.equity, broker.positions, broker.open_orders):
            with pytest.raises(Unavailable):
                await read(ACCOUNT)


async def test_a_user_who_was_never_funded_has_nothing() -> None:
    never = reply(400, {"label": "USER_NOT_FOUND", "message": "please transfer funds first"})
    async with at_gate(lambda seen: never) as (broker, _):
        equity = await broker.equity(ACCOUNT)
        assert equity is not None
        assert (equity.equity, equity.available) == (0, 0)
        assert list(await broker.positions(ACCOUNT)) == []
        past = now() - timedelta(seconds=9)
        assert isinstance(await broker.find(ACCOUNT, ORDER, sent_by=past), AbsentProven)


async def test_an_old_contract_table_is_fetched_again_or_refused() -> None:
    async with at_gate(
        lambda seen: ACK, instruments_refresh_s=0.05, instruments_max_age_s=0.05
    ) as (broker, server):
        server.script = lambda seen: reply(200, [_contract("60001")])
        await asyncio.sleep(0.1)
        assert (await broker.instruments())["BTC_USDT"].last_price == 60001
        server.script = lambda seen: reply(503, b"")
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable):
            await broker.instruments()


@pytest.mark.parametrize(
    "tickers", [reply(503, b""), reply(200, {"no": "list"}), CUT], ids=["503", "unreadable", "cut"]
)
async def test_without_quotes_the_table_stands_and_says_so(tickers: bytes | str) -> None:
    """A plan that looks at the spread then refuses; everything else goes on."""

    def script(seen: Seen) -> bytes | str:
        return tickers if seen.target.endswith("/tickers") else reply(200, [_contract("60001")])

    async with at_gate(
        lambda seen: ACK, instruments_refresh_s=0.05, instruments_max_age_s=0.05
    ) as (broker, server):
        server.script = script
        await asyncio.sleep(0.1)
        btc = (await broker.instruments())["BTC_USDT"]
        assert (btc.last_price, btc.bid, btc.ask) == (60001, None, None)
        quoted = {"contract": "BTC_USDT", "highest_bid": "60000", "lowest_ask": "60002"}
        server.script = lambda seen: reply(
            200, [quoted] if seen.target.endswith("/tickers") else [_contract("60001")]
        )
        await asyncio.sleep(0.1)
        btc = (await broker.instruments())["BTC_USDT"]
        assert (btc.bid, btc.ask) == (60000, 60002)


def _contract(last_price: str) -> dict[str, Any]:
    return {
        "name": "BTC_USDT",
        "quanto_multiplier": "0.0001",
        "order_price_round": "0.1",
        "order_size_min": 1,
        "order_size_max": 1000000,
        "last_price": last_price,
    }
