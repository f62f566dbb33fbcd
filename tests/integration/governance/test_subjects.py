"""Data subjects: what is held is shown, nothing secret among it; erasure restricts, by two people."""

from __future__ import annotations

import psycopg
import pytest

from tests.fixtures.api import Api
from tests.fixtures.persons import People
from tests.integration.governance.house import records

pytestmark = pytest.mark.stack


async def test_an_export_holds_what_is_known_about_a_person_and_nothing_that_opens_anything(
    api: Api, people: People
):
    anna = await people("admin", ["admin"])
    await anna.make("/v1/strategies", name="annas")
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO passwords (person_id, tenant_id, hash) VALUES (%s, %s, '$argon2id$HASH')",
            (anna.person_id, api.tenant()),
        )
    compliance = await people("admin", ["compliance"])
    reply = await compliance("GET", f"/v1/people/{anna.person_id}/data")
    assert reply.status == 200, reply
    data = reply.json()
    assert (data["person"]["email"], data["complete"]) == ("p1@example.com", True)
    assert [row["kind"] for row in data["revisions"]] == ["strategy"]
    assert len(data["sessions"]) == 1
    for secret in (b"argon2", b"sha256", b"csrf", anna.key.encode()):
        assert secret not in reply.body
    (export,) = records(api, "export")
    assert (export["subject"], export["act"]["id"]) == (
        str(anna.person_id), str(compliance.person_id),
    )  # fmt: skip


async def test_an_export_holds_audit_entries_by_and_about_the_person_and_of_nobody_else(
    api: Api, people: People
):
    anna, ben = await people("admin", ["viewer"]), await people("admin", ["viewer"])
    for index, person in enumerate((anna, ben)):
        keep_entry(api, index, str(person.person_id))
    data = await anna.get("/v1/me/data")
    assert [entry["i"] for entry in data["audit_entries"]] == [0]
    assert data["audit_entries"][0]["payload"] == {"event": "login"}


def keep_entry(api: Api, index: int, person: str) -> None:
    """As the recorder keeps a record."""
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key)"
            " VALUES (%s, %s, 'o', 'o', %s) ON CONFLICT DO NOTHING",
            (api.tenant(), api.tenant(), bytes(32)),
        )
        leaf = b'{"act":{"id":"%s","kind":"human"},"pc":"%s"}' % (person.encode(), b"00" * 32)
        conn.execute(
            "INSERT INTO audit_leaves (log_id, i, tenant_id, leaf, leaf_hash)"
            " VALUES (%s, %s, %s, %s, %s)",
            (api.tenant(), index, api.tenant(), leaf, bytes(32)),
        )
        conn.execute(
            "INSERT INTO audit_payloads VALUES (%s, %s, %s, %s)",
            (api.tenant(), index, api.tenant(), b'{"event":"login","k_rec":"00"}'),
        )


async def test_one_sees_ones_own_data_and_not_anothers(api: Api, people: People):
    anna, ben = await people("admin", ["viewer"]), await people("admin", ["viewer"])
    assert (await anna.get("/v1/me/data"))["person"]["person_id"] == str(anna.person_id)
    assert (await anna("GET", f"/v1/people/{ben.person_id}/data")).status == 403
    stranger = await people("other", ["compliance"])
    assert (await stranger("GET", f"/v1/people/{anna.person_id}/data")).status == 404


async def test_a_correction_is_a_further_record(api: Api, people: People):
    anna = await people("admin", ["viewer"])
    body = {"statement": "the login of 3 May was not hers", "entry": 7}
    reply = await api.as_("admin")("POST", f"/v1/people/{anna.person_id}/corrections", body)
    assert reply.status == 204, reply
    record = records(api, "admin.change")[-1]
    assert (record["event"], record["entry"], record["id"]) == (
        "correction", 7, str(anna.person_id),
    )  # fmt: skip


async def test_an_erasure_restricts_after_a_second_yes_and_leaves_a_receipt(
    api: Api, people: People
):
    """Although the tenant guards no category at all."""
    anna = await people("admin", ["trader"])
    first, second = await people("admin", ["admin"]), await people("admin", ["admin"])
    address = f"/v1/people/{anna.person_id}"
    asked = await first("POST", f"{address}/erasure", {"reason": "she left"})
    assert asked.status == 202, asked
    assert (await anna.get("/v1/me"))["email"] == "p1@example.com"
    decision = f"/v1/proposals/{asked.json()['proposal_id']}/approve"
    assert (await first("POST", decision, {})).json()["code"] == "own_proposal"
    assert (await second("POST", decision, {})).status == 200
    left = await first.get(address)
    assert (left["email"], left["disabled"], left["roles"]) == (
        f"{anna.person_id}@erased.invalid", True, [],
    )  # fmt: skip
    assert (await anna("GET", "/v1/me")).status == 401
    receipt = records(api, "admin.change")[-1]
    assert (receipt["event"], receipt["restricted"], receipt["shredded"]) == (
        "erasure", True, False,
    )  # fmt: skip
    assert receipt["proposed_by"]["id"] == str(first.person_id)
    assert receipt["approved_by"]["id"] == str(second.person_id)
    named = await first("PATCH", address, {"email": "p1@example.com"}, {"if-match": "*"})
    assert named.status == 409, "one person does not undo what two agreed on"


async def test_evidence_is_not_shredded_within_its_retention_nor_is_that_pretended(
    api: Api, people: People
):
    anna = await people("admin", ["viewer"])
    address, body = f"/v1/people/{anna.person_id}/erasure", {"reason": "x", "shred": True}
    reply = await api.as_("admin")("POST", address, body)
    assert (reply.status, reply.json()["code"]) == (409, "within_retention")
    assert (await anna.get("/v1/me"))["email"] == "p1@example.com"
