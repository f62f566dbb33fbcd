"""In which phase a request failed decides whether the order may exist; and how doubt is resolved."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.gateio.client import ClockError
from fanout.brokers.gateio.settings import GateioSettings
from fanout.order import OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    Acked,
    AuthFailed,
    CancelUnknown,
    Found,
    InDoubt,
    RateLimited,
    Rejected,
    Unsent,
)
from tenancy.clock import SystemClock
from tenancy.errors import Unavailable
from tests.fakes.orders import an_account, an_order, submitted
from tests.fakes.scripted_http import CUT, HANG, Script, ScriptedServer, Seen, reply, scripted
from tests.fakes.signer import InProcessSigner, SigningRefused

ACCOUNT = an_account()
ORDER = an_order(ACCOUNT)


def settings(url: str, **changed: Any) -> GateioSettings:
    facts: dict[str, Any] = {
        "base_url": url,
        "sign_timeout_s": 0.2,
        "connect_timeout_s": 0.2,
        "request_timeout_s": 0.4,
        "exptime_ms": 200,
        "clock_error_ms": 20,
        "connections": 4,
        "orders_per_s": 100,
        "orders_burst": 20,
        "instruments_refresh_s": 60.0,
        "instruments_max_age_s": 60.0,
    }
    return GateioSettings(**(facts | changed))


def gate_order(text: str = f"t-{ORDER.cl_ord_id}", **changed: Any) -> dict[str, Any]:
    facts = {"id": 7, "contract": "BTC_USDT", "size": 1, "left": 0, "text": text}
    facts |= {"status": "finished", "finish_as": "filled", "fill_price": "60000"}
    return facts | changed


GONE = reply(404, {"label": "ORDER_NOT_FOUND", "message": "no such order"})
ACK = reply(201, gate_order())


@asynccontextmanager
async def at_gate(script: Script, **changed: Any) -> AsyncIterator[tuple[GateioBroker, Any]]:
    """A broker on a scripted Gate, whose contract table is empty."""

    def with_contracts(seen: Seen) -> bytes | str:
        if seen.target.startswith("/api/v4/futures/usdt/contracts"):
            return reply(200, [])
        if seen.target == "/api/v4/spot/time":
            return reply(200, {"server_time": int(time.time() * 1000)})
        return script(seen)

    signer = InProcessSigner({}, default=b"secret")
    async with scripted(with_contracts) as server:
        broker = GateioBroker(settings(server.url, **changed), signer, SystemClock())
        server.signer = signer
        await broker.open()
        server.seen.clear()
        try:
            yield broker, server
        finally:
            await broker.close()


def orders(server: ScriptedServer) -> list[Seen]:
    return [seen for seen in server.seen if seen.method == "POST"]


async def test_an_order_is_sent_once_with_its_deadline_and_its_signature() -> None:
    before = time.time()
    async with at_gate(lambda seen: ACK) as (broker, server):
        outcome = await submitted(broker, ACCOUNT, ORDER)
    assert isinstance(outcome, Acked)
    assert outcome.report.ord_status is OrdState.FILLED
    (seen,) = orders(server)
    assert seen.headers["key"] == "key"
    assert len(seen.headers["sign"]) == 128
    assert before * 1000 + 200 <= int(seen.headers["x-gate-exptime"]) + 1
    assert int(seen.headers["x-gate-exptime"]) <= time.time() * 1000 + 200
    assert abs(int(seen.headers["timestamp"]) - before) < 2
    assert "user-agent" not in seen.headers
    # Without it Gate shows 1.7 contracts as 1.
    assert seen.headers["x-gate-size-decimal"] == "1"


@pytest.mark.parametrize(
    "action", [CUT, HANG, b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"]
)
async def test_lost_answer_is_in_doubt_and_is_not_sent_again(action: bytes | str) -> None:
    """The broker took the order and fell silent: ask it later, never send again."""
    async with at_gate(lambda seen: action) as (broker, server):
        outcome = await submitted(broker, ACCOUNT, ORDER)
        await asyncio.sleep(0.05)
        assert isinstance(outcome, InDoubt)
        assert outcome.not_after is not None
        assert len(orders(server)) == 1


async def test_a_kept_connection_cut_under_a_post_is_not_sent_again() -> None:
    """aiohttp would repeat a GET here; a POST it must not."""
    answers = iter([ACK, CUT, CUT])
    async with at_gate(lambda seen: next(answers)) as (broker, server):
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), Acked)
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), InDoubt)
        assert len(orders(server)) == 2


async def test_a_redirect_is_not_followed() -> None:
    """Key and signature would travel to another host."""
    moved = reply(307, b"", Location="http://127.0.0.1:1/elsewhere")
    async with at_gate(lambda seen: moved) as (broker, server):
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), InDoubt)
        assert len(server.seen) == 1


async def test_a_refused_connection_is_unsent() -> None:
    async with at_gate(lambda seen: CUT) as (broker, server):
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), InDoubt)
    closed = GateioBroker(settings(server.url), server.signer, SystemClock())
    with pytest.raises(Unavailable):
        await closed.open()
    assert isinstance(await submitted(closed, ACCOUNT, ORDER), Unsent)


async def test_no_name_no_tls_and_no_free_connection_are_unsent() -> None:
    async with at_gate(lambda seen: HANG, connections=1) as (broker, server):
        tls = server.url.replace("http://", "https://")
        for url in (tls, "https://gate.invalid"):
            other = GateioBroker(settings(url, connections_warm=0), server.signer, SystemClock())
            other._client._warm = _nothing  # type: ignore[method-assign]
            await other._client.open()
            assert isinstance(await submitted(other, ACCOUNT, ORDER), Unsent)
            await other.close()
        first, second = await asyncio.gather(*(submitted(broker, ACCOUNT, ORDER) for _ in range(2)))
        assert {type(first), type(second)} == {InDoubt, Unsent}
        assert len(orders(server)) == 1


async def _nothing() -> None:
    return None


async def test_a_connection_that_is_never_accepted_is_unsent() -> None:
    """A full backlog: SYN unanswered. The time-out for connecting must not look like a lost order."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            broker = GateioBroker(
                settings(f"http://127.0.0.1:{port}"),
                InProcessSigner({}, default=b"secret"),
                SystemClock(),
            )
            broker._client._warm = _nothing  # type: ignore[method-assign]
            await broker._client.open()
            outcome = await submitted(broker, ACCOUNT, ORDER)
            await broker.close()
    assert isinstance(outcome, Unsent)
    assert "Timeout" in outcome.cause


@pytest.mark.parametrize(
    "failure", [Unavailable("signer away"), SigningRefused("not this"), RuntimeError("bug")]
)
async def test_without_a_signature_nothing_leaves(failure: Exception) -> None:
    async with at_gate(lambda seen: ACK) as (broker, server):
        server.signer.failure = failure
        outcome = await submitted(broker, ACCOUNT, ORDER)
        assert isinstance(outcome, Unsent)
        assert not server.seen


async def test_a_signer_that_hangs_makes_the_order_unsent_in_time() -> None:
    async with at_gate(lambda seen: ACK) as (broker, server):

        async def hang(*_: Any, **__: Any) -> str:
            await asyncio.sleep(3600)
            return ""

        server.signer.sign_request = hang
        started = time.monotonic()
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), Unsent)
        assert time.monotonic() - started < broker.request_timeout_s
        assert not server.seen


async def test_an_account_without_credential_is_stopped_not_retried() -> None:
    async with at_gate(lambda seen: ACK) as (broker, server):
        for missing in ({"api_key": None}, {"credential": None}):
            assert isinstance(await submitted(broker, an_account(**missing), ORDER), AuthFailed)
        assert not server.seen


async def test_an_order_that_gate_does_not_have_is_refused_and_never_leaves() -> None:
    async with at_gate(lambda seen: ACK) as (broker, server):
        stop = an_order(ACCOUNT, ord_type="stop")
        assert isinstance(await submitted(broker, ACCOUNT, stop), Rejected)
        assert not server.seen


async def test_a_429_slows_the_accounts_budget_down() -> None:
    limited = reply(429, {"label": "TOO_MANY_REQUESTS"}, Retry_After="3")
    async with at_gate(lambda seen: limited) as (broker, server):
        assert await submitted(broker, ACCOUNT, ORDER) == RateLimited(retry_after_s=3.0)
        wait_s = broker._budgets.of(ACCOUNT.account_id).reserve(time.monotonic())
    assert 2.5 < wait_s <= 3.0


async def test_warm_connections_are_open_before_the_first_order() -> None:
    async with at_gate(lambda seen: ACK, connections_warm=4) as (broker, server):
        opened = server.connections
        assert opened >= 4
        await asyncio.gather(*(submitted(broker, ACCOUNT, an_order(ACCOUNT)) for _ in range(4)))
        assert server.connections == opened


@pytest.mark.parametrize("shift_ms", [-500, 500])
async def test_with_a_wrong_clock_it_does_not_open(shift_ms: int) -> None:
    """A proof of absence would be worth nothing."""

    def script(seen: Seen) -> bytes:
        return reply(200, {"server_time": int(time.time() * 1000) + shift_ms})

    async with scripted(script) as server:
        signer = InProcessSigner({}, default=b"secret")
        broker = GateioBroker(settings(server.url), signer, SystemClock())
        with pytest.raises(ClockError):
            await broker.open()


# ------------------------------------------------------------------ doubt


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
    kinds = ["my_trades" if "my_trades" in seen.target else "order" for seen in server.seen]
    assert kinds == ["order", "order", "my_trades", "order", "my_trades"]


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


def _contract(last_price: str) -> dict[str, Any]:
    return {
        "name": "BTC_USDT",
        "quanto_multiplier": "0.0001",
        "order_price_round": "0.1",
        "order_size_min": 1,
        "order_size_max": 1000000,
        "last_price": last_price,
    }
