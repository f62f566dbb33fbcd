"""Operators let in: by a person of the customer's, for a reason and a time, seen in both logs."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from gateway.admin.app import admin_app
from gateway.admin.operations import OPERATIONS
from tests.fixtures.api import Api
from tests.fixtures.persons import People, Person
from tests.integration.gateway.ingress import Reply
from tests.integration.governance.house import LaterClock, records

pytestmark = pytest.mark.stack


class Visit(msgspec.Struct):
    """An operator who asked the customer `admin`."""

    api: Api
    operator: Person
    grant: str

    async def answer(self, who: Any, verb: str) -> Reply:
        return await who("POST", f"/v1/access/{self.grant}/{verb}")

    async def look(self, method: str = "GET", path: str = "/v1/strategies", **body: Any) -> Reply:
        headers = {"portcullis-tenant": str(self.api.tenant())}
        return await self.operator(method, path, body or None, headers)


async def asked(api: Api, people: People, minutes: int = 30) -> Visit:
    operator = await people("platform", ["operator"])
    made = await operator.make(
        "/v1/access", tenant_id=str(api.tenant()), reason="ticket 7", minutes=minutes
    )
    assert (made["state"], made["live"]) == ("asked", False)
    return Visit(api, operator, made["grant_id"])


async def test_an_operator_sees_nothing_before_a_person_of_the_tenant_lets_them_in(
    api: Api, people: People
):
    await api.as_("admin").make("/v1/strategies", name="trend")
    visit = await asked(api, people)
    assert (await visit.look()).status == 403
    compliance = await people("admin", ["compliance"])
    granted = await visit.answer(compliance, "grant")
    assert (granted.status, granted.json()["live"]) == (200, True)
    seen = await visit.look()
    assert [item["name"] for item in seen.json()["items"]] == ["trend"]


async def test_a_let_in_operator_looks_and_does_not_touch(api: Api, people: People):
    visit = await asked(api, people)
    await visit.answer(await people("admin", ["admin"]), "grant")
    headers = {"portcullis-tenant": str(api.tenant())}
    for operation in OPERATIONS:
        if operation.action in (None, "self") or operation.method == "GET":
            continue
        path = re.sub(r"{\w+}", "01890000-0000-7000-8000-000000000000", operation.path)
        reply = await visit.operator(operation.method, path, headers=headers)
        assert reply.status in (403, 404, 422, 415), (operation.name, reply)
        if not operation.question:
            assert reply.status == 403, (operation.name, reply)


async def test_every_request_of_a_let_in_operator_is_in_the_customers_log(api: Api, people: People):
    visit = await asked(api, people)
    await visit.answer(await people("admin", ["admin"]), "grant")
    before = len(records(api, "key.use"))
    await visit.look()
    await visit.look(path="/v1/tenant")
    uses = records(api, "key.use")[before:]
    assert [use["operation"] for use in uses] == ["list_strategies", "get_tenant"]
    assert {use["act"]["id"] for use in uses} == {str(visit.operator.person_id)}


async def test_it_ends_exactly_at_its_time(api: Api, people: People):
    visit = await asked(api, people, minutes=10)
    await visit.answer(await people("admin", ["admin"]), "grant")
    with psycopg.connect(api.database.superuser) as conn:
        row = conn.execute("SELECT expires_at FROM access_grants").fetchone()
    assert row is not None
    clock = StoppedClock(row[0] - timedelta(microseconds=1))
    services = msgspec.structs.replace(api.services, clock=clock)
    visit.operator.app = admin_app(services, checks={}, operations=OPERATIONS)
    assert (await visit.look()).status == 200
    clock.at = row[0]
    assert (await visit.look()).status == 403


class StoppedClock(LaterClock):
    def __init__(self, at: Any) -> None:
        super().__init__()
        self.at = at

    def now(self) -> Any:
        return self.at


async def test_it_is_revoked_at_once(api: Api, people: People):
    visit = await asked(api, people)
    admin = await people("admin", ["admin"])
    await visit.answer(admin, "grant")
    assert (await visit.look()).status == 200
    assert (await visit.answer(admin, "revoke")).json()["state"] == "revoked"
    assert (await visit.look()).status == 403
    assert (await visit.answer(admin, "grant")).status == 409


async def test_a_refused_operator_stays_outside(api: Api, people: People):
    visit = await asked(api, people)
    await visit.answer(await people("admin", ["admin"]), "refuse")
    assert (await visit.look()).status == 403


async def test_a_service_key_neither_asks_nor_lets_in(api: Api, people: People):
    body = {"tenant_id": str(api.tenant()), "reason": "ticket", "minutes": 5}
    reply = await api.as_("platform")("POST", "/v1/access", body)
    assert (reply.status, reply.json()["code"]) == (403, "person_needed")
    visit = await asked(api, people)
    reply = await visit.answer(api.as_("admin"), "grant")
    assert (reply.status, reply.json()["code"]) == (403, "person_needed")
    assert (await visit.look()).status == 403


async def test_only_the_tenant_that_was_asked_answers(api: Api, people: People):
    visit = await asked(api, people)
    assert (await visit.answer(await people("other", ["admin"]), "grant")).status == 404
    assert (await visit.answer(visit.operator, "grant")).status == 403
    trader = await people("admin", ["trader"])
    assert (await visit.answer(trader, "grant")).status == 403


async def test_another_operator_is_not_let_in_by_it(api: Api, people: People):
    visit = await asked(api, people)
    await visit.answer(await people("admin", ["admin"]), "grant")
    visit.operator = await people("platform", ["operator"])
    assert (await visit.look()).status == 403
    assert (await visit.operator.get("/v1/access"))["items"] == []


async def test_both_logs_tell_of_the_ask_and_of_the_answer(api: Api, people: People):
    visit = await asked(api, people)
    admin = await people("admin", ["admin"])
    await visit.answer(admin, "grant")
    await visit.answer(admin, "revoke")
    for tenant in ("admin", "platform"):
        (ask,) = records(api, "approval.asked", tenant)
        assert (ask["reason"], ask["act"]["id"]) == ("ticket 7", str(visit.operator.person_id))
        (given,) = records(api, "approval.given", tenant)
        assert (given["access"], given["act"]["id"]) == (visit.grant, str(admin.person_id))
        (ended,) = records(api, "approval.refused", tenant)
        assert ended["decision"] == "revoked"


async def test_an_operator_lists_what_they_asked_and_a_tenant_who_asked_it(
    api: Api, people: People
):
    visit = await asked(api, people)
    body = {"tenant_id": str(api.tenant("other")), "reason": "ticket 8", "minutes": 5}
    await visit.operator.make("/v1/access", **body)
    own = (await visit.operator.get("/v1/access"))["items"]
    assert [item["reason"] for item in own] == ["ticket 8", "ticket 7"]
    theirs = (await (await people("admin", ["admin"])).get("/v1/access"))["items"]
    assert [item["reason"] for item in theirs] == ["ticket 7"]


async def test_one_ask_waits_at_a_time_and_an_unknown_tenant_is_not_found(api: Api, people: People):
    visit = await asked(api, people)
    body = {"tenant_id": str(api.tenant()), "reason": "again", "minutes": 5}
    assert (await visit.operator("POST", "/v1/access", body)).status == 409
    body["tenant_id"] = "00000000-0000-7000-8000-000000000000"
    assert (await visit.operator("POST", "/v1/access", body)).status == 404


async def test_a_customer_cannot_name_another_tenant(api: Api, people: People):
    admin = await people("admin", ["admin"])
    reply = await admin("GET", "/v1/strategies", headers={
        "portcullis-tenant": str(api.tenant("other"))
    })  # fmt: skip
    assert reply.status == 403
