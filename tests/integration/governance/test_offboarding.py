"""A customer's keys are destroyed after two operators agreed, and not before; the API itself destroys nothing."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.fixtures.api import Api, Client
from tests.integration.governance.house import records

pytestmark = pytest.mark.stack

REASON = {"reason": "the contract has ended"}


def address(api: Api, name: str = "admin") -> str:
    return f"/v1/tenants/{api.tenant(name)}/offboarding"


async def asked(api: Api, who: Client) -> str:
    reply = await who("POST", address(api), REASON)
    assert reply.status == 202, reply
    return str(reply.json()["proposal_id"])


def rows(api: Api) -> list[Any]:
    with psycopg.connect(api.database.superuser) as conn:
        return conn.execute("SELECT customer_id, reason, destroyed_at FROM offboardings").fetchall()


async def test_it_waits_for_a_second_operator_though_the_platform_guards_nothing(api: Api):
    first, _, _ = await api.person("platform", "operator")
    second, _, _ = await api.person("platform", "operator")
    proposal = await asked(api, first)
    assert rows(api) == []
    assert (await first("POST", f"/v1/proposals/{proposal}/approve", {})).status == 403
    assert rows(api) == []
    assert (await first("GET", address(api))).status == 404
    assert (await second("POST", f"/v1/proposals/{proposal}/approve", {})).status == 200
    assert rows(api) == [(api.tenant(), REASON["reason"], None)]
    shown = await first.get(address(api))
    assert shown["destroyed_at"] is None
    (change,) = [
        r for r in records(api, "admin.change", "platform") if r.get("object") == "offboarding"
    ]
    assert change["after"]["customer_id"] == str(api.tenant())
    assert change["approved_by"]["kind"] == "human"


async def test_a_no_leaves_nothing(api: Api):
    first, _, _ = await api.person("platform", "operator")
    second, _, _ = await api.person("platform", "operator")
    proposal = await asked(api, first)
    assert (await second("POST", f"/v1/proposals/{proposal}/reject", {})).status == 200
    assert rows(api) == []


async def test_it_is_agreed_once(api: Api):
    first, _, _ = await api.person("platform", "operator")
    second, _, _ = await api.person("platform", "operator")
    one, other = await asked(api, first), await asked(api, first)
    assert (await second("POST", f"/v1/proposals/{one}/approve", {})).status == 200
    await second("POST", f"/v1/proposals/{other}/approve", {})
    assert len(rows(api)) == 1
    assert (await first("POST", address(api), REASON)).status == 409


async def test_the_platform_itself_and_nobody_are_not_off_boarded(api: Api):
    operator, _, _ = await api.person("platform", "operator")
    assert (await operator("POST", address(api, "platform"), REASON)).status == 422
    nobody = "/v1/tenants/00000000-0000-0000-0000-000000000000/offboarding"
    assert (await operator("POST", nobody, REASON)).status == 404
    assert (await api.as_("admin")("POST", address(api), REASON)).status == 403
