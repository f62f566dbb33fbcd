"""A halted audit log goes on when two operators agree, and not before; who sees which halt."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.fixtures.api import Api, Client
from tests.integration.governance.house import records

pytestmark = pytest.mark.stack

REASON = {"reason": "the witness was restored from a backup"}


def halt(api: Api, whose: str, kind: str = "records") -> UUID:
    """As the recorder writes it; the tenants of these tests have no logs of their own."""
    halt_id, log_id, tenant = uuid4(), uuid4(), api.tenant(whose)
    with psycopg.connect(api.database.superuser) as conn:
        row = conn.execute(
            "SELECT log_id FROM audit_logs WHERE tenant_id = %s AND kind = %s", (tenant, kind)
        ).fetchone()
        if row is None:
            conn.execute(
                "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key, kind)"
                " VALUES (%s, %s, %s, 'k', %s, %s)",
                (log_id, tenant, f"halted.test/{log_id}", bytes(32), kind),
            )
            row = (log_id,)
        conn.execute(
            "INSERT INTO audit_halts (halt_id, log_id, tenant_id, source, why, evidence)"
            " VALUES (%s, %s, %s, 'witness', 'another history', 'a checkpoint')",
            (halt_id, row[0], tenant),
        )
    return halt_id


def stops(api: Api) -> list[Any]:
    with psycopg.connect(api.database.superuser) as conn:
        rows = conn.execute("SELECT what, id FROM find_stops() WHERE what IN ('audit', 'anchor')")
        return rows.fetchall()


async def asked(who: Client, halt_id: UUID) -> str:
    reply = await who("POST", f"/v1/audit-halts/{halt_id}/lift", REASON)
    assert reply.status == 202, reply
    return str(reply.json()["proposal_id"])


async def test_it_waits_for_a_second_operator_though_the_platform_guards_nothing(api: Api):
    first, _, _ = await api.person("platform", "operator")
    second, _, _ = await api.person("platform", "operator")
    halt_id = halt(api, "admin")
    assert stops(api) == [("audit", api.tenant("admin"))]
    proposal = await asked(first, halt_id)
    assert (await first("POST", f"/v1/proposals/{proposal}/approve", {})).status == 403
    assert stops(api)
    assert (await second("POST", f"/v1/proposals/{proposal}/approve", {})).status == 200
    assert stops(api) == []
    (shown,) = (await first.get("/v1/audit-halts"))["items"]
    assert (shown["halt_id"], shown["source"]) == (str(halt_id), "witness")
    assert shown["lifted_at"] is not None
    (change,) = [
        r for r in records(api, "admin.change", "platform") if r.get("object") == "audit_lift"
    ]
    assert change["after"]["halt_id"] == str(halt_id)
    assert change["approved_by"]["kind"] == "human"


async def test_a_halt_is_lifted_once_and_only_one_that_there_is(api: Api):
    first, _, _ = await api.person("platform", "operator")
    second, _, _ = await api.person("platform", "operator")
    halt_id = halt(api, "admin")
    one, other = await asked(first, halt_id), await asked(first, halt_id)
    assert (await second("POST", f"/v1/proposals/{one}/approve", {})).status == 200
    await second("POST", f"/v1/proposals/{other}/approve", {})
    assert (await first("POST", f"/v1/audit-halts/{halt_id}/lift", REASON)).status == 409
    assert (await first("POST", f"/v1/audit-halts/{uuid4()}/lift", REASON)).status == 404


async def test_a_customer_sees_its_own_halt_and_the_anchors_without_evidence_and_lifts_neither(
    api: Api,
):
    own, everybodys = halt(api, "admin"), halt(api, "platform", "anchor")
    platforms = halt(api, "platform")
    customer = api.as_("admin")
    items = {item["halt_id"]: item for item in (await customer.get("/v1/audit-halts"))["items"]}
    assert set(items) == {str(own), str(everybodys)}
    assert items[str(own)]["evidence"] == "a checkpoint"
    assert items[str(everybodys)]["evidence"] is None
    assert (await customer("POST", f"/v1/audit-halts/{own}/lift", REASON)).status == 403
    operator, _, _ = await api.person("platform", "operator")
    seen = {item["halt_id"] for item in (await operator.get("/v1/audit-halts"))["items"]}
    assert seen == {str(own), str(everybodys), str(platforms)}
    assert ("anchor", api.tenant("platform")) in stops(api)
