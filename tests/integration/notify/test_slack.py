"""Slack-style webhooks: an address that is a secret, many records in a message, a chat's limits respected."""

from __future__ import annotations

import msgspec
import pytest
from aiohttp import web

from audit.record import Kind
from gateway.notify.carriers import UNADDRESSED
from tenancy.ids import new_id
from tests.fakes.receiver import Receiver
from tests.integration.notify.conftest import House

pytestmark = pytest.mark.stack
REFUSED, FILL = Kind.ORDER_REJECTED, Kind.ORDER_FILL


def address(house: House, channel: object, url: str) -> None:
    """As PUT …/address does, sealed as the opener of these tests opens it."""
    house.execute(
        "INSERT INTO channel_secrets (secret_id, channel_id, tenant_id, sealed) VALUES (%s, %s, %s, %s)",
        new_id(), channel, house.bench.log.tenant_id, url.encode()[::-1],
    )  # fmt: skip


def texts(their: Receiver) -> list[str]:
    return [msgspec.json.decode(arrival.body)["text"] for arrival in their.arrivals]


async def test_records_gather_into_one_message_at_the_secret_address(
    house: House, their: Receiver
) -> None:
    house.change(console_url="https://manage.example")
    channel = house.channel(kind="slack")
    address(house, channel, f"{their.url}/T0/B0/secret")
    await house.record(FILL, REFUSED, FILL)
    async with house.dispatcher():
        await house.until(channel, next_index=3)
    (text,) = texts(their)
    assert text.splitlines()[0] == "*first: 3 notifications*"
    assert "<https://manage.example/console/|The broker refused an order> · a-1" in text
    headers = their.arrivals[0].headers
    assert headers["content-type"] == "application/json"
    assert "webhook-signature" not in headers


async def test_more_than_one_message_holds_go_on_after_a_rest_and_none_is_left_out(
    house: House, their: Receiver
) -> None:
    house.change(slack_pause_s=0.05)
    channel = house.channel(kind="slack")
    address(house, channel, their.url)
    await house.record(*[FILL] * 45)
    async with house.dispatcher():
        await house.until(channel, next_index=45)
    assert [len(text.splitlines()) - 1 for text in texts(their)] == [20, 20, 5]
    told = [word for text in texts(their) for word in text.split("`") if word.count("-") >= 1]
    indexes = [int(name.rpartition("-")[2]) for name in told if name.rpartition("-")[2].isdigit()]
    assert [i for i in indexes if i < 45][:45] == list(range(45))


async def test_without_an_address_nothing_is_sent_and_the_channel_says_so(
    house: House, their: Receiver
) -> None:
    channel = house.channel(kind="slack")
    await house.record(FILL)
    async with house.dispatcher():
        row = await house.until(channel, last_error=UNADDRESSED)
    assert (row["next_index"], row["attempts"]) == (0, 0)
    assert their.arrivals == []


async def test_a_chat_that_wants_a_pause_gets_it_and_an_error_never_holds_the_address(
    house: House, their: Receiver
) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "60"})

    channel = house.channel(kind="slack")
    address(house, channel, f"{their.url}/T0/B0/geheim")
    their.moods = [busy]
    await house.record(FILL)
    async with house.dispatcher():
        row = await house.until(channel, attempts=1)
    assert (row["next_at"] - row["last_attempt_at"]).total_seconds() == 60
    assert "geheim" not in str(row)


async def test_an_archived_chat_channel_is_gone(house: House, their: Receiver) -> None:
    """Slack answers 410 channel_is_archived."""
    channel = house.channel(kind="slack")
    address(house, channel, their.url)
    their.moods = [410]
    await house.record(FILL)
    async with house.dispatcher():
        await house.until(channel, state="gone")
    assert [a["alert"] for a in await house.alerts()] == ["channel_gone"]
