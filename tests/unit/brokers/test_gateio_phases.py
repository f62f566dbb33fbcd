"""In which phase a request failed decides whether the order may exist."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from fanout.brokers.gate.client import ClockError
from fanout.brokers.gate.venue_time import Compared, instant
from fanout.brokers.gateio.adapter import GateioBroker
from fanout.order import OrdState
from fanout.ports import (
    Acked,
    AuthFailed,
    InDoubt,
    RateLimited,
    Rejected,
    Unsent,
)
from tenancy.clock import SystemClock
from tenancy.errors import Unavailable
from tests.fakes.orders import an_account, an_order, submitted
from tests.fakes.scripted_http import CUT, HANG, Seen, reply, scripted
from tests.fakes.signer import InProcessSigner, SigningRefused
from tests.unit.brokers.scripted_gate import (
    ACCOUNT,
    ACK,
    ORDER,
    at_gate,
    orders,
    settings,
    shown_time,
)


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


async def test_no_name_no_tls_and_no_free_connection_are_unsent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo

    def no_such_name(host: str, *rest: Any, **named: Any) -> Any:
        if host == "gate.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    async with at_gate(lambda seen: HANG, connections=1) as (broker, server):
        tls = server.url.replace("http://", "https://")
        for url in (tls, "https://gate.invalid"):
            other = GateioBroker(settings(url, connections_warm=0), server.signer, SystemClock())
            _takes_the_clocks_as_compared(other)
            await other._client.open()
            assert isinstance(await submitted(other, ACCOUNT, ORDER), Unsent)
            await other.close()
        first, second = await asyncio.gather(*(submitted(broker, ACCOUNT, ORDER) for _ in range(2)))
        assert {type(first), type(second)} == {InDoubt, Unsent}
        assert len(orders(server)) == 1


def _takes_the_clocks_as_compared(broker: GateioBroker) -> None:
    """So that the order is what meets the network first."""
    now = instant(SystemClock())
    time = broker._client.time
    time._stands = Compared(theirs_ms=int(now.wall_s * 1000), asked=now, heard=now)
    broker._client._warm = _nothing  # type: ignore[method-assign]


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
            _takes_the_clocks_as_compared(broker)
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
    async with at_gate(lambda seen: limited) as (broker, _):
        assert await submitted(broker, ACCOUNT, ORDER) == RateLimited(retry_after_s=3.0)
        wait_s = broker._limits.placing.of(ACCOUNT.account_id).reserve(time.monotonic())
    assert 2.5 < wait_s <= 3.0


async def test_warm_connections_are_open_before_the_first_order() -> None:
    async with at_gate(lambda seen: ACK, connections_warm=4) as (broker, server):
        opened = server.connections
        assert opened >= 4
        await asyncio.gather(*(submitted(broker, ACCOUNT, an_order(ACCOUNT)) for _ in range(4)))
        assert server.connections == opened


async def test_more_connections_than_gate_answers_questions_are_opened_all_the_same() -> None:
    """It counts the public questions of an address; each warm connection is one."""
    left = iter(range(4))

    def counted() -> bytes | str:
        told = next(left, None) is not None
        return shown_time() if told else reply(429, {"label": "TOO_MANY_REQUESTS"})

    async with at_gate(lambda seen: ACK, shown=counted, connections=8, connections_warm=8) as (
        broker,
        server,
    ):
        assert server.connections >= 8
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), Acked)


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
