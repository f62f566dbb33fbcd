"""The routes of channels, at the real API with a real receiver."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from redis.asyncio import Redis
from standardwebhooks import Webhook

from gateway.admin.app import admin_app
from gateway.admin.limits_on_use import ApiRates, ApiRateSettings
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.sender import Sender
from gateway.notify.settings import NotifySettings
from gateway.rate import Rates
from hsm import ceremony
from hsm.enrol import encrypt_secret, unframed
from hsm.errors import SealBroken
from tenancy.clock import SystemClock
from tenancy.ids import new_id
from tests.fakes.receiver import Receiver
from tests.fakes.vault import Vault
from tests.fixtures.api import Api, Client
from tests.fixtures.softhsm import SoftHSM
from tests.fixtures.tls import Certificate
from tests.integration.notify.conftest import LOOPBACK

pytestmark = pytest.mark.stack


class VaultOpener:
    """The signer's half of the stand-in vault: opens what it sealed."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> bytes:
        assert ("secret", tenant_id, subject, "channel") in self._vault.sealed
        sha1 = hashes.SHA1()
        oaep = padding.OAEP(padding.MGF1(algorithm=sha1), algorithm=sha1, label=None)
        return unframed(self._vault._key.decrypt(sealed[::-1], oaep))


@pytest.fixture
async def admin(api: Api, certificate: Certificate) -> Client:
    """An administrator of an API that sends notifications."""
    settings = NotifySettings(
        allow_networks=LOOPBACK, ca_file=Path(certificate.certfile), timeout_s=2
    )
    sender = Sender(
        api.services.database, ChannelSecrets(VaultOpener(api.vault)), settings, SystemClock(),
        chance=random.random,
    )  # fmt: skip
    services = msgspec.structs.replace(api.services, notifier=sender)
    return Client(admin_app(services, checks={}), api.keys["admin"])


async def new_webhook(admin: Client, url: str, **more: Any) -> dict[str, Any]:
    return await admin.make("/v1/channels", name="desk", kind="webhook", url=url, **more)


async def test_a_webhook_s_secret_is_shown_once_and_nowhere_else(
    admin: Client, their: Receiver
) -> None:
    key = {"idempotency-key": "one"}
    body = {"name": "desk", "kind": "webhook", "url": their.url}
    made = await admin("POST", "/v1/channels", body, key)
    assert made.status == 201
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    again = await admin("POST", "/v1/channels", body, key)
    assert (again.status, again.json()["secret"]) == (201, None)
    address = f"/v1/channels/{made.json()['channel_id']}"
    assert "secret" not in await admin.get(address)
    assert secret not in str(await admin.get(f"{address}/revisions"))


async def test_the_secret_is_neither_in_the_database_nor_in_the_log(
    admin: Client, api: Api, their: Receiver
) -> None:
    made = await new_webhook(admin, their.url)
    with psycopg.connect(api.database.superuser) as conn:
        rows = conn.execute(
            "SELECT sealed FROM channel_secrets UNION ALL SELECT payload FROM audit_inbox"
            " UNION ALL SELECT body FROM idempotency_keys"
        ).fetchall()
    assert len(rows) >= 2
    assert not any(made["secret"].encode() in bytes(row[0]) for row in rows)


async def test_a_test_message_is_signed_and_says_what_the_other_side_answered(
    admin: Client, their: Receiver
) -> None:
    made = await new_webhook(admin, their.url)
    address = f"/v1/channels/{made['channel_id']}"
    their.moods = [500]
    failed = await admin("POST", f"{address}/test")
    assert (failed.status, failed.json()) == (
        200,
        {"delivered": False, "text": "answered 500", "status": 500, "excerpt": "so be it"},
    )
    assert (await admin("POST", f"{address}/test")).json()["delivered"] is True
    for arrival in their.arrivals:
        assert Webhook(made["secret"]).verify(arrival.body, arrival.headers)["type"] == "test"
    assert len(set(their.ids)) == 2
    standing = await admin.get(f"{address}/deliveries")
    assert (standing["state"], standing["attempts"]) == ("working", 0)


async def test_a_rotated_secret_has_its_predecessor_beside_it_and_no_third(
    admin: Client, their: Receiver
) -> None:
    made = await new_webhook(admin, their.url)
    address = f"/v1/channels/{made['channel_id']}"
    known = [made["secret"]]
    for _ in range(2):
        reply = await admin("POST", f"{address}/secrets", {"overlap_hours": 1})
        assert reply.status == 201
        known.append(reply.json()["secret"])
    await admin("POST", f"{address}/test")
    arrival = their.arrivals[-1]
    for secret in known[1:]:
        Webhook(secret).verify(arrival.body, arrival.headers)
    with pytest.raises(Exception, match="signature"):
        Webhook(known[0]).verify(arrival.body, arrival.headers)
    await admin("POST", f"{address}/secrets", {"overlap_hours": 0})
    await admin("POST", f"{address}/test")
    assert their.arrivals[-1].headers["webhook-signature"].count("v1,") == 1


async def test_the_deliveries_say_the_place_and_the_lag(
    admin: Client, api: Api, their: Receiver
) -> None:
    made = await new_webhook(admin, their.url)
    standing = await admin.get(f"/v1/channels/{made['channel_id']}/deliveries")
    assert (standing["next_index"], standing["lag"], standing["last_error"]) == (0, 0, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "webhook", "url": "https://u:p@example.com/"}, None),
        ({"kind": "webhook", "url": "https://example.com/", "events": ["order.maybe"]}, "events"),
        ({"kind": "email"}, None),
        ({"kind": "email", "recipients": ["a@example.com"], "color": "red"}, None),
    ],
)
async def test_what_makes_no_channel_is_refused(
    admin: Client, body: dict[str, Any], field: str | None
) -> None:
    reply = await admin("POST", "/v1/channels", {"name": "n", **body})
    assert (reply.status, reply.json()["code"]) == (422, "invalid")
    assert field is None or reply.json()["field"] == field


async def test_a_channel_is_changed_listed_and_archived_and_keeps_its_kind(
    admin: Client, their: Receiver
) -> None:
    made = await new_webhook(admin, their.url, events=["alert"])
    address = f"/v1/channels/{made['channel_id']}"
    changed = await admin.change(address, 1, severity="failures", events=["alert", "kill_switch"])
    assert (changed.status, changed.json()["events"]) == (200, ["alert", "kill_switch"])
    other = await admin.change(address, 2, kind="email", url=None, recipients=["a@example.com"])
    assert (other.status, other.json()["field"]) == (422, "kind")
    assert [c["name"] for c in (await admin.get("/v1/channels?kind=webhook"))["items"]] == ["desk"]
    assert (await admin.get("/v1/channels?kind=email"))["items"] == []
    assert (await admin.delete(address, 2)).status == 204
    assert (await admin("POST", f"{address}/test")).status == 409
    assert (await admin("POST", f"{address}/secrets", {})).status == 409
    await new_webhook(admin, their.url)  # the name is free again


async def test_an_email_channel_has_no_secret(admin: Client) -> None:
    made = await admin.make("/v1/channels", name="m", kind="email", recipients=["a@example.com"])
    assert "secret" not in made
    address = f"/v1/channels/{made['channel_id']}"
    assert (await admin("POST", f"{address}/secrets", {})).status == 409
    told = (await admin("POST", f"{address}/test")).json()
    assert (told["delivered"], told["text"]) == (
        False, "this installation has no mail server: [admin.smtp]",
    )  # fmt: skip


async def test_an_enroller_that_is_away_leaves_no_channel_behind(
    admin: Client, api: Api, their: Receiver
) -> None:
    api.vault.away = True
    body = {"name": "desk", "kind": "webhook", "url": their.url}
    assert (await admin("POST", "/v1/channels", body)).status == 503
    assert (await admin.get("/v1/channels"))["items"] == []


async def test_another_tenant_s_channel_is_not_there(
    admin: Client, api: Api, their: Receiver
) -> None:
    made = await new_webhook(admin, their.url)
    other = Client(admin.app, api.keys["other"])
    address = f"/v1/channels/{made['channel_id']}"
    for method, path, body in (
        ("GET", address, None), ("GET", f"{address}/deliveries", None),
        ("POST", f"{address}/test", None), ("POST", f"{address}/secrets", {}),
    ):  # fmt: skip
        assert (await other(method, path, body)).status == 404
    assert (await other.get("/v1/channels"))["items"] == []
    assert their.arrivals == []


async def test_a_tenant_has_no_more_channels_than_fit(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.admin.channels.CHANNELS_MOST", 1)
    await admin.make("/v1/channels", name="a", kind="email", recipients=["a@example.com"])
    body = {"name": "b", "kind": "email", "recipients": ["a@example.com"]}
    assert (await admin("POST", "/v1/channels", body)).status == 409


async def test_every_answer_of_the_api_says_what_is_left_and_a_refusal_when_to_come_back(
    api: Api, redis_client: Redis
) -> None:
    rates = ApiRates(
        Rates(redis_client, redis_timeout_s=1), api.services.database,
        ApiRateSettings(credential_reads=2, credential_writes=1), tenant=100,
    )  # fmt: skip
    services = msgspec.structs.replace(api.services, rates=rates)
    admin = Client(admin_app(services, checks={}), api.keys["admin"])
    replies = [await admin("GET", "/v1/channels") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[0].headers["ratelimit-policy"] == (
        '"credential-reads";q=2;w=60, "tenant-requests";q=100;w=60'
    )
    assert replies[0].headers["ratelimit"].startswith('"credential-reads";r=1;t=')
    wait = replies[2].headers["retry-after"]
    assert replies[2].headers["ratelimit"] == f'"credential-reads";r=0;t={wait}'
    assert replies[2].json()["code"] == "rate_limited"
    refused = await admin("POST", "/v1/channels", {"name": ""})
    assert refused.status == 422
    assert refused.headers["ratelimit"].startswith('"credential-writes";r=0;t=')


async def test_the_hsm_opens_a_channel_s_secret_for_its_own_tenant_and_subject_alone(
    vault: SoftHSM,
) -> None:
    ours, theirs, subject = new_id(), new_id(), str(new_id())
    for tenant in (ours, theirs):
        ceremony.create_tenant_keys(vault.settings, tenant)
    async with vault.enroller() as enroller, vault.signer() as signer:
        key = await enroller.public_key_pem()
        ciphertext = encrypt_secret(key, b"whsec_" + b"A" * 44)
        sealed = await enroller.seal_secret(ours, subject, "channel", ciphertext)
        opened = await signer.open_secret(sealed, tenant_id=ours, subject=subject)
        assert opened == b"whsec_" + b"A" * 44
        for tenant, name in ((theirs, subject), (ours, str(new_id()))):
            with pytest.raises(SealBroken):
                await signer.open_secret(sealed, tenant_id=tenant, subject=name)
