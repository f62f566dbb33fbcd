"""Drifts over the API: seen by their own tenant, decided once, by who may, by two where the tenant wants it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tenancy.ids import new_id
from tests.fixtures.api import Api
from tests.integration.gateway.set_up import agree, furnish, guard, rows

pytestmark = pytest.mark.stack


async def drift(api: Api, kind: str = "position", subject: str = "BTC_USDT") -> str:
    """An open one, as a worker leaves it, in an account with one follower."""
    found = rows(api, "SELECT account_id FROM accounts WHERE tenant_id = %s", api.tenant())
    account = found[0][0] if found else (await furnish(api))["accounts"]
    fresh = str(new_id())
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO drifts (drift_id, tenant_id, account_id, part, kind, subject, symbol, ours, theirs,"
            " cause, evidence, since) VALUES (%s, %s, %s, 3, %s, %s, %s, 3, 5, 'manual_order', '{}', now())",
            (fresh, api.tenant(), account, kind, subject,
             None if kind == "order" else subject),
        )  # fmt: skip
        conn.execute(
            "INSERT INTO reconciliations (tenant_id, account_id, state, at, epoch)"
            " VALUES (%s, %s, 'differs', now(), 1) ON CONFLICT DO NOTHING",
            (api.tenant(), account),
        )
    return fresh


def _wanted(decision: str, **more: Any) -> dict[str, Any]:
    return {"decision": decision, "reason": "the client bought two", **more}


async def test_a_decision_is_kept_with_who_and_why_and_waits_for_the_worker(api: Api):
    admin, one = api.as_("admin"), await drift(api)
    reply = await admin("POST", f"/v1/drifts/{one}/decision", _wanted("accept"))
    assert reply.status == 200, reply
    seen = await admin.get(f"/v1/drifts/{one}")
    assert seen == reply.json()
    assert (seen["ours"], seen["theirs"], seen["state"]) == ("3", "5", "open")
    decision = seen["decision"]
    assert (decision["decision"], decision["reason"]) == ("accept", "the client bought two")
    assert (decision["by"]["kind"], decision["outcome"]) == ("api", None)
    assert rows(api, "SELECT part, done_at FROM drift_decisions") == [(3, None)]
    again = await admin("POST", f"/v1/drifts/{one}/decision", _wanted("set_aside"))
    assert again.status == 409


async def test_with_four_eyes_a_decision_waits_and_a_halt_does_not(api: Api):
    admin, one = api.as_("admin"), await drift(api)
    guard(api, "drifts")
    asked = await admin("POST", f"/v1/drifts/{one}/decision", _wanted("accept"))
    assert asked.status == 202
    assert rows(api, "SELECT decision FROM drift_decisions") == []
    await agree(api, asked.json()["proposal_id"])
    assert rows(api, "SELECT decision FROM drift_decisions") == [("accept",)]
    other = await drift(api, subject="ETH_USDT")
    assert (await admin("POST", f"/v1/drifts/{other}/decision", _wanted("halt"))).status == 200


async def test_what_cannot_be_decided_is_refused_with_what_would_be_right(api: Api):
    admin, order = api.as_("admin"), await drift(api, kind="order", subject="b99")
    wrong = await admin("POST", f"/v1/drifts/{order}/decision", _wanted("correct"))
    assert (wrong.status, wrong.json()["field"]) == (422, "decision")
    stranger = _wanted("accept", strategy_id=str(new_id()))
    one = await drift(api)
    wrong = await admin("POST", f"/v1/drifts/{one}/decision", stranger)
    assert wrong.json()["field"] == "strategy_id"
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute("UPDATE drifts SET state = 'closed', ended_at = now()")
    late = await admin("POST", f"/v1/drifts/{one}/decision", _wanted("accept"))
    assert late.status == 409


async def test_drifts_and_comparisons_are_listed_for_their_own_tenant_alone(api: Api):
    admin, one = api.as_("admin"), await drift(api)
    (listed,) = (await admin.get("/v1/drifts?state=open"))["items"]
    assert listed["drift_id"] == one
    assert (await admin.get("/v1/drifts?state=closed"))["items"] == []
    account = listed["account_id"]
    (compared,) = (await admin.get(f"/v1/reconciliations?account_id={account}"))["items"]
    assert (compared["state"], compared["open_drifts"]) == ("differs", 1)
    stranger = api.as_("other")
    assert (await stranger.get("/v1/drifts"))["items"] == []
    assert (await stranger.get("/v1/reconciliations"))["items"] == []
    assert (await stranger("GET", f"/v1/drifts/{one}")).status == 404
