"""Exports by the API: asked for, made by the clock, fetched; each step in the log, nothing of another's."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import uuid
import zipfile
from typing import Any

import msgspec
import psycopg
import pytest

from audit.export.check import verify_package
from audit.inbox import append
from audit.recorder import Recorder
from audit.verdict import OK
from gateway.admin.app import admin_app
from gateway.admin.export_jobs import make_exports, remove_exports
from gateway.admin.operations import OPERATIONS
from tenancy.clock import SystemClock
from tenancy.database import Database
from tests.fakes.note_signer import MemorySigner
from tests.fixtures.api import Api
from tests.fixtures.audit import entry
from tests.integration.gateway.ingress import http_scope
from tests.integration.governance.house import later

pytestmark = pytest.mark.stack

ADDRESS = "/v1/audit/exports"


class Log:
    """The audit logs of the API's tenants, and a recorder for them."""

    def __init__(self, api: Api) -> None:
        self.api, self.signer = api, MemorySigner()
        self.vkeys: dict[str, str] = {}
        with psycopg.connect(api.database.superuser) as conn:
            for name in ("admin", "other"):
                log_id = uuid.uuid4()
                conn.execute(
                    "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key)"
                    " VALUES (%s, %s, %s, 'k', %s)",
                    (log_id, api.tenant(name), f"test/{log_id}", self.signer.public_key),
                )

    async def write(self, tenant: str, count: int) -> None:
        api = self.api
        async with api.services.database.tenant(api.scopes[tenant]) as conn:
            await append(conn, [(api.tenant(tenant), entry(n, oid=tenant)) for n in range(count)])

    async def publish(self) -> None:
        pool = Database(self.api.database.conninfo("recorder"), name="recorder", size=3)
        await pool.open()
        archive = self.api.services.archive
        assert archive is not None
        await Recorder(pool, self.signer, archive.store, SystemClock()).drain()
        await pool.close()


@pytest.fixture
def log(api: Api) -> Log:
    return Log(api)


def events(api: Api) -> list[tuple[str, str]]:
    with psycopg.connect(api.database.superuser) as conn:
        rows = conn.execute(
            "SELECT payload, act FROM audit_inbox WHERE kind = 'export' ORDER BY seq"
        ).fetchall()
    return [(json.loads(payload)["event"], json.loads(act)["id"]) for payload, act in rows]


async def fetched(who: Any, path: str) -> bytes:
    """The bytes of a 200 by somebody who stays on the line until the last one has come."""
    sent: list[Any] = []
    scope = http_scope("GET", path, {"authorization": f"Bearer {who.key}"})

    async def send(message: Any) -> None:
        sent.append(message)

    messages: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    await who.app(scope, receive, send)
    assert sent[0]["status"] == 200, sent
    assert (b"content-type", b"application/zip") in sent[0]["headers"]
    return b"".join(message.get("body", b"") for message in sent[1:])


async def asked(who: Any, **wanted: Any) -> str:
    reply = await who("POST", ADDRESS, {"reason": "a question", **wanted})
    assert reply.status == 202, reply
    assert reply.json()["state"] == "asked"
    return str(reply.json()["export_id"])


async def test_an_export_is_made_fetched_and_verifies_and_each_step_is_in_the_log(
    api, log, tmp_path
):
    await log.write("admin", 30)
    await log.write("other", 30)
    await log.publish()
    who, person, _ = await api.person("admin", "compliance")
    export = await asked(who)
    assert (await who("GET", f"{ADDRESS}/{export}/file")).status == 409
    assert await make_exports(api.services) == 1
    shown = await who.get(f"{ADDRESS}/{export}")
    assert (shown["state"], shown["records"]) == ("made", 30)
    data = await fetched(who, f"{ADDRESS}/{export}/file")
    assert hashlib.sha256(data).hexdigest() == shown["sha256"]
    assert events(api) == [
        ("export_asked", person), ("export_made", person), ("export_fetched", person),
    ]  # fmt: skip
    package = tmp_path / "package"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(package)
    assert (
        hashlib.sha256((package / "manifest.json").read_bytes()).hexdigest()
        == (shown["manifest_sha256"])
    )
    made = verify_package(package, (package / "vkey").read_text())
    assert (made.verdict.code, made.complete) == (OK, (0, 30))
    assert b'"oid":"other"' not in b"".join(
        p.read_bytes() for p in package.rglob("*") if p.is_file()
    )


async def test_another_tenant_sees_and_fetches_nothing(api, log):
    await log.write("admin", 3)
    await log.publish()
    export = await asked(api.as_("admin"))
    await make_exports(api.services)
    other = api.as_("other")
    assert (await other("GET", f"{ADDRESS}/{export}")).status == 404
    assert (await other("GET", f"{ADDRESS}/{export}/file")).status == 404
    assert (await other.get(ADDRESS))["items"] == []


async def test_what_cannot_be_made_fails_with_its_reason_and_a_record(api, log):
    await log.write("admin", 3)
    await log.publish()
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute("UPDATE audit_payloads SET payload = payload || ' ' WHERE i = 2")
    export = await asked(api.as_("admin"))
    assert await make_exports(api.services) == 0
    shown = await api.as_("admin").get(f"{ADDRESS}/{export}")
    assert (shown["state"], "record 2" in shown["failure"]) == ("failed", True)
    assert [event for event, _ in events(api)] == ["export_asked", "export_failed"]
    assert (await api.as_("admin")("GET", f"{ADDRESS}/{export}/file")).status == 404
    assert list(api.services.archive.exports.glob("*")) == []


async def test_an_export_that_a_crash_left_half_made_is_made_by_the_next_turn(api, log):
    await log.write("admin", 3)
    await log.publish()
    export = await asked(api.as_("admin"))
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute("UPDATE audit_exports SET state = 'making', attempt = 1")
    (api.services.archive.exports / f"{export}.1.part").mkdir(parents=True)
    assert await make_exports(api.services) == 1
    assert (await api.as_("admin").get(f"{ADDRESS}/{export}"))["state"] == "made"


async def test_an_export_waits_while_the_log_has_no_checkpoint_yet(api, log):
    export = await asked(api.as_("admin"))
    assert await make_exports(api.services) == 0
    assert (await api.as_("admin").get(f"{ADDRESS}/{export}"))["state"] == "making"
    await log.publish()
    assert await make_exports(api.services) == 1


async def test_the_file_is_removed_after_its_week_and_the_row_stays(api, log):
    await log.write("admin", 3)
    await log.publish()
    export = await asked(api.as_("admin"))
    await make_exports(api.services)
    assert await remove_exports(later(api, 24 * 6)) == 0
    assert await remove_exports(later(api, 24 * 7.1)) == 1
    shown = await api.as_("admin").get(f"{ADDRESS}/{export}")
    assert (shown["state"], shown["records"]) == ("gone", 3)
    assert list(api.services.archive.exports.glob("*")) == []
    assert (await api.as_("admin")("GET", f"{ADDRESS}/{export}/file")).status == 404


async def test_a_choice_that_contradicts_itself_is_refused_at_once(api, log):
    reply = await api.as_("admin")("POST", ADDRESS, {
        "reason": "r", "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z",
    })  # fmt: skip
    assert (reply.status, reply.json()["field"]) == (422, "until")
    assert events(api) == []


async def test_too_many_that_wait_are_refused(api, log):
    for _ in range(10):
        await asked(api.as_("admin"))
    reply = await api.as_("admin")("POST", ADDRESS, {"reason": "r"})
    assert (reply.status, reply.json()["code"]) == (409, "export_pending")


async def test_a_process_without_the_store_says_so(api):
    services = msgspec.structs.replace(api.services, archive=None)
    bare = msgspec.structs.replace(
        api, services=services, app=admin_app(services, checks={}, operations=OPERATIONS)
    )
    assert (await bare.as_("admin")("POST", ADDRESS, {"reason": "r"})).status == 500
    assert await make_exports(services) == 0
