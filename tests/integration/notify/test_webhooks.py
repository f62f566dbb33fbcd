"""Webhooks out: in order, signed, each at least once, whatever the other side does."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from audit.record import Kind
from gateway.notify.carriers import UNSIGNED
from tests.fakes.receiver import Receiver
from tests.fixtures.audit import add_log, entry
from tests.integration.notify.conftest import House

pytestmark = pytest.mark.stack
REFUSED, FILL, ALERT = Kind.ORDER_REJECTED, Kind.ORDER_FILL, Kind.ALERT


async def test_every_record_comes_once_in_order_and_an_independent_library_verifies_it(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url)
    secret = house.secret(channel)
    await house.record(REFUSED, FILL, ALERT)
    async with house.dispatcher():
        arrivals = list(await their.wait_for(3))
        await house.until(channel, next_index=3)
    assert len(their.arrivals) == 3
    assert [a.event["type"] for a in arrivals] == ["order.rejected", "order.fill", "alert"]
    assert [a.event["data"]["index"] for a in arrivals] == [0, 1, 2]
    random = house.bench.log.origin.rsplit("/", 1)[-1]
    assert [a.id for a in arrivals] == [f"{random}-{i}" for i in range(3)]
    for arrival in arrivals:
        assert Webhook(secret).verify(arrival.body, arrival.headers) == arrival.event
    first = arrivals[0].event
    assert (first["data"]["alert"], first["data"]["account_id"]) == ("order_rejected", "a-1")
    assert first["data"]["groups"] == ["order", "alert"]
    assert first["data"]["facts"] == {}, "what no list names is not told"
    assert b"the payload stays" not in arrivals[0].body
    assert b"k_rec" not in arrivals[0].body


async def test_a_new_channel_is_told_what_happens_from_now_on(
    house: House, their: Receiver
) -> None:
    await house.record(FILL, FILL)
    house.secret(house.channel(their.url))
    await house.record(ALERT)
    async with house.dispatcher():
        await their.wait_for(1)
    assert [a.event["data"]["index"] for a in their.arrivals] == [2]


async def test_a_channel_gets_what_it_asked_for_and_its_place_moves_past_the_rest(
    house: House, their: Receiver
) -> None:
    chosen = house.channel(their.url, events=["order.fill", "alert"], severity="failures")
    house.secret(chosen)
    await house.record(REFUSED, FILL, ALERT, FILL, FILL)
    async with house.dispatcher():
        await house.until(chosen, next_index=5)
    assert [a.event["type"] for a in their.arrivals] == ["order.rejected", "alert"]


async def test_what_fails_is_sent_again_under_the_same_id_and_nothing_overtakes_it(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url)
    secret = house.secret(channel)
    their.moods = [500, 503, 302]
    await house.record(REFUSED, FILL)
    async with house.dispatcher():
        await house.until(channel, next_index=2)
    assert [a.event["data"]["index"] for a in their.arrivals] == [0, 0, 0, 0, 1]
    assert len(set(their.ids)) == 2
    for arrival in their.arrivals:
        Webhook(secret).verify(arrival.body, arrival.headers)


async def test_pauses_grow_and_the_state_says_why(house: House, their: Receiver) -> None:
    channel = house.channel(their.url)
    house.secret(channel)
    their.always = 500
    house.change(pauses_s=(30.0, 600.0), longest_pause_s=3600.0)
    await house.record(FILL)
    async with house.dispatcher():
        row = await house.until(channel, attempts=1)
        await asyncio.sleep(0.2)
    assert len(their.arrivals) == 1
    assert row["last_error"] == "answered 500"
    assert row["next_at"] - row["last_attempt_at"] == timedelta(seconds=30)
    assert (row["state"], row["next_index"]) == ("working", 0)


async def test_the_receiver_s_own_retry_after_is_granted(house: House, their: Receiver) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "120"})

    channel = house.channel(their.url)
    house.secret(channel)
    their.moods = [busy]
    await house.record(FILL)
    async with house.dispatcher():
        row = await house.until(channel, attempts=1)
    assert row["next_at"] - row["last_attempt_at"] == timedelta(seconds=120)


async def test_a_receiver_that_hangs_is_given_up_in_time_and_holds_up_nobody(
    house: House, their: Receiver
) -> None:
    async def hang(request: web.Request) -> web.Response:
        if request.path == "/in/slow":
            await asyncio.sleep(30)
        return web.Response(status=204)

    their.always = hang
    house.change(timeout_s=0.5)
    slow, quick = house.channel(f"{their.url}/slow"), house.channel(their.url)
    house.secret(slow)
    house.secret(quick)
    began = time.monotonic()
    await house.record(FILL)
    async with house.dispatcher():
        await house.until(quick, next_index=1)
        row = await house.until(slow, attempts=1)
    assert time.monotonic() - began < 3
    assert row["last_error"] == "no answer in time"


async def test_a_tenant_whose_receivers_all_hang_does_not_hold_up_another(
    house: House, their: Receiver
) -> None:
    """Forty channels that never answer, and few turns at once: the other tenant's is told all the same."""

    async def hang(request: web.Request) -> web.Response:
        if request.path == "/in/slow":
            await asyncio.sleep(30)
        return web.Response(status=204)

    their.always = hang
    house.change(at_once=4, at_once_per_tenant=2, timeout_s=1.5)
    for _ in range(40):
        house.secret(house.channel(f"{their.url}/slow"))
    other = add_log(house.bench.superuser, house.bench.signer, "other")
    theirs = house.channel(their.url, tenant_id=other.tenant_id)
    house.secret(theirs, tenant_id=other.tenant_id)
    await house.record(FILL)
    await house.bench.append([entry(1, kind=FILL)], other)
    await house.bench.recorder.drain()
    async with house.dispatcher():
        await house.until(theirs, next_index=1, within_s=4)


async def test_an_answer_without_end_is_not_read_to_its_end(house: House, their: Receiver) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            await asyncio.sleep(0)

    channel = house.channel(their.url)
    house.secret(channel)
    their.moods = [endless]
    await house.record(FILL, FILL)
    began = time.monotonic()
    async with house.dispatcher():
        await house.until(channel, next_index=2)
    assert time.monotonic() - began < 2
    assert [a.event["data"]["index"] for a in their.arrivals] == [0, 1]


async def test_a_receiver_that_wants_no_more_is_left_alone_until_somebody_changes_the_channel(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url)
    house.secret(channel)
    their.moods = [410]
    await house.record(FILL)
    async with house.dispatcher():
        await house.until(channel, state="gone")
        await asyncio.sleep(0.3)
        assert len(their.arrivals) == 1
        alerts = await house.alerts()
        assert [(a["alert"], a["error"]) for a in alerts] == [("channel_gone", "answered 410")]
        house.execute("UPDATE channels SET name = 'new', revision = revision + 1")
        await house.until(channel, state="working", next_index=2)
    assert [a.event["data"]["index"] for a in their.arrivals] == [0, 0, 1], (
        "nothing was lost meanwhile"
    )


async def test_a_channel_that_fails_for_long_is_called_failing_and_goes_on_and_recovers(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url)
    house.secret(channel)
    their.always = 500
    house.change(failing_after_s=0.3)
    await house.record(FILL)
    async with house.dispatcher():
        await house.until(channel, state="failing")
        seen = len(their.arrivals)
        await their.wait_for(seen + 1)
        their.always = 204
        await house.until(channel, state="working", next_index=1, attempts=0)
        alerts = await house.alerts()
    assert [a["alert"] for a in alerts] == ["channel_failing", "channel_recovered"]


async def test_both_live_secrets_sign_and_an_expired_one_does_not(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url)
    now = datetime.now(UTC)
    expired = house.secret(channel, now - timedelta(seconds=1))
    old, new = house.secret(channel, now + timedelta(hours=1)), house.secret(channel)
    await house.record(FILL)
    async with house.dispatcher():
        arrival = (await their.wait_for(1))[0]
    Webhook(old).verify(arrival.body, arrival.headers)
    Webhook(new).verify(arrival.body, arrival.headers)
    with pytest.raises(Exception, match="signature"):
        Webhook(expired).verify(arrival.body, arrival.headers)


async def test_the_signer_s_absence_is_not_the_receiver_s_fault(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url)
    house.secret(channel)
    house.opener.away = True
    house.change(longest_pause_s=0.2, pauses_s=(0.1,))
    await house.record(FILL)
    async with house.dispatcher():
        row = await house.until(channel, last_error="the secret could not be opened: Unavailable")
        assert (row["attempts"], row["failed_since"]) == (0, None)
        house.opener.away = False
        await house.until(channel, next_index=1)


async def test_a_channel_without_a_secret_sends_nothing_unsigned(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url)
    await house.record(FILL)
    async with house.dispatcher():
        await house.until(channel, last_error=UNSIGNED)
    assert their.arrivals == []


async def test_a_switched_off_or_archived_channel_is_silent_and_goes_on_where_it_was(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url, enabled=False)
    archived = house.channel(their.url)
    for one in (channel, archived):
        house.secret(one)
    house.execute("UPDATE channels SET archived_at = now() WHERE channel_id = %s", archived)
    await house.record(FILL)
    async with house.dispatcher():
        await asyncio.sleep(0.3)
        assert their.arrivals == []
        house.execute("UPDATE channels SET enabled = true WHERE channel_id = %s", channel)
        await house.until(channel, next_index=1)
    assert len(their.arrivals) == 1


async def test_a_receiver_that_was_never_told_of_a_change_has_the_old_settings_no_longer(
    house: House, their: Receiver
) -> None:
    """A change while a message is under way: that sender's word does not count any more."""

    async def change(request: web.Request) -> web.Response:
        house.execute("UPDATE channels SET url = %s, revision = revision + 1", f"{their.url}/new")
        return web.Response(status=204)

    channel = house.channel(their.url)
    house.secret(channel)
    their.moods = [change]
    await house.record(FILL, FILL)
    async with house.dispatcher():
        await house.until(channel, next_index=2)
    assert [a.event["data"]["index"] for a in their.arrivals] == [0, 0, 1], (
        "the new address gets it again"
    )


async def test_another_tenant_s_records_are_nobody_else_s(house: House, their: Receiver) -> None:
    """The sender's transaction is one tenant's: the wall holds for it as for people."""
    channel = house.channel(their.url)
    house.secret(channel)
    other = add_log(house.bench.superuser, house.bench.signer, "other")
    await house.bench.append([entry(n, kind=ALERT) for n in range(3)], other)
    await house.record(FILL)
    async with house.dispatcher():
        await house.until(channel, next_index=1)
        await asyncio.sleep(0.2)
    assert len(their.arrivals) == 1
