"""Web Push and chat addresses at the real API: one's own devices, the tenant's key, a secret that stays one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from gateway.admin.app import admin_app
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.sender import Sender
from gateway.notify.settings import NotifySettings, PushSettings
from gateway.notify.vapid import read_b64
from tenancy.clock import SystemClock
from tests.fakes.push_service import Browser, browser
from tests.fakes.receiver import Receiver
from tests.fixtures.api import Api, Client
from tests.fixtures.tls import Certificate
from tests.integration.notify.conftest import LOOPBACK
from tests.integration.notify.test_routes import VaultOpener

pytestmark = pytest.mark.stack
ME = "/v1/me/push"


@pytest.fixture
async def app(api: Api, certificate: Certificate) -> Any:
    """An API that sends notifications, to push services at localhost."""
    settings = NotifySettings(
        allow_networks=LOOPBACK, ca_file=Path(certificate.certfile), timeout_s=2,
        push=PushSettings(contact="mailto:ops@example.com", services=("localhost",)),
    )  # fmt: skip
    sender = Sender(
        api.services.database, ChannelSecrets(VaultOpener(api.vault)), settings, SystemClock(),
        chance=random.random,
    )  # fmt: skip
    return admin_app(msgspec.structs.replace(api.services, notifier=sender), checks={})


@pytest.fixture
async def phone(certificate: Certificate) -> AsyncIterator[Browser]:
    async with browser(certificate) as made:
        yield made


class Somebody(msgspec.Struct):
    """A person with a session, and their id."""

    client: Client
    person: str


async def somebody(api: Api, app: Any, *roles: str, tenant: str = "admin") -> Somebody:
    client, person, _ = await api.person(tenant, *roles)
    return Somebody(Client(app, client.key), person)


async def make_key(api: Api, app: Any, **body: Any) -> str:
    made = await Client(app, api.keys["admin"]).make("/v1/push-keys", **body)
    public: str = made["public_key"]
    return public


async def subscribed(who: Somebody, phone: Browser, **more: Any) -> dict[str, Any]:
    """As the page does: the key is read, the browser subscribes under it, and says so."""
    key = (await who.client.get(ME))["public_key"]
    phone.subscribed_for = read_b64(key, 65, "public_key")
    made: dict[str, Any] = await who.client.make(ME, **phone.subscription(key, **more))
    return made


async def test_a_browser_is_subscribed_tested_listed_changed_and_removed(
    api: Api, app: Any, phone: Browser
) -> None:
    trader = await somebody(api, app, "trader")
    assert (await trader.client.get(ME))["why"] == (
        "the tenant has no push key: an administrator makes it"
    )
    await make_key(api, app)
    made = await subscribed(trader, phone)
    assert (made["service"], made["state"], made["current_key"]) == ("localhost", "working", True)
    assert made["events"] == ["alert", "approval.asked"]
    told = (await trader.client("POST", f"{ME}/{made['device_id']}/test")).json()
    assert (told["delivered"], told["status"]) == (True, 201)
    assert (phone.shown[0].note["title"], phone.shown[0].note["kind"]) == ("Test", "test")
    again = await subscribed(trader, phone, language="zh_Hant", severity="failures", events=[])
    assert again["device_id"] == made["device_id"], "the same endpoint is the same device"
    assert (again["language"], again["severity"], again["events"]) == ("zh_Hant", "failures", [])
    assert [d["device_id"] for d in (await trader.client.get(ME))["items"]] == [made["device_id"]]
    assert (await trader.client("DELETE", f"{ME}/{made['device_id']}")).status == 204
    assert (await trader.client.get(ME))["items"] == []
    assert (await trader.client("DELETE", f"{ME}/{made['device_id']}")).status == 404


async def test_nobody_sees_the_endpoint_or_the_keys_again(
    api: Api, app: Any, phone: Browser
) -> None:
    trader = await somebody(api, app, "trader")
    await make_key(api, app)
    await subscribed(trader, phone)
    subscription = phone.subscription("")
    for path in (ME, "/v1/me/data"):
        text = str(await trader.client.get(path))
        assert "localhost" in text
        for member in ("endpoint", "p256dh", "auth"):
            assert subscription[member] not in text
    with psycopg.connect(api.database.superuser) as conn:
        rows = conn.execute("SELECT payload FROM audit_inbox").fetchall()
    assert any(b"push_device_added" in bytes(row[0]) for row in rows)
    assert not any(subscription["endpoint"].encode() in bytes(row[0]) for row in rows)


async def test_a_device_is_its_persons_and_nobody_elses(api: Api, app: Any, phone: Browser) -> None:
    await make_key(api, app)
    trader, colleague = [await somebody(api, app, "trader") for _ in range(2)]
    made = await subscribed(trader, phone)
    address = f"{ME}/{made['device_id']}"
    stranger = await somebody(api, app, "trader", tenant="other")
    for who in (colleague, stranger):
        assert (await who.client("DELETE", address)).status == 404
        assert (await who.client("POST", f"{address}/test")).status == 404
        assert (await who.client.get(ME))["items"] == []
    key = Client(app, api.keys["admin"])
    assert (await key("GET", ME)).status == 403, "a service key is nobody"
    assert len((await trader.client.get(ME))["items"]) == 1


async def test_who_subscribes_a_browser_that_was_a_colleagues_has_it_alone(
    api: Api, app: Any, phone: Browser
) -> None:
    await make_key(api, app)
    trader, colleague = [await somebody(api, app, "trader") for _ in range(2)]
    await subscribed(trader, phone)
    await subscribed(colleague, phone)
    assert (await trader.client.get(ME))["items"] == []
    assert len((await colleague.client.get(ME))["items"]) == 1


async def test_a_subscription_under_another_tenants_key_is_refused(
    api: Api, app: Any, phone: Browser
) -> None:
    await make_key(api, app)
    theirs = (await Client(app, api.keys["other"]).make("/v1/push-keys"))["public_key"]
    trader = await somebody(api, app, "trader")
    reply = await trader.client("POST", ME, phone.subscription(theirs))
    assert (reply.status, reply.json()["code"]) == (409, "conflict")


NO_SUBSCRIPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"endpoint": "https://metadata.example/latest"}, "endpoint"),
    ({"endpoint": "https://localhost@evil.example/a"}, "endpoint"),
    ({"endpoint": "https://u@localhost/a"}, "endpoint"),
    ({"endpoint": "https://localhost/a#b"}, "endpoint"),
    ({"endpoint": "https://[::1/aaaaa"}, "endpoint"),
    ({"p256dh": "B" + "A" * 86}, "p256dh"),
    ({"auth": "A" * 21 + "B"}, "auth"),
    ({"events": ["order.maybe"]}, "events"),
]


async def test_what_is_no_subscription_is_refused_with_its_place(
    api: Api, app: Any, phone: Browser
) -> None:
    key = await make_key(api, app)
    trader = await somebody(api, app, "trader")
    for members, field in NO_SUBSCRIPTIONS:
        reply = await trader.client("POST", ME, phone.subscription(key) | members)
        assert (reply.status, reply.json()["field"]) == (422, field), members
    assert (await trader.client.get(ME))["items"] == []


async def test_ten_devices_are_enough(api: Api, app: Any, phone: Browser) -> None:
    key = await make_key(api, app)
    trader = await somebody(api, app, "trader")
    for n in range(10):
        await trader.client.make(ME, **phone.subscription(key, endpoint=f"{phone.endpoint}/{n}"))
    reply = await trader.client("POST", ME, phone.subscription(key))
    assert reply.status == 409
    assert len((await trader.client.get(ME))["items"]) == 10


async def test_a_new_key_leaves_the_old_devices_until_they_are_ended(
    api: Api, app: Any, phone: Browser
) -> None:
    old = await make_key(api, app)
    trader = await somebody(api, app, "trader")
    made = await subscribed(trader, phone)
    new = await make_key(api, app)
    standing = await trader.client.get(ME)
    assert (standing["public_key"], standing["items"][0]["current_key"]) == (new, False)
    address = f"{ME}/{made['device_id']}/test"
    assert (await trader.client("POST", address)).json()["delivered"] is True
    assert phone.refused == [], "signed under the key that it was subscribed under"
    ended = await Client(app, api.keys["admin"]).make("/v1/push-keys", end_others=True)
    assert ended["ended"] == 1
    assert (await trader.client.get(ME))["items"] == []
    reply = await trader.client("POST", ME, phone.subscription(old))
    assert reply.status == 409, "the key is gone"


async def test_a_push_key_is_sealed_and_its_private_half_nowhere_else(api: Api, app: Any) -> None:
    key = await make_key(api, app)
    with psycopg.connect(api.database.superuser) as conn:
        ((sealed, tenant, key_id),) = conn.execute(
            "SELECT sealed, tenant_id, key_id FROM push_keys"
        ).fetchall()
    assert ("secret", tenant, str(key_id), "channel") in api.vault.sealed
    opened = await api.vault.open_secret(bytes(sealed), tenant_id=tenant, subject=str(key_id))
    assert len(opened) == 32
    assert read_b64(key, 65, "public_key")[0] == 4
    api.vault.away = True
    reply = await Client(app, api.keys["admin"])("POST", "/v1/push-keys", {})
    assert reply.status == 503


async def test_an_administrator_who_ends_a_persons_sessions_ends_their_devices(
    api: Api, app: Any, phone: Browser
) -> None:
    """A phone that was lost."""
    await make_key(api, app)
    trader = await somebody(api, app, "trader")
    await subscribed(trader, phone)
    admin = Client(app, api.keys["admin"])
    assert (await admin("DELETE", f"/v1/people/{trader.person}/sessions")).status == 200
    with psycopg.connect(api.database.superuser) as conn:
        assert conn.execute("SELECT count(*) FROM push_devices").fetchone() == (0,)


async def test_an_installation_without_push_says_so(api: Api, phone: Browser) -> None:
    """The API of these tests' ground has no sender at all."""
    trader, _, _ = await api.person("admin", "trader")
    assert (await trader.get(ME)) == {
        "public_key": None, "items": [],
        "why": "this installation sends no push messages: [admin.push]",
    }  # fmt: skip
    assert (await trader("POST", ME, phone.subscription("B" * 87))).status == 409


# ------------------------------------------------------------------ Slack-style channels


async def test_a_chats_address_is_put_once_used_and_never_shown(
    api: Api, app: Any, their: Receiver
) -> None:
    admin = Client(app, api.keys["admin"])
    made = await admin.make("/v1/channels", name="desk", kind="slack", severity="failures")
    assert (made["url"], "secret" in made) == (None, False)
    address = f"/v1/channels/{made['channel_id']}"
    told = (await admin("POST", f"{address}/test")).json()
    assert told["text"] == "the channel has no address: PUT …/address sets it"
    secret = f"{their.url}/T0/B0/geheim"
    put = await admin("PUT", f"{address}/address", {"url": secret})
    assert put.status == 200
    assert "geheim" not in put.body.decode()
    assert (await admin("POST", f"{address}/test")).json()["delivered"] is True
    assert msgspec.json.decode(their.arrivals[0].body)["text"].startswith("*admin: Test*")
    shown = [
        await admin.get(path)
        for path in (address, f"{address}/revisions", f"{address}/deliveries", "/v1/channels")
    ]
    assert "geheim" not in str(shown)
    assert shown[2]["secret_at"] is not None
    with psycopg.connect(api.database.superuser) as conn:
        rows = conn.execute(
            "SELECT sealed FROM channel_secrets UNION ALL SELECT payload FROM audit_inbox"
            " UNION ALL SELECT body FROM idempotency_keys"
        ).fetchall()
    assert not any(b"geheim" in bytes(row[0]) for row in rows)


async def test_another_address_takes_the_place_of_the_one_before_at_once(
    api: Api, app: Any, their: Receiver
) -> None:
    admin = Client(app, api.keys["admin"])
    made = await admin.make("/v1/channels", name="desk", kind="slack")
    address = f"/v1/channels/{made['channel_id']}"
    for path in ("old", "new"):
        reply = await admin("PUT", f"{address}/address", {"url": f"{their.url}/{path}"})
        assert reply.status == 200
    with psycopg.connect(api.database.superuser) as conn:
        live = conn.execute(
            "SELECT count(*) FROM channel_secrets WHERE expires_at IS NULL OR expires_at > now()"
        ).fetchone()
    assert live == (1,)


async def test_an_address_that_is_none_is_refused_without_being_repeated(
    api: Api, app: Any
) -> None:
    admin = Client(app, api.keys["admin"])
    made = await admin.make("/v1/channels", name="desk", kind="slack")
    for url in (
        "ftp://a.example/",
        "https://u:p@a.example/",
        "https://a b",
        "https://a.example/#x",
    ):
        reply = await admin("PUT", f"/v1/channels/{made['channel_id']}/address", {"url": url})
        assert (reply.status, reply.json()["field"]) == (422, "url")
        assert url not in reply.body.decode()


async def test_a_chat_channel_takes_no_address_of_the_open_kind_and_a_webhook_no_secret_one(
    api: Api, app: Any, their: Receiver
) -> None:
    admin = Client(app, api.keys["admin"])
    body = {"name": "desk", "kind": "slack", "url": their.url}
    assert (await admin("POST", "/v1/channels", body)).status == 422
    hook = await admin.make("/v1/channels", name="hook", kind="webhook", url=their.url)
    address = f"/v1/channels/{hook['channel_id']}/address"
    assert (await admin("PUT", address, {"url": their.url})).status == 409
