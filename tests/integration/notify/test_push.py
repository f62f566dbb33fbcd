"""Web Push: from the tenant's log to a person's browser, encrypted, signed, each record at least once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from audit.record import Kind
from gateway.notify.settings import PushSettings
from gateway.notify.vapid import new_key
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.values import TenantID
from tests.fakes.push_service import Browser, browser
from tests.fixtures.postgres import Database
from tests.fixtures.tls import Certificate
from tests.integration.notify.conftest import House
from tests.integration.notify.test_crashes import process

pytestmark = pytest.mark.stack
REFUSED, FILL, ASKED, CHANGE = (
    Kind.ORDER_REJECTED, Kind.ORDER_FILL, Kind.APPROVAL_ASKED, Kind.ADMIN_CHANGE,
)  # fmt: skip


@pytest.fixture
async def phone(house: House, certificate: Certificate) -> AsyncIterator[Browser]:
    """Subscribed under the tenant's key; nobody's yet."""
    house.change(push=PushSettings(contact="mailto:ops@example.com", services=("localhost",)))
    house.change(push_pause_s=0.05, push_idle_s=0.02)
    async with browser(certificate) as made:
        made.subscribed_for = await push_key(house)
        yield made


async def push_key(house: House) -> bytes:
    """A key of the tenant's, sealed as the opener of these tests opens it; its public half."""
    public, private = new_key()
    house.execute(
        "INSERT INTO push_keys (key_id, tenant_id, public_key, sealed) VALUES (%s, %s, %s, %s)",
        new_id(), house.bench.log.tenant_id, public, bytes(private)[::-1],
    )  # fmt: skip
    return public


def person(house: House, *roles: str) -> UUID:
    person_id = new_id()
    house.execute(
        "INSERT INTO people (person_id, tenant_id, email, name, roles, joined_at)"
        " VALUES (%s, %s, %s, 'N', %s, now())",
        person_id, house.bench.log.tenant_id, f"{person_id}@example.com", list(roles),
    )  # fmt: skip
    return person_id


def subscribe(house: House, phone: Browser, person_id: UUID, **more: Any) -> UUID:
    """As POST /v1/me/push does."""
    columns = {
        "device_id": new_id(), "tenant_id": house.bench.log.tenant_id, "person_id": person_id,
        "endpoint": phone.endpoint, "p256dh": phone.p256dh, "auth": phone.auth, "label": "phone",
        "language": "en", "events": [], "severity": "all", "digest_minutes": 60,
        "second_factor": True, **more,
    }  # fmt: skip
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    house.execute(
        f"INSERT INTO push_devices ({names}, key_id) SELECT {places}, key_id FROM push_keys"
        " WHERE public_key = %s",
        *columns.values(), phone.subscribed_for,
    )  # fmt: skip
    device_id: UUID = columns["device_id"]
    return device_id


async def test_a_phone_is_told_once_encrypted_and_signed_what_it_asked_for(
    house: House, phone: Browser
) -> None:
    device = subscribe(house, phone, person(house, "trader"), events=["alert", "approval.asked"])
    await house.record(FILL, REFUSED)
    async with house.dispatcher():
        await phone.wait_for(1)
        await house.until(device, next_index=2)
        await house.record(ASKED, FILL)
        await house.until(device, next_index=4)
    assert phone.refused == []
    assert [(s.note["kind"], s.note["title"], s.note["url"]) for s in phone.shown] == [
        ("order.rejected", "The broker refused an order", "/console/"),
        ("approval.asked", "Approval asked", "/console/approvals"),
    ]
    random = house.bench.log.origin.rsplit("/", 1)[-1]
    assert [s.id for s in phone.shown] == [f"{random}-1", f"{random}-2"]
    assert phone.shown[0].headers["urgency"] == "high"
    assert phone.shown[0].headers["ttl"] == "86400"
    sent = b"".join(arrival.body for arrival in phone.service.arrivals)
    assert b"refused" not in sent
    assert b"the payload stays" not in b"".join(s.plain for s in phone.shown)


async def test_a_burst_is_one_message_that_names_all_its_records(
    house: House, phone: Browser
) -> None:
    device = subscribe(house, phone, person(house, "trader"))
    await house.record(FILL, FILL, REFUSED, FILL)
    async with house.dispatcher():
        await house.until(device, next_index=4)
    (shown,) = phone.shown
    assert shown.id.endswith("-0..3")
    assert (shown.note["records"], shown.note["kind"]) == (4, "order.rejected")


async def test_each_person_hears_what_their_roles_allow_as_they_are_now(
    house: House, phone: Browser
) -> None:
    """A viewer hears of no change of settings; who has no role hears nothing, later neither."""
    viewer = person(house, "viewer")
    device = subscribe(house, phone, viewer)
    await house.record(CHANGE, FILL)
    async with house.dispatcher():
        await house.until(device, next_index=2)
        assert [s.note["kind"] for s in phone.shown] == ["order.fill"]
        house.execute("UPDATE people SET roles = '{}' WHERE person_id = %s", viewer)
        await house.record(FILL)
        await house.until(device, next_index=3)
        house.execute("UPDATE people SET roles = '{compliance}' WHERE person_id = %s", viewer)
        await house.record(CHANGE)
        await house.until(device, next_index=4)
    assert [s.note["kind"] for s in phone.shown] == ["order.fill", "admin.change"]


async def test_who_needs_a_second_factor_and_showed_none_hears_nothing(
    house: House, phone: Browser
) -> None:
    device = subscribe(house, phone, person(house, "admin"), second_factor=False)
    await house.record(REFUSED)
    async with house.dispatcher():
        await house.until(device, next_index=1)
    assert phone.service.arrivals == []


async def test_a_subscription_that_the_push_service_knows_no_more_ends_with_a_record(
    house: House, phone: Browser
) -> None:
    somebody = person(house, "trader")
    ended = [
        subscribe(house, phone, somebody),
        subscribe(house, phone, somebody, endpoint=f"{phone.endpoint}x"),
    ]
    phone.moods = [404, 410]
    await house.record(REFUSED)
    async with house.dispatcher():
        for device in ended:
            await gone(house, device)
    await house.bench.recorder.drain()
    said = [
        row[0]
        for row in house.bench.rows(
            "SELECT convert_from(p.payload, 'UTF8')::json FROM audit_leaves v"
            " JOIN audit_payloads p USING (log_id, i)"
            " WHERE convert_from(v.leaf, 'UTF8')::json ->> 'k' = 'login'"
        )
    ]
    assert {s["device"] for s in said} == {str(device) for device in ended}
    assert {s["why"] for s in said} == {"answered 404", "answered 410"}
    assert {(s["event"], s["next_index"]) for s in said} == {("push_device_ended", 0)}
    assert await house.alerts() == [], "a browser that was closed is nobody else's business"


async def gone(house: House, device: UUID) -> None:
    """Wait until the row is away."""
    async with asyncio.timeout(10):
        while True:
            if not devices(house, device):
                return
            await asyncio.sleep(0.02)


def devices(house: House, device: UUID) -> int:
    (row,) = house.bench.rows(f"SELECT count(*) FROM push_devices WHERE device_id = '{device}'")
    count: int = row[0]
    return count


async def test_devices_end_with_their_person(house: House, phone: Browser) -> None:
    other = subscribe(house, phone, person(house, "trader"), endpoint=f"{phone.endpoint}x")
    ends = (
        "disabled = true",
        "archived_at = now()",
        "factors_reset_at = now()",
        "password_reset_at = now()",
    )
    for end in ends:
        somebody = person(house, "trader")
        device = subscribe(house, phone, somebody)
        house.execute(
            f"UPDATE people SET name = 'M', roles = '{{}}' WHERE person_id = '{somebody}'"
        )
        assert devices(house, device) == 1
        house.execute(f"UPDATE people SET {end} WHERE person_id = '{somebody}'")
        assert (devices(house, device), devices(house, other)) == (0, 1), end


async def test_what_fails_is_sent_again_and_the_device_is_called_failing(
    house: House, phone: Browser
) -> None:
    device = subscribe(house, phone, person(house, "trader"))
    phone.moods = [503] * 4
    house.change(failing_after_s=0.2)
    await house.record(REFUSED)
    async with house.dispatcher():
        await house.until(device, state="failing")
        await house.until(device, state="working", next_index=1, attempts=0)
    assert len(phone.shown) == 1
    assert await house.alerts() == []


async def test_a_sender_that_is_killed_is_followed_by_one_that_leaves_no_record_out(
    house: House, phone: Browser, database: Database, certificate: Certificate
) -> None:
    """SIGKILL when the push service has the message and nobody has noted it."""
    device = subscribe(house, phone, person(house, "trader"))
    await house.record(FILL, REFUSED)

    async def kill(request: web.Request) -> None:
        phone.on_message = None
        running.kill()

    phone.on_message = kill
    async with process(database, certificate) as running:
        await phone.wait_for(1)
    await house.record(FILL)
    async with process(database, certificate) as running:
        await house.until(device, next_index=3)
    spans = [s.id.rpartition("-")[2] for s in phone.shown]
    assert spans == ["0..1", "0..2"], "again, and its name says that it is"
    assert phone.refused == []


async def test_two_processes_at_once_tell_a_phone_each_record_once(
    house: House, phone: Browser
) -> None:
    device = subscribe(house, phone, person(house, "trader"))
    async with house.dispatcher(), house.dispatcher():
        for n in range(4):
            await house.record(FILL, FILL)
            await house.until(device, next_index=2 * n + 2)
    assert sum(s.note["records"] for s in phone.shown) == 8


async def test_a_message_under_the_wrong_key_is_not_taken(house: House, phone: Browser) -> None:
    """The control of these tests: the push service looks at who sends."""
    subscribe(house, phone, person(house, "trader"))
    phone.subscribed_for = new_key()[0]
    await house.record(REFUSED)
    async with house.dispatcher():
        await phone.service.wait_for(1)
    assert phone.refused == ["another key than the subscription's"]
    assert phone.shown == []


async def test_devices_of_another_tenant_are_behind_the_wall(house: House, phone: Browser) -> None:
    subscribe(house, phone, person(house, "trader"))
    other = TenantScope(TenantID(new_id()), house.bench.scope.actor)
    house.execute("INSERT INTO tenants (tenant_id, name) VALUES (%s, 'other')", other.tenant_id)
    seen = {}
    for scope in (house.bench.scope, other):
        async with house.bench.admin.tenant(scope) as conn:
            seen[scope] = [
                (await (await conn.execute(query)).fetchone() or (None,))[0]
                for query in (
                    "SELECT count(*) FROM push_devices",
                    "SELECT count(*) FROM push_keys",
                    "SELECT count(*) FROM push_devices WHERE endpoint IS NOT NULL",
                )
            ]
    assert seen == {house.bench.scope: [1, 1, 1], other: [0, 0, 0]}
