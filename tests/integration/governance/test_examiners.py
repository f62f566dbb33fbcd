"""Examiners are there by two people's yes, for their time, to look and to take records away; nothing else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.export import escrow
from gateway.admin.app import admin_app
from gateway.admin.operations import OPERATIONS
from tests.fixtures.api import Api, Client
from tests.integration.governance.house import records

pytestmark = pytest.mark.stack

KEY = X25519PrivateKey.generate()
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
WHO = {"email": "officer@example.com", "name": "Officer", "days": 30, "reason": "17a-4(f)(3)(v)"}
ADDRESS = "/v1/audit/examiners"


async def asked(who: Client, **more: Any) -> str:
    reply = await who("POST", ADDRESS, WHO | more)
    assert reply.status == 202, reply
    return str(reply.json()["proposal_id"])


async def appointed(api: Api, **more: Any) -> tuple[Client, dict[str, Any]]:
    """The administrator who asked, and the appointment that another agreed to."""
    first, _, _ = await api.person("admin", "admin")
    second, _, _ = await api.person("admin", "approver")
    proposal = await asked(first, **more)
    reply = await second("POST", f"/v1/proposals/{proposal}/approve", {})
    assert reply.status == 200, reply
    (one,) = (await first.get(ADDRESS))["items"]
    return first, one


def with_key(api: Api, key: bytes | None) -> Api:
    """The same, in a process that can reach the tenant's audit key."""

    async def audit_key(scope: Any) -> bytes:
        assert key is not None
        return key

    assert api.services.archive is not None
    archive = msgspec.structs.replace(api.services.archive, audit_key=audit_key)
    services = msgspec.structs.replace(api.services, archive=archive)
    app = admin_app(services, checks={}, operations=OPERATIONS)
    return msgspec.structs.replace(api, app=app, services=services)


async def test_nobody_is_appointed_by_one_person_though_the_tenant_guards_nothing(api: Api):
    first, _, _ = await api.person("admin", "admin")
    proposal = await asked(first)
    assert (await first("POST", f"/v1/proposals/{proposal}/approve", {})).status == 403
    assert (await first.get(ADDRESS))["items"] == []
    made = await first(
        "POST", "/v1/people", {"email": "e@example.com", "name": "E", "roles": ["examiner"]}
    )
    assert made.status == 422


async def test_two_people_appoint_and_the_person_is_invited_with_the_appointments_id(api: Api):
    first, one = await appointed(api)
    assert (one["live"], one["public_key_sha256"], one["days"]) == (True, None, 30)
    person = await first.get(f"/v1/people/{one['examiner_id']}")
    assert (person["roles"], person["state"]) == (["examiner"], "invited")
    invited = await first("POST", f"/v1/people/{one['examiner_id']}/invitation")
    assert invited.status == 201
    said = [r for r in records(api, "admin.change") if r.get("object") == "examiner"]
    assert (said[0]["approved_by"]["kind"], said[0]["after"]["reason"]) == ("human", WHO["reason"])


async def test_the_audit_key_is_in_escrow_for_their_key_and_nobody_sees_it(api: Api):
    api = with_key(api, b"\x07" * 32)
    first, one = await appointed(api, public_key=PEM)
    assert one["public_key_sha256"] == escrow.fingerprint(KEY.public_key())
    assert "escrow" not in one
    with psycopg.connect(api.database.superuser) as conn:
        (kept,) = conn.execute("SELECT escrow FROM audit_examiners").fetchone()
    assert escrow.decrypt(kept, KEY) == (api.tenant(), b"\x07" * 32)
    assert (b"\x07" * 32).hex() not in json.dumps(records(api, "admin.change"))
    del first


async def test_without_a_way_to_the_audit_key_nobody_is_appointed_and_the_proposal_waits(api: Api):
    first, _, _ = await api.person("admin", "admin")
    second, _, _ = await api.person("admin", "approver")
    proposal = await asked(first, public_key=PEM)
    reply = await second("POST", f"/v1/proposals/{proposal}/approve", {})
    assert reply.status == 503
    assert (await first.get(ADDRESS))["items"] == []
    assert (await first.get(f"/v1/proposals/{proposal}"))["state"] == "open"


async def test_a_key_that_is_too_weak_is_refused_before_anybody_is_asked(api: Api):
    first, _, _ = await api.person("admin", "admin")
    reply = await first("POST", ADDRESS, WHO | {"public_key": "no key"})
    assert (reply.status, reply.json()["field"]) == (422, "public_key")


async def test_an_examiner_looks_and_changes_nothing(api: Api):
    examiner, _, _ = await api.person("admin", "examiner")
    assert (await examiner("GET", "/v1/orders")).status == 200
    assert (await examiner("GET", "/v1/people")).status == 200
    assert (await examiner("POST", "/v1/audit/exports", {"reason": "r"})).status == 202
    assert (await examiner("POST", "/v1/strategies", {"name": "s"})).status == 403
    assert (await examiner("POST", ADDRESS, WHO)).status == 403


@pytest.mark.parametrize("how", ["its time is over", "somebody ended it"])
async def test_the_role_ends_with_the_appointment(api: Api, how: str):
    first, _, _ = await api.person("admin", "admin")
    examiner, person, _ = await api.person("admin", "examiner")
    if how == "somebody ended it":
        ended = await first("DELETE", f"{ADDRESS}/{person}")
        assert (ended.status, ended.json()["live"]) == (200, False)
        assert (await examiner("GET", "/v1/orders")).status == 401  # the session went with it
        assert (await first("DELETE", f"{ADDRESS}/{person}")).status == 409
    else:
        with psycopg.connect(api.database.superuser) as conn:
            conn.execute("UPDATE audit_examiners SET until = now()")
        assert (await examiner("GET", "/v1/orders")).status == 403


async def test_a_role_in_the_row_without_an_appointment_gives_nothing(api: Api):
    examiner, person, _ = await api.person("admin", "examiner")
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute("DELETE FROM audit_examiners")
    assert (await examiner("GET", "/v1/orders")).status == 403
    with psycopg.connect(api.database.superuser) as conn:
        row = conn.execute("SELECT roles FROM people WHERE person_id = %s", (person,)).fetchone()
    assert row == (["examiner"],)
