"""A customer writes the address and we make the request: it must not lead into our own network."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from gateway.notify.addresses import Lookup
from gateway.notify.outcome import Message, Outcome
from gateway.notify.settings import NotifySettings
from gateway.notify.webhook import opened
from tenancy.clock import SystemClock
from tests.fakes.receiver import Receiver, receiver
from tests.fixtures.tls import Certificate
from tests.integration.notify.conftest import LOOPBACK

MESSAGE = Message("m-1", "test", "2026-01-01T00:00:00.000000000Z", b"{}", 1)
REFUSED = "the address is not a public one, and is not among those allowed"


def answering(*addresses: str) -> Lookup:
    async def lookup(host: str, port: int) -> list[str]:
        return list(addresses)

    return lookup


async def send(url: str, settings: NotifySettings, lookup: Lookup | None = None) -> Outcome:
    more = {} if lookup is None else {"lookup": lookup}
    async with opened(url, settings, SystemClock(), **more) as webhook:
        return await webhook.send(MESSAGE, [b"k" * 32])


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",), ("::1",), ("::ffff:127.0.0.1",), ("10.0.0.1",), ("169.254.169.254",),
        ("8.8.8.8", "127.0.0.1"),
    ],
)  # fmt: skip
async def test_a_name_that_leads_into_this_house_is_refused_before_any_connection(
    their: Receiver, addresses: tuple[str, ...]
) -> None:
    """The receiver listens at that very port; a name with one bad address among good ones is bad."""
    url = their.url.replace("localhost", "hooks.example")
    outcome = await send(url, NotifySettings(), answering(*addresses))
    assert (outcome.delivered, outcome.text) == (False, REFUSED)
    assert their.arrivals == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:7f00:1]"])
async def test_an_address_in_place_of_a_name_is_held_to_the_same(
    their: Receiver, host: str
) -> None:
    outcome = await send(their.url.replace("localhost", host), NotifySettings())
    assert outcome.text == REFUSED
    assert their.arrivals == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001"])
async def test_an_address_in_disguise_is_looked_up_as_a_name_and_refused(
    their: Receiver, host: str
) -> None:
    """As inet_aton() reads them; the resolver says what they are."""
    outcome = await send(
        their.url.replace("localhost", host), NotifySettings(), answering("127.0.0.1")
    )
    assert outcome.delivered is False
    assert their.arrivals == []


async def test_a_redirect_is_an_answer_and_is_not_followed(
    their: Receiver, certificate: Certificate
) -> None:
    async def away(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": their.url + "/again"})

    their.moods = [away]
    settings = NotifySettings(allow_networks=LOOPBACK, ca_file=certificate.certfile)
    outcome = await send(their.url, settings)
    assert (outcome.delivered, outcome.status) == (False, 307)
    assert len(their.arrivals) == 1


async def test_tls_is_verified_against_the_name_and_not_against_the_address(
    their: Receiver, certificate: Certificate
) -> None:
    """The certificate is good for localhost and for 127.0.0.1, and not for this name."""
    settings = NotifySettings(allow_networks=LOOPBACK, ca_file=certificate.certfile)
    good = await send(their.url, settings, answering("127.0.0.1"))
    assert good.delivered
    url = their.url.replace("localhost", "hooks.example")
    outcome = await send(url, settings, answering("127.0.0.1"))
    assert outcome.text == "the certificate is not valid for this name"
    assert len(their.arrivals) == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(their: Receiver) -> None:
    outcome = await send(their.url, NotifySettings(allow_networks=LOOPBACK))
    assert outcome.text == "the certificate is not valid for this name"
    assert their.arrivals == []


async def test_the_name_is_looked_up_once_for_a_connection(
    their: Receiver, certificate: Certificate
) -> None:
    """A second answer, the attacker's, is never asked for."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def changing(host: str, port: int) -> list[str]:
        return answers.pop(0)

    settings = NotifySettings(allow_networks=("127.0.0.1/32",), ca_file=certificate.certfile)
    assert (await send(their.url, settings, changing)).delivered
    assert len(answers) == 1


async def test_plain_http_is_for_loopback_that_the_operator_allows() -> None:
    async with receiver(None) as plain:
        allowed = NotifySettings(allow_networks=("127.0.0.0/8", "10.0.0.0/8"))
        assert (await send(plain.url, allowed, answering("127.0.0.1"))).delivered
        refused = await send(plain.url, NotifySettings(), answering("127.0.0.1"))
        assert refused.text == REFUSED
        private = await send(plain.url, allowed, answering("10.0.0.1"))
        assert private.text == "plain http is for loopback: use https"
        assert len(plain.arrivals) == 1


async def test_a_name_that_is_not_answered_is_given_up_in_time() -> None:
    async def silent(host: str, port: int) -> list[str]:
        await asyncio.sleep(30)
        return []

    began = time.monotonic()
    settings = NotifySettings(connect_timeout_s=0.2)
    outcome = await send("https://hooks.example/", settings, silent)
    assert not outcome.delivered
    assert time.monotonic() - began < 2


async def test_no_proxy_is_taken_from_the_environment(
    their: Receiver, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    settings = NotifySettings(allow_networks=LOOPBACK, ca_file=certificate.certfile)
    assert (await send(their.url, settings)).delivered
