"""What the kit does with each answer, over real connections; the sync and the async sender alike."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from gateway.hooks.verify import Secret, Verified, verify
from gateway.sender_kit.portcullis_sender import (
    InvalidSignal,
    MessageConflict,
    NotDelivered,
    Policy,
    Refused,
    Sender,
    Signal,
    Unauthenticated,
)
from gateway.sender_kit.portcullis_sender.aio import AsyncSender
from gateway.sender_kit.portcullis_sender.delivery import retry_after_s
from tests.fakes.scripted_http import CUT, HANG, ScriptedServer, Seen, reply, scripted
from tests.fixtures.tls import Certificate

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BUY = Signal(ticker="BTC_USDT", action="buy", quantity="0.5")
IMPATIENT = Policy(timeout_s=0.3, deadline_s=30.0, attempts_most=3)
YES = {"signalId": "018f", "status": "accepted", "links": {"self": "https://m/v1/signals/018f"}}


def problem(code: str, **more: Any) -> dict[str, Any]:
    return {
        "type": f"urn:portcullis:problem:{code}",
        "title": "t",
        "detail": "d",
        "code": code,
    } | more


class Kit:
    """One of the two senders, and how long it was asked to sleep."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.slept: list[float] = []

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def send(self, url: str, policy: Policy = IMPATIENT, **how: Any) -> Any:
        if self.kind == "async":
            async with AsyncSender(url, SECRET, policy=policy, sleep=self._sleep) as sender:
                return await sender.send(BUY, **how)
        with Sender(url, SECRET, policy=policy, sleep=self.slept.append) as blocking:
            return await asyncio.to_thread(blocking.send, BUY, **how)


@pytest.fixture(params=["sync", "async"])
def kit(request: pytest.FixtureRequest) -> Kit:
    return Kit(request.param)


@asynccontextmanager
async def gateway(*answers: bytes | str) -> AsyncIterator[ScriptedServer]:
    """Gives these answers in turn, the last one for ever."""
    left = list(answers)

    def script(_: Seen) -> bytes | str:
        return left.pop(0) if len(left) > 1 else left[0]

    async with scripted(script) as server:
        server.url += "/v1/hooks/hk"
        yield server


async def test_the_receipt_says_what_the_gateway_said(kit: Kit) -> None:
    async with gateway(reply(202, YES, Portcullis_Trace_Id="abc")) as server:
        receipt = await kit.send(server.url, message_id="msg_1")
    assert (receipt.signal_id, receipt.message_id, receipt.attempts) == ("018f", "msg_1", 1)
    assert (receipt.status, receipt.trace_id) == ("accepted", "abc")
    assert receipt.link == "https://m/v1/signals/018f"
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("POST", "/v1/hooks/hk")
    assert "prefer" not in seen.headers
    assert verified(seen) == Verified("msg_1", int(seen.headers["webhook-timestamp"]))


async def test_waiting_is_asked_for_and_waited_for(kit: Kit) -> None:
    """The answer comes after the usual time-out, and within the time that was asked for."""
    async with scripted(lambda _: HANG) as slow:
        begun = time.monotonic()
        with pytest.raises(NotDelivered):
            await kit.send(slow.url, Policy(timeout_s=0.2, attempts_most=1), wait_s=1)
    assert time.monotonic() - begun > 1
    assert slow.seen[0].headers["prefer"] == "wait=1"


@pytest.mark.parametrize(
    "first",
    [
        CUT,
        HANG,
        reply(500, problem("internal")),
        reply(503, b"<html>"),
        reply(503, problem("unavailable")),
        reply(429, problem("rate_limited")),
        reply(408, problem("request_timeout")),
        reply(202, b"captive portal"),
        reply(200, {"hello": 1}),
    ],
    ids=["cut", "hang", "500", "503-bare", "503", "429", "408", "202-else", "200-else"],
)
async def test_what_is_not_known_is_asked_again_under_the_same_id_and_body(
    kit: Kit, first: bytes | str
) -> None:
    async with gateway(first, reply(202, YES)) as server:
        receipt = await kit.send(server.url)
    assert receipt.attempts == len(server.seen) == 2
    assert len({(seen.headers["webhook-id"], seen.body) for seen in server.seen}) == 1
    assert all(isinstance(verified(seen), Verified) for seen in server.seen)
    assert len(kit.slept) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "bad_signature", Unauthenticated),
        (401, "stale_timestamp", Unauthenticated),
        (403, "sender_unsupported", Refused),
        (404, "not_found", Refused),
        (409, "message_conflict", MessageConflict),
        (413, "too_large", Refused),
        (422, "invalid_signal", InvalidSignal),
        (307, "http_307", Refused),
    ],
)
async def test_what_was_refused_is_never_repeated(
    kit: Kit, status: int, code: str, kind: type[Refused]
) -> None:
    document = problem(code, field="$.quantity", trace_id="abc")
    async with gateway(reply(status, document, Location="/elsewhere")) as server:
        with pytest.raises(Refused) as caught:
            await kit.send(server.url)
    assert type(caught.value) is kind
    it = caught.value.problem
    assert (it.status, it.code, it.detail, it.field) == (status, code, "d", "$.quantity")
    assert it.trace_id == "abc"
    assert len(server.seen) == 1
    assert KEY.hex() not in str(caught.value)


async def test_retry_after_is_obeyed(kit: Kit) -> None:
    async with gateway(
        reply(429, problem("rate_limited"), Retry_After="7"), reply(202, YES)
    ) as server:
        await kit.send(server.url)
    assert kit.slept == [7.0]


async def test_a_wait_beyond_the_deadline_is_not_begun(kit: Kit) -> None:
    async with gateway(reply(429, problem("rate_limited"), Retry_After="31")) as server:
        with pytest.raises(NotDelivered) as caught:
            await kit.send(server.url)
    assert (kit.slept, caught.value.retry_after_s) == ([], 31.0)
    assert not caught.value.perhaps_accepted


@pytest.mark.parametrize(
    ("answer", "perhaps"),
    [
        (CUT, True),
        (HANG, True),
        (reply(500, problem("internal")), True),
        (reply(503, problem("outcome_unknown")), True),
        (reply(504, b""), True),
        (reply(503, problem("unavailable")), False),
        (reply(429, b"from the proxy before it"), False),
    ],
    ids=["cut", "hang", "500", "unknown", "504", "unavailable", "429"],
)
async def test_giving_up_says_whether_it_may_have_been_accepted(
    kit: Kit, answer: bytes | str, perhaps: bool
) -> None:
    async with gateway(answer) as server:
        with pytest.raises(NotDelivered) as caught:
            await kit.send(server.url, message_id="msg_1")
    error = caught.value
    assert (error.attempts, error.perhaps_accepted, error.message_id) == (3, perhaps, "msg_1")
    assert len(server.seen) == 3
    assert 0.1 <= kit.slept[0] <= 0.2 <= kit.slept[1] <= 0.4


async def test_one_doubtful_attempt_is_not_forgotten_over_a_clear_one(kit: Kit) -> None:
    async with gateway(CUT, reply(503, problem("unavailable"))) as server:
        with pytest.raises(NotDelivered) as caught:
            await kit.send(server.url)
    assert caught.value.perhaps_accepted


async def test_where_nobody_listens_nothing_was_accepted(kit: Kit) -> None:
    async with scripted(lambda _: CUT) as server:
        url = server.url
    with pytest.raises(NotDelivered) as caught:
        await kit.send(url)
    assert not caught.value.perhaps_accepted


async def test_a_gateway_that_is_not_trusted_gets_nothing_and_is_not_asked_again(
    kit: Kit, certificate: Certificate
) -> None:
    seen: list[bytes] = []

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(1000))
        writer.close()

    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate.certfile, certificate.keyfile)
    listener = await asyncio.start_server(read, "127.0.0.1", 0, ssl=server_side)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/hooks/hk"
    try:
        with pytest.raises(NotDelivered, match="not trusted") as caught:
            await kit.send(url)
    finally:
        listener.close()
    assert (caught.value.attempts, caught.value.perhaps_accepted) == (1, False)
    assert seen == []


@pytest.mark.parametrize(
    "url", ["http://gateway.example/v1/hooks/x", "ftp://x/", "x", "https://a@b/"]
)
def test_a_signal_goes_over_https_or_nowhere(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Sender(url, SECRET)
    with pytest.raises(ValueError, match="address"):
        AsyncSender(url, SECRET)


def test_no_key_shows_in_a_repr_or_an_error() -> None:
    assert SECRET not in repr(Sender("https://x/", SECRET))
    with pytest.raises(ValueError) as caught:
        Sender("https://x/", "whsec_AAAA")
    assert "AAAA" not in str(caught.value)
    with pytest.raises(ValueError, match="at least one key"):
        Sender("https://x/")


def test_retry_after_is_seconds_or_a_date() -> None:
    now = 1_700_000_000.0
    later = format_datetime(datetime.fromtimestamp(now + 90, UTC), usegmt=True)
    assert retry_after_s("12", now) == 12
    assert retry_after_s(later, now) == 90
    for unreadable in (None, "", "soon", "-1", "٣"):
        assert retry_after_s(unreadable, now) == 0


def verified(seen: Seen) -> Any:
    pairs = [(name.encode(), value.encode()) for name, value in seen.headers.items()]
    return verify(pairs, seen.body, (Secret("v1", KEY),), now=time.time())
