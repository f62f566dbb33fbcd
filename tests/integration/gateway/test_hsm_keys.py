"""The calendar of keys: who sees which, what is due, and that it is told once soon and once overdue."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import psycopg
import pytest
from prometheus_client import REGISTRY

from gateway.admin import sealed_rows
from gateway.admin.event_kinds import alert_of, facts
from gateway.admin.key_calendar import warn_of_keys
from hsm.envelope import SealedKey, pack
from tests.fixtures.api import Api
from tests.integration.governance.house import later, records

pytestmark = pytest.mark.stack


def say(api: Api, query: str, *values: Any) -> list[Any]:
    with psycopg.connect(api.database.superuser) as conn:
        cursor = conn.execute(query.encode(), values)
        return cursor.fetchall() if cursor.description else []


def rotated(api: Api, version: int = 2) -> None:
    say(
        api,
        "UPDATE hsm_keys SET state = 'old'"
        " WHERE kind = 'kek' AND state = 'current' AND tenant_id = %s",
        api.tenant(),
    )
    say(
        api,
        "INSERT INTO hsm_keys (tenant_id, kind, version, label, due_at)"
        " VALUES (%s, 'kek', %s, 'k', now() + interval '1 year')",
        api.tenant(), version,
    )  # fmt: skip


async def test_a_tenant_sees_its_own_keys_and_the_platform_all_of_them(api: Api):
    own = await api.as_("admin").get("/v1/tenant/keys")
    assert [(k["kind"], k["version"], k["state"]) for k in own["keys"]] == [("kek", 1, "current")]
    every = await api.as_("platform").get("/v1/platform/keys?limit=100")
    found = {(one["tenant"], one["kind"]) for one in every["items"]}
    assert found == {
        ("admin", "kek"), ("other", "kek"), ("platform", "kek"), ("platform", "enrol"),
    }  # fmt: skip
    assert (await api.as_("admin")("GET", "/v1/platform/keys")).status == 403


async def test_the_operators_calendar_comes_in_pages_without_a_gap(api: Api):
    platform, seen, cursor = api.as_("platform"), [], ""
    while True:
        page = await platform.get(f"/v1/platform/keys?limit=1{cursor}")
        seen += [(one["tenant"], one["kind"], one["version"]) for one in page["items"]]
        if "next" not in page:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == len(set(seen)) == 4
    assert (await platform("GET", "/v1/platform/keys?cursor=nonsense")).status == 422


async def test_nobody_sees_the_calendar_of_all_but_from_within_the_platform(api: Api):
    """Not even with SQL under the admin's role: the function asks where it is called from."""
    for name, wanted in (("admin", 0), ("platform", 4)):
        async with api.services.database.tenant(api.scopes[name]) as conn:
            cursor = await conn.execute("SELECT * FROM find_hsm_keys(NULL, NULL, NULL, 100)")
            assert len(await cursor.fetchall()) == wanted


async def test_a_secret_under_an_old_version_is_due_until_it_is_put_again(api: Api):
    admin = api.as_("admin")
    account = (await admin.make("/v1/accounts", name="a", broker="gateio", currency="USDT"))[
        "account_id"
    ]

    def put(version: int) -> None:
        row = SealedKey(api.tenant(), account, "gateio", version, bytes(72), bytes(32))
        say(api, "UPDATE credentials SET revoked_at = now()")
        say(
            api,
            "INSERT INTO credentials (credential_id, tenant_id, account_id, broker, api_key, sealed, state)"
            " VALUES (%s, %s, %s, 'gateio', 'k', %s, 'live')",
            uuid4(), api.tenant(), account, pack(row),
        )  # fmt: skip

    put(1)
    assert (await admin.get("/v1/tenant/keys"))["reenrolment_due"] == []
    rotated(api)
    (due,) = (await admin.get("/v1/tenant/keys"))["reenrolment_due"]
    assert (due["source"], due["owner_id"], due["kek_version"]) == ("credential", account, 1)
    assert (await admin.get(f"/v1/accounts/{account}/credential"))["reenrolment_due"] is True
    put(2)
    shown = await admin.get("/v1/tenant/keys")
    assert shown["reenrolment_due"] == []
    assert {k["version"]: k["rows"] for k in shown["keys"]} == {1: 0, 2: 1}
    assert (await admin.get(f"/v1/accounts/{account}/credential"))["reenrolment_due"] is False


def test_a_row_that_nobody_can_read_keeps_every_version():
    rows = [sealed_rows.SealedRow("factor", "f", "p", sealed_rows.version(b"?"), b"?")]
    assert sealed_rows.needing(rows, 1) == sealed_rows.needing(rows, 7) == rows
    assert sealed_rows.below(rows, 7) == []


async def test_every_table_that_keeps_sealed_rows_is_counted(api: Api):
    """A new table that is missing here would lose its secrets to the next retirement."""
    found = {
        row[0]
        for row in say(
            api,
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND column_name LIKE '%%sealed%%'",
        )
    }
    asked = {
        name for name in found if any(f"FROM {name}" in q for q in sealed_rows.SOURCES.values())
    }
    assert found == asked
    assert set(sealed_rows.SOURCES) == set(get_args(sealed_rows.Source))
    assert len(found) == len(sealed_rows.SOURCES)


async def test_a_key_is_told_of_once_soon_and_once_overdue(api: Api):
    say(api, "UPDATE hsm_keys SET due_at = now() + interval '400 days'")
    assert await warn_of_keys(api.services) == 0
    due = datetime.now(UTC) + timedelta(days=20)
    say(
        api,
        "UPDATE hsm_keys SET due_at = %s WHERE kind = 'kek' AND tenant_id = %s",
        due,
        api.tenant(),
    )
    assert await warn_of_keys(api.services) == 1
    assert await warn_of_keys(api.services) == 0
    (soon,) = records(api, "key.rotation")
    assert soon["event"] == "key_due_soon"
    assert datetime.fromisoformat(soon["due_at"]) == due
    assert records(api, "key.rotation", "other") == []
    afterwards = later(api, 21 * 24)
    assert await warn_of_keys(afterwards) == 1
    assert await warn_of_keys(afterwards) == 0
    assert [one["event"] for one in records(api, "key.rotation")] == ["key_due_soon", "key_overdue"]
    alert = alert_of("key.rotation", soon)
    assert alert is not None
    assert alert.name == "key_due"
    assert facts("key.rotation", soon)["key"] == soon["key"]
    assert REGISTRY.get_sample_value(
        "portcullis_hsm_key_due_timestamp_seconds", {"kind": "kek"}
    ) == pytest.approx(due.timestamp(), abs=1)


async def test_a_key_that_was_replaced_is_due_no_more(api: Api):
    say(
        api,
        "UPDATE hsm_keys SET due_at = now() - interval '1 day' WHERE kind = 'kek' AND tenant_id = %s",
        api.tenant(),
    )
    rotated(api)
    assert await warn_of_keys(api.services) == 0


async def test_a_destroyed_key_never_comes_back_and_a_number_is_used_once(api: Api):
    rotated(api)
    own = "tenant_id = %s AND kind = 'kek' AND version = 1"
    say(
        api,
        f"UPDATE hsm_keys SET state = 'destroyed', destroyed_at = now() WHERE {own}",
        api.tenant(),
    )
    with pytest.raises(psycopg.errors.RaiseException, match="does not become old again"):
        say(
            api, f"UPDATE hsm_keys SET state = 'old', destroyed_at = NULL WHERE {own}", api.tenant()
        )
    with pytest.raises(psycopg.errors.UniqueViolation):
        rotated(api, version=1)


def test_the_alarm_rules_ask_for_metrics_that_exist():
    """Their words alone: promtool, which reads the whole of it, is no dependency."""
    text = (Path(__file__).parents[3] / "ops/alerts/keys.yml").read_text()
    assert text.count("- alert:") == text.count("expr:") == text.count("severity:") == 3
    names = set(re.findall(r"portcullis_[a-z_]+", text))
    assert names == {"portcullis_hsm_key_due_timestamp_seconds"}
    assert names <= {metric.name for metric in REGISTRY.collect()}
