"""What a crash, a second process or a lost hold leaves: no gap, and duplicates under the same id."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from audit.record import Kind
from gateway.notify.dispatcher import Dispatcher
from tests.fakes.receiver import Receiver
from tests.fixtures.postgres import Database
from tests.fixtures.tls import Certificate
from tests.integration.notify.conftest import House

pytestmark = pytest.mark.stack
FILL = Kind.ORDER_FILL


@asynccontextmanager
async def process(
    database: Database, certificate: Certificate
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """An admin process' dispatcher, ended by SIGKILL."""
    command = [sys.executable, "-m", "tests.integration.notify.notify_process"]
    command += [database.conninfo("admin"), certificate.certfile]
    running = await asyncio.to_thread(subprocess.Popen, command)
    try:
        yield running
    finally:
        running.kill()
        await asyncio.to_thread(running.wait)


async def test_a_sender_that_is_killed_is_followed_by_one_that_sends_again(
    house: House, their: Receiver, database: Database, certificate: Certificate
) -> None:
    """SIGKILL while its fourth message is under way, and once more at the seventh."""
    killed: list[int] = []

    async def kill(request: web.Request) -> web.Response:
        killed.append(running.pid)
        running.kill()
        return web.Response(status=204)

    channel = house.channel(their.url)
    secret = house.secret(channel)
    await house.record(*[FILL] * 10)
    their.moods = [204, 204, 204, kill, 204, 204, kill]
    async with process(database, certificate) as running:
        await their.wait_for(4)
    async with process(database, certificate) as running:
        await their.wait_for(7)
    async with process(database, certificate) as running:
        await house.until(channel, next_index=10)
    indexes = [arrival.event["data"]["index"] for arrival in their.arrivals]
    assert len(set(killed)) == 2
    assert indexes == [0, 1, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9], (
        "no gap, and only what was under way twice"
    )
    assert their.ids[3] == their.ids[4]
    for arrival in their.arrivals:
        Webhook(secret).verify(arrival.body, arrival.headers)


async def test_a_sender_that_is_cut_off_between_send_and_note_is_followed_by_another(
    house: House, their: Receiver
) -> None:
    """Cancelled in mid-request, as at the end of a process that may not wait any longer."""
    arrived = asyncio.Event()

    async def never_answers(request: web.Request) -> web.Response:
        arrived.set()
        await asyncio.sleep(30)
        return web.Response()

    channel = house.channel(their.url)
    house.secret(channel)
    await house.record(*[FILL] * 6)
    their.moods = [204, 204, never_answers]
    house.change(timeout_s=0.4, connect_timeout_s=0.2, lease_s=1.2)
    first = asyncio.create_task(
        Dispatcher(house.bench.admin, house.sender(), house.settings)._sender.turn(
            house.bench.scope, "channel", channel
        )
    )
    await asyncio.wait_for(arrived.wait(), 5)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert house.delivery(channel)["next_index"] == 2
    async with house.dispatcher():
        await house.until(channel, next_index=6)
    assert [a.event["data"]["index"] for a in their.arrivals] == [0, 1, 2, 2, 3, 4, 5]
    assert their.ids[2] == their.ids[3]


async def test_two_processes_at_once_send_each_record_once(house: House, their: Receiver) -> None:
    async def slowly(request: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response(status=204)

    their.always = slowly
    channels = [house.channel(f"{their.url}/{n}") for n in range(3)]
    for channel in channels:
        house.secret(channel)
    async with house.dispatcher(), house.dispatcher():
        for _ in range(5):
            await house.record(*[FILL] * 8)
        for channel in channels:
            await house.until(channel, next_index=40)
    assert set(Counter(their.ids).values()) == {3}, "once for each of the three channels"
    assert len(their.arrivals) == 120


async def test_a_sender_whose_hold_was_lost_moves_nothing(house: House, their: Receiver) -> None:
    """Another process took the channel while the request was under way."""

    async def taken_over(request: web.Request) -> web.Response:
        house.execute("UPDATE channel_deliveries SET fence = fence + 1")
        return web.Response(status=204)

    channel = house.channel(their.url)
    house.secret(channel)
    await house.record(FILL, FILL)
    their.moods = [taken_over]
    await house.sender().turn(house.bench.scope, "channel", channel)
    row = house.delivery(channel)
    assert row["next_index"] == 0
    assert len(their.arrivals) == 1, "and it stops"
    assert row["lease_until"] > row["last_attempt_at"] if row["last_attempt_at"] else True


async def test_a_hold_that_is_too_short_for_another_attempt_is_not_used(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url)
    house.secret(channel)
    await house.record(FILL)
    sender = house.sender()

    class Late:
        """Opens the secret when most of the lease is over."""

        async def open_secret(self, sealed: bytes, **_: object) -> bytes:
            await asyncio.sleep(0.5)
            return sealed[::-1]

    house.change(timeout_s=0.4, connect_timeout_s=0.2, lease_s=1.0)
    sender = house.sender()
    sender._carriers._secrets._opener = Late()
    await sender.turn(house.bench.scope, "channel", channel)
    assert their.arrivals == []


async def test_records_that_are_not_kept_any_more_are_a_gap_that_the_receiver_is_told(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url, events=["alert"])
    house.secret(channel)
    await house.record(*[FILL] * 5, Kind.ALERT)
    house.execute("ALTER TABLE audit_leaves DISABLE TRIGGER fence")
    house.execute("DELETE FROM audit_leaves WHERE i < 3")
    their.moods = [500]
    async with house.dispatcher():
        await house.until(channel, next_index=6)
    assert [a.event["type"] for a in their.arrivals] == ["gap", "gap", "alert"]
    assert their.ids[0] == their.ids[1]
    assert their.ids[0].endswith("-0-gap")
    told = their.arrivals[1].event["data"]
    assert told == {"from": 0, "to": 2, "why": "the records are not kept any more"}


async def test_what_is_older_than_the_backlog_is_a_gap_too(house: House, their: Receiver) -> None:
    channel = house.channel(their.url)
    house.secret(channel)
    await house.record(*[FILL] * 7)
    await asyncio.sleep(0.6)
    await house.record(FILL, FILL)
    house.change(backlog_s=0.5)
    async with house.dispatcher():
        await house.until(channel, next_index=9)
    types = [a.event["type"] for a in their.arrivals]
    assert types == ["gap", "order.fill", "order.fill"]
    told = their.arrivals[0].event["data"]
    assert told == {"from": 0, "to": 6, "why": "older than the backlog"}


async def test_postgres_gone_in_the_middle_loses_nothing(
    house: House, their: Receiver, database: Database
) -> None:
    async def cut(request: web.Request) -> web.Response:
        database.cut_connections()
        return web.Response(status=204)

    channel = house.channel(their.url)
    house.secret(channel)
    await house.record(*[FILL] * 3)
    their.moods = [204, cut]
    house.change(timeout_s=0.4, connect_timeout_s=0.2, lease_s=1.2)
    async with house.dispatcher():
        await house.until(channel, next_index=3)
    indexes = [a.event["data"]["index"] for a in their.arrivals]
    assert indexes in ([0, 1, 1, 2], [0, 1, 2]), indexes
