"""The management listener: keys, the wall, and the story of a signal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette

from gateway.admin.app import admin_app
from gateway.admin.operation import Services
from tenancy.clock import SystemClock
from tenancy.database import Database as Pool
from tenancy.ids import new_id
from tenancy.roles import scopes_of
from tenancy.scope import Actor, TenantScope
from tenancy.store.service_keys import create_service_key
from tenancy.values import TenantID
from tests.fakes.hooks import SeededHook, seed_hook
from tests.fakes.vault import Vault
from tests.fixtures.postgres import Database
from tests.integration.gateway.ingress import Reply, post

pytestmark = pytest.mark.stack


class Admin(msgspec.Struct):
    app: Starlette
    pool: Pool
    ours: SeededHook
    key: str
    theirs: SeededHook
    their_key: str

    async def get(self, path: str, key: str | None = None) -> Reply:
        headers = {} if key == "" else {"authorization": f"Bearer {key or self.key}"}
        return await post(self.app, path, headers, b"", method="GET")


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[Admin]:
    ours = seed_hook(database.superuser, name="ours")
    theirs = seed_hook(database.superuser, name="theirs")
    pool = Pool(database.conninfo("admin"), name="admin", size=2)
    await pool.open()
    keys = [await new_key(pool, hook.tenant_id) for hook in (ours, theirs)]

    async def well() -> str:
        return "15.8"

    app = admin_app(services_of(pool), checks={"postgresql": well}, registry=REGISTRY)
    yield Admin(app, pool, ours, keys[0], theirs, keys[1])
    await pool.close()


def services_of(pool: Pool) -> Services:
    vault = Vault()
    return Services(
        database=pool, redis=None, enroller=vault, signer=vault, clock=SystemClock(),
        brokers=("paper",), hooks_base_url="https://hooks.example",
    )  # fmt: skip


async def new_key(pool: Pool, tenant_id: UUID) -> str:
    scope = TenantScope(TenantID(tenant_id), Actor("human", "test"))
    async with pool.tenant(scope) as conn:
        return await create_service_key(conn, scope, "k", scopes_of("customer"))


def keep_signal(database: Database, hook: SeededHook, number: int = 0) -> UUID:
    signal_id = new_id()
    with psycopg.connect(database.superuser) as conn:
        conn.execute(
            "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, body,"
            " body_sha256, traceparent, received_at) VALUES (%s, %s, %s, %s, %s, 0, %s, %s, %s, now())",
            (
                signal_id, hook.tenant_id, hook.strategy_id, hook.hook_id, f"m{number}", b'{"a":1}',
                bytes(32), "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
            ),
        )  # fmt: skip
    return signal_id


def plan_and_trade(database: Database, hook: SeededHook, signal_id: UUID) -> tuple[UUID, UUID]:
    """Two accounts: one order with a fill, one without a position to close."""
    traded, idle = new_id(), new_id()
    entries: list[dict[str, Any]] = [
        {
            "account_id": str(traded),
            "place": 0,
            "broker": "paper",
            "reason": "ok",
            "legs": [{"leg": 0}],
        },
        {"account_id": str(idle), "place": 1, "broker": "paper", "reason": "no_position"},
    ]
    now = datetime.now(UTC)
    with psycopg.connect(database.superuser) as conn:
        for name, account in (("a", traded), ("b", idle)):
            conn.execute(
                "INSERT INTO accounts (account_id, tenant_id, name, broker, currency, part)"
                " VALUES (%s, %s, %s, 'paper', 'USDT', 0)",
                (account, hook.tenant_id, name),
            )
        conn.execute(
            "INSERT INTO plans (signal_id, tenant_id, strategy_id, version, seed, rotation, plan, planned_at)"
            " VALUES (%s, %s, %s, 1, 7, 0, %s, %s)",
            (
                signal_id,
                hook.tenant_id,
                hook.strategy_id,
                msgspec.json.encode({"entries": entries}).decode(),
                now,
            ),
        )
        conn.execute(
            "INSERT INTO orders (cl_ord_id, order_id, tenant_id, signal_id, strategy_id, account_id, part, leg,"
            " attempt, place, broker, symbol, side, order_qty, ord_type, price, time_in_force, deadline, state,"
            " epoch, intent_at, traceparent, cum_qty) VALUES ('abc.1', 'abc', %s, %s, %s, %s, 0, 0, 1, 0, 'paper',"
            " 'BTC_USDT', 'buy', 2, 'limit', 0.10, 'gtc', %s, 'filled', 1, %s, 't', 2)",
            (hook.tenant_id, signal_id, hook.strategy_id, traded, now, now),
        )
        conn.execute(
            "INSERT INTO execution_reports VALUES ('e1', 'abc.1', %s, %s, 'trade', 'filled', 2, 0.1, 2, %s, NULL)",
            (hook.tenant_id, traded, now),
        )
    return traded, idle


async def test_a_signal_shows_each_accounts_reason_orders_and_reports(
    admin: Admin, database: Database
) -> None:
    signal_id = keep_signal(database, admin.ours)
    traded, idle = plan_and_trade(database, admin.ours, signal_id)
    story = (await admin.get(f"/v1/signals/{signal_id}")).json()
    assert (story["signal_id"], story["status"], story["trace_id"], story["settings_version"]) == (
        str(signal_id), "accepted", "a" * 32, 1,
    )  # fmt: skip
    page = (await admin.get(f"/v1/signals/{signal_id}/outcome/accounts?limit=1")).json()
    (first,) = page["items"]
    rest = (
        await admin.get(f"/v1/signals/{signal_id}/outcome/accounts?cursor={page['next']}")
    ).json()
    (second,) = rest["items"]
    assert "next" not in rest
    assert (first["account_id"], first["state"], first["reason"]) == (str(traded), "filled", "ok")
    assert first["orders"][0]["price"] == "0.1"
    assert first["orders"][0]["reports"][0]["last_qty"] == "2"
    assert (second["account_id"], second["state"], second["reason"]) == (
        str(idle), "skipped", "no_position",
    )  # fmt: skip
    plan = (await admin.get(f"/v1/plans/{signal_id}")).json()
    assert (plan["settings_version"], plan["seed"]) == (1, "7")
    assert [(e["reason"], e["sentence"][:5]) for e in plan["entries"]] == [
        ("ok", ""),
        ("no_position", "There"),
    ]
    order = (await admin.get("/v1/orders/abc")).json()
    assert [attempt["cl_ord_id"] for attempt in order["attempts"]] == ["abc.1"]


async def test_another_tenants_ids_are_not_there(admin: Admin, database: Database) -> None:
    signal_id = keep_signal(database, admin.ours)
    plan_and_trade(database, admin.ours, signal_id)
    for path in (f"/v1/signals/{signal_id}", "/v1/orders/abc"):
        assert (await admin.get(path)).status == 200
        reply = await admin.get(path, admin.their_key)
        assert (reply.status, reply.json()["code"]) == (404, "not_found")
    assert (await admin.get("/v1/signals", admin.their_key)).json() == {"items": []}


@pytest.mark.parametrize("path", ["/v1/signals", f"/v1/signals/{UUID(int=1)}", "/v1/orders/abc"])
async def test_every_route_asks_for_a_key(admin: Admin, path: str, database: Database) -> None:
    wrong = admin.key[:-1] + ("A" if admin.key[-1] != "A" else "B")
    unknown = "pck_" + "0" * 16 + admin.key[20:]
    bodies = []
    for key in ("", wrong, unknown, "nonsense", admin.key + "x"):
        reply = await admin.get(path, key)
        assert (reply.status, reply.json()["code"]) == (401, "bad_key")
        assert "Bearer" in reply.headers["www-authenticate"]
        said = reply.json()
        assert said.pop("trace_id") == reply.headers["portcullis-trace-id"]
        if key in (wrong, unknown):
            bodies.append(said)
    assert bodies[0] == bodies[1]
    with psycopg.connect(database.superuser) as conn:
        conn.execute("UPDATE service_keys SET revoked_at = now()")
    assert (await admin.get(path)).status == 401


async def test_pages_follow_the_cursor_without_gap_or_repeat(
    admin: Admin, database: Database
) -> None:
    kept = [str(keep_signal(database, admin.ours, n)) for n in range(7)]
    seen: list[str] = []
    path = "/v1/signals"
    query = "limit=3"
    while query:
        reply = await get_query(admin, path, query)
        seen += [signal["signal_id"] for signal in reply["items"]]
        query = f"limit=3&cursor={reply['next']}" if "next" in reply else ""
    assert seen == sorted(kept, reverse=True)


async def get_query(admin: Admin, path: str, query: str) -> Any:
    async def with_query(scope: Any, receive: Any, send: Any) -> None:
        await admin.app({**scope, "query_string": query.encode()}, receive, send)

    reply = await post(
        with_query, path, {"authorization": f"Bearer {admin.key}"}, b"", method="GET"
    )
    return reply.json()


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%25", "cursor=AAAA"])
async def test_nonsense_in_the_query_is_named(admin: Admin, query: str) -> None:
    body = await get_query(admin, "/v1/signals", query)
    assert (body["status"], body["code"]) == (422, "invalid")
    assert query.split("=", maxsplit=1)[0] in body["detail"]


async def test_readiness_names_the_part_that_is_not_well(database: Database) -> None:
    async def broken() -> str:
        raise RuntimeError("the signer does not answer")

    async def well() -> str:
        return "ok"

    pool = Pool(database.conninfo("admin"), name="admin", size=1)
    app = admin_app(
        services_of(pool), checks={"postgresql": well, "signer": broken}, registry=REGISTRY
    )
    reply = await post(app, "/readyz", {}, b"", method="GET")
    assert reply.status == 503
    assert [(c["name"], c["ok"]) for c in reply.json()["checks"]] == [
        ("postgresql", True),
        ("signer", False),
    ]
    assert (await post(app, "/healthz", {}, b"", method="GET")).status == 200
    page = await post(app, "/metrics", {}, b"", method="GET")
    assert b"portcullis_hook_requests_total" in page.body
    await pool.close()


async def test_an_unknown_address_and_method_are_problem_documents(admin: Admin) -> None:
    reply = await admin.get("/v2/x")
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")
    reply = await post(admin.app, "/v1/signals", {}, b"", method="DELETE")
    assert (reply.status, reply.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in reply.headers["allow"]
