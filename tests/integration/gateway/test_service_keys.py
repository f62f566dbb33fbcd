"""Service keys: shown once, bounded by who makes them, and dead when revoked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.admin.service_keys import ServiceKeyDocument, gains
from tests.fixtures.api import Api, Client
from tests.integration.gateway.set_up import agree, guard, proposals

pytestmark = pytest.mark.stack


async def test_a_key_works_from_its_showing_to_its_revocation(api: Api):
    admin = api.as_("admin")
    made = await admin.make("/v1/service-keys", name="robot", scopes=["strategies:read"])
    robot = Client(api.app, made["key"])
    assert (await robot("GET", "/v1/strategies")).status == 200
    assert (await robot("GET", "/v1/accounts")).status == 403
    assert "key" not in await admin.get(f"/v1/service-keys/{made['key_id']}")
    assert (await admin.delete(f"/v1/service-keys/{made['key_id']}", 1)).status == 204
    assert (await robot("GET", "/v1/strategies")).status == 401
    assert (await admin.get(f"/v1/service-keys/{made['key_id']}"))["revoked_at"] is not None


async def test_a_key_is_shown_once(api: Api):
    admin, once = api.as_("admin"), {"idempotency-key": "k"}
    body = {"name": "robot", "scopes": ["strategies:read"]}
    first = (await admin("POST", "/v1/service-keys", body, once)).json()
    again = (await admin("POST", "/v1/service-keys", body, once)).json()
    assert first["key"].startswith(f"pck_{first['key_id']}_")
    assert again == {**first, "key": None}


async def test_an_expired_key_and_one_from_elsewhere_are_nobodys(api: Api):
    admin = api.as_("admin")
    for limits in ({"expires_at": "2020-01-01T00:00:00Z"}, {"sources": ["10.0.0.0/8"]}):
        body = {"name": "robot", "scopes": ["strategies:read"], **limits}
        made = await admin.make("/v1/service-keys", **body)
        assert (await Client(api.app, made["key"])("GET", "/v1/strategies")).status == 401
    here = {"name": "robot", "scopes": ["strategies:read"], "sources": ["192.0.2.0/24"]}
    made = await admin.make("/v1/service-keys", **here)
    assert (await Client(api.app, made["key"])("GET", "/v1/strategies")).status == 200


async def test_nobody_makes_or_takes_a_key_that_may_do_more_than_they(api: Api):
    """Not by making one, not by widening one, and not by putting their certificate on a stronger one."""
    admin = api.as_("admin")
    strong = await admin.make("/v1/service-keys", name="strong", scopes=["halts:write"])
    weak = await api.key("admin", {"keys:write", "keys:read"})
    address = f"/v1/service-keys/{strong['key_id']}"
    made = await weak("POST", "/v1/service-keys", {"name": "x", "scopes": ["halts:write"]})
    own = await weak.make("/v1/service-keys", name="x", scopes=["keys:read"])
    wider = await weak.change(f"/v1/service-keys/{own['key_id']}", 1, scopes=["halts:write"])
    mine = await weak.change(address, 1, certificate_sha256="ab" * 32)
    for reply in (made, wider, mine):
        assert (reply.status, reply.json()["code"]) == (403, "forbidden")
        assert "halts:write" in reply.json()["detail"]
    assert (
        await weak.change(address, 1, name="renamed", expires_at="2030-01-01T00:00:00Z")
    ).status == 200
    assert (await weak.delete(address, 2)).status == 204


async def test_a_certificate_stands_for_one_key(api: Api):
    admin, certificate = api.as_("admin"), {"certificate_sha256": "cd" * 32}
    await admin.make("/v1/service-keys", name="a", **certificate)
    reply = await admin("POST", "/v1/service-keys", {"name": "b", **certificate})
    assert (reply.status, reply.json()["code"]) == (409, "conflict")


async def test_with_four_eyes_a_key_is_shown_at_once_and_may_nothing_until_the_second_yes(api: Api):
    guard(api, "roles")
    admin = api.as_("admin")
    body = {"name": "robot", "scopes": ["strategies:read"]}
    reply = await admin("POST", "/v1/service-keys", body)
    assert (reply.status, reply.json()["status"]) == (202, "proposed")
    robot = Client(api.app, reply.json()["key"])
    assert (await robot("GET", "/v1/strategies")).status == 403
    assert proposals(api)[-1]["after"]["scopes"] == ["strategies:read"]
    assert await agree(api, reply.json()["proposal_id"]) is None
    assert (await robot("GET", "/v1/strategies")).status == 200
    key_id = reply.json()["key"].split("_")[1]
    address = f"/v1/service-keys/{key_id}"
    more = await admin.change(address, "*", scopes=["strategies:read", "orders:read"])
    assert more.status == 202
    assert (await admin.change(address, "*", scopes=[])).status == 200


BASE: dict[str, Any] = {
    "name": "k", "scopes": ("orders:read",), "sources": ("10.0.0.0/8",),
    "expires_at": "2030-01-01T00:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "stronger"),
    [
        ({"name": "other"}, False),
        ({"scopes": ()}, False),
        ({"scopes": ("orders:read", "signals:read")}, True),
        ({"sources": ("10.1.0.0/16",)}, False),
        ({"sources": ("10.0.0.0/7",)}, True),
        ({"sources": ("10.0.0.0/8", "::/0")}, True),
        ({"sources": ()}, True),
        ({"expires_at": "2029-01-01T00:00:00Z"}, False),
        ({"expires_at": "2031-01-01T00:00:00Z"}, True),
        ({"expires_at": None}, True),
        ({"certificate_sha256": "ab" * 32}, True),
    ],
)
def test_what_makes_a_key_stronger(change: dict[str, Any], stronger: bool):
    before = msgspec.convert(BASE, ServiceKeyDocument)
    assert gains(before, msgspec.convert({**BASE, **change}, ServiceKeyDocument)) is stronger
