"""Tenants: what an operator sees and makes, and what a tenant sets about itself."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from tenancy.roles import scopes_of
from tests.fixtures.api import Api, Client
from tests.fixtures.persons import People
from tests.integration.governance.house import guard, records

pytestmark = pytest.mark.stack


def new_tenant(api: Api, name: str = "acme", **log: Any) -> dict[str, Any]:
    """A body whose keys are in the vault."""
    origin = f"portcullis.invalid/log/{uuid4().hex[:16]}"
    public = api.vault.add_log_key(origin, origin)
    return {
        "tenant_id": str(uuid4()),
        "name": name,
        "audit_log": {
            "log_id": str(uuid4()),
            "origin": origin,
            "key_label": origin,
            "public_key": base64.b64encode(public).decode(),
            **log,
        },
    }


async def test_an_operator_makes_a_tenant_whose_first_key_is_shown_once(api: Api):
    body = new_tenant(api)
    headers = {"idempotency-key": "one"}
    reply = await api.as_("platform")("POST", "/v1/tenants", body, headers)
    assert reply.status == 201, reply
    made = reply.json()
    key = made.pop("service_key")
    assert (made["tenant_id"], made["name"], made["kind"]) == (
        body["tenant_id"],
        "acme",
        "customer",
    )
    customer = Client(api.app, key)
    await customer.make("/v1/strategies", name="trend")
    assert (await customer.get("/v1/tenant"))["name"] == "acme"
    again = await api.as_("platform")("POST", "/v1/tenants", body, headers)
    assert (again.status, again.json()["service_key"]) == (201, None)


async def test_both_logs_tell_of_a_new_tenant(api: Api):
    body = new_tenant(api)
    await api.as_("platform").make("/v1/tenants", **body)
    ours = records(api, "admin.change", "platform")[-1]
    assert (ours["object"], ours["id"]) == ("tenant", body["tenant_id"])
    with psycopg.connect(api.database.superuser) as conn:
        rows = conn.execute(
            "SELECT payload FROM audit_inbox WHERE tenant_id = %s ORDER BY seq",
            (body["tenant_id"],),
        ).fetchall()
    told = [msgspec.json.decode(row[0])["object"] for row in rows]
    assert told == ["service_key", "tenant"]


async def test_a_customers_first_key_ends_by_itself_and_has_an_author(api: Api):
    """The operator who made the customer holds it: it is no way in for ever."""
    body = new_tenant(api)
    made = await api.as_("platform").make("/v1/tenants", **body, first_key_hours=2)
    with psycopg.connect(api.database.superuser) as conn:
        ((left, scopes, actor),) = conn.execute(
            "SELECT k.expires_at - now(), k.scopes, r.actor->>'id' FROM service_keys k"
            " JOIN revisions r ON r.object_id = k.key_id AND r.kind = 'service_key'"
            " WHERE k.tenant_id = %s",
            (body["tenant_id"],),
        ).fetchall()
        assert timedelta(hours=1.9) < left < timedelta(hours=2.1)
        assert set(scopes) == scopes_of("customer")
        assert actor == api.keys["platform"].split("_")[1]
        first = Client(api.app, made["service_key"])
        assert (await first("GET", "/v1/tenant")).status == 200
        conn.execute("UPDATE service_keys SET expires_at = now() - interval '1 s'")
        conn.commit()
    assert (await first("GET", "/v1/tenant")).status == 401


async def test_without_its_keys_there_is_no_tenant(api: Api):
    """Another public key, no log key, another origin, no tenant keys: nothing is written."""
    other = base64.b64encode(bytes(32)).decode()
    bodies = [
        new_tenant(api, public_key=other),
        new_tenant(api, key_label="nobody"),
        new_tenant(api, origin="portcullis.invalid/log/other"),
        new_tenant(api),
    ]
    api.vault.without_keys.add(UUID(bodies[-1]["tenant_id"]))
    for body in bodies:
        reply = await api.as_("platform")("POST", "/v1/tenants", body)
        assert (reply.status, reply.json()["code"]) == (409, "keys_missing"), reply
    listed = (await api.as_("platform").get("/v1/tenants"))["items"]
    assert "acme" not in [item["name"] for item in listed]


async def test_while_the_hsm_is_away_no_tenant_is_made(api: Api):
    body = new_tenant(api)
    api.vault.away = True
    reply = await api.as_("platform")("POST", "/v1/tenants", body)
    assert (reply.status, reply.json()["code"]) == (503, "unavailable")
    api.vault.away = False
    assert (await api.as_("platform")("POST", "/v1/tenants", body)).status == 201


async def test_a_name_an_id_or_a_log_in_use_is_refused(api: Api):
    first = new_tenant(api)
    await api.as_("platform").make("/v1/tenants", **first)
    for body, status in (
        ({**new_tenant(api), "name": "acme"}, 422),
        ({**new_tenant(api, "b"), "tenant_id": first["tenant_id"]}, 422),
        ({**new_tenant(api, "c"), "audit_log": first["audit_log"]}, 409),
    ):
        reply = await api.as_("platform")("POST", "/v1/tenants", body)
        assert reply.status == status, reply


async def test_an_operator_sees_that_a_tenant_is_there_and_nothing_of_its_trading(api: Api):
    platform = api.as_("platform")
    names = {item["name"] for item in (await platform.get("/v1/tenants"))["items"]}
    assert names == {"admin", "other", "platform"}
    entry = await platform.get(f"/v1/tenants/{api.tenant()}")
    assert set(entry) == {"tenant_id", "name", "kind", "state", "created_at"}
    assert (await platform("GET", f"/v1/tenants/{uuid4()}")).status == 404


@pytest.mark.parametrize("path", ["/v1/tenants", "/v1/tenants/{id}"])
async def test_a_customer_sees_no_tenants(api: Api, path: str):
    reply = await api.as_("admin")("GET", path.format(id=api.tenant("other")))
    assert reply.status == 403


async def test_a_customers_transaction_finds_no_other_tenant_through_the_operators_functions(
    api: Api,
):
    async with api.services.database.tenant(api.scopes["admin"]) as conn:
        cursor = await conn.execute("SELECT * FROM tenant_entry(%s)", (api.tenant("other"),))
        assert await cursor.fetchall() == []
        cursor = await conn.execute("SELECT * FROM find_access_asks('x', NULL, 10)")
        assert await cursor.fetchall() == []


async def test_a_tenant_sets_its_name_settings_and_limits(api: Api):
    admin = api.as_("admin")
    own = await admin.get("/v1/tenant")
    assert (own["tenant_id"], own["kind"]) == (str(api.tenant()), "customer")
    changed = await admin.change(
        "/v1/tenant", own["revision"], settings={"proposal_hours": 5},
        limits={"max_order_quantity": "9"},
    )  # fmt: skip
    assert changed.status == 200, changed
    assert changed.json()["limits"] == {"max_order_quantity": "9"}
    (revision,) = (await admin.get("/v1/tenant/revisions"))["items"]
    assert revision["after"]["settings"] == {"proposal_hours": 5}
    assert (await admin.change("/v1/tenant", 1, name="x")).status == 412
    assert (await api.as_("other").get("/v1/tenant"))["limits"] == {}


async def test_the_platform_sets_its_limits_in_the_same_way(api: Api):
    reply = await api.as_("platform").change("/v1/tenant", 1, limits={"max_order_quantity": "100"})
    assert reply.status == 200, reply


async def test_an_unknown_setting_is_refused(api: Api):
    reply = await api.as_("admin").change("/v1/tenant", "*", settings={"four_eye": ["limits"]})
    assert (reply.status, reply.json()["code"]) == (422, "invalid")


GUARDED = ("limits", "retention", "roles")


@pytest.mark.parametrize(
    ("patch", "reasons"),
    [
        ({"settings": {"retention_years": 5}}, ["retention"]),
        ({"limits": {"max_order_quantity": "11"}}, ["limits"]),
        ({"limits": {"max_order_quantity": None}}, ["limits"]),
        ({"settings": {"four_eyes": ["limits", "retention"]}}, ["roles"]),
        ({"settings": {"four_eyes": []}}, ["limits", "retention", "roles"]),
    ],
)
async def test_what_weakens_the_tenants_own_rules_needs_a_second_person(
    api: Api, people: People, patch: dict[str, Any], reasons: list[str]
):
    admin = api.as_("admin")
    assert (await admin.change("/v1/tenant", 1, limits={"max_order_quantity": "10"})).status == 200
    guard(api, *GUARDED)
    reply = await admin.change("/v1/tenant", 2, **patch)
    assert reply.status == 202, reply
    proposal = await admin.get(f"/v1/proposals/{reply.json()['proposal_id']}")
    assert (proposal["kind"], proposal["reasons"]) == ("tenant", reasons)
    second = await people("admin", ["admin"])
    decided = await second("POST", f"/v1/proposals/{proposal['proposal_id']}/approve", {})
    assert (decided.status, decided.json()["state"]) == (200, "applied"), decided
    assert (await admin.get("/v1/tenant"))["revision"] == 3


async def test_what_strengthens_them_does_not_wait(api: Api):
    admin = api.as_("admin")
    guard(api, "limits")
    reply = await admin.change(
        "/v1/tenant", 1, limits={"max_order_quantity": "10"},
        settings={"retention_years": 10, "four_eyes": ["limits", "roles"]},
    )  # fmt: skip
    assert reply.status == 200, reply
