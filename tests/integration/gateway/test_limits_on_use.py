"""Limits on use at the public listener: a hook's own, its tenant's, and what the answers say of them."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from gateway.hooks.settings import HookSettings, RateSettings
from tests.fakes.hooks import BASE_URL, BODY, SeededHook, seed_hook, signed
from tests.fixtures.postgres import Database
from tests.integration.gateway.ingress import Ingress, Reply, ingress, post

pytestmark = pytest.mark.stack
SETTINGS = HookSettings(
    management_base_url=BASE_URL, rate=RateSettings(per_minute=60, per_hour=500, redis_timeout_s=1)
)


async def send(running: Ingress, hook: SeededHook) -> Reply:
    return await post(running.app, hook.path, signed(hook.secret, BODY), BODY)


def change(database: Database, statement: str, *values: object) -> None:
    with psycopg.connect(database.superuser, autocommit=True) as conn:
        conn.execute(statement, values)


async def test_a_hook_without_limits_of_its_own_has_the_installation_s(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, SETTINGS) as running:
        reply = await send(running, hook)
    assert reply.status == 202
    assert reply.headers["ratelimit-policy"] == '"hook-minute";q=60;w=60, "hook-hour";q=500;w=3600'
    assert reply.headers["ratelimit"].startswith('"hook-minute";r=59;t=')
    assert '"hook-hour";r=499;t=' in reply.headers["ratelimit"]


async def test_a_hook_s_own_limits_hold_within_a_second_of_their_change(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, SETTINGS) as running:
        assert (await send(running, hook)).status == 202
        change(
            database,
            "UPDATE hooks SET per_minute = 2, per_hour = 9 WHERE hook_id = %s",
            hook.hook_id,
        )
        await asyncio.sleep(0.2)  # the registry of these tests compares every 0.05 s
        assert (await send(running, hook)).status == 202
        refused = await send(running, hook)
    assert refused.status == 429
    assert refused.json()["code"] == "rate_limited"
    assert refused.json()["detail"] == "used up: hook-minute: 2 requests in a minute"
    assert refused.headers["ratelimit-policy"] == '"hook-minute";q=2;w=60, "hook-hour";q=9;w=3600'
    wait = int(refused.headers["retry-after"])
    assert refused.headers["ratelimit"] == f'"hook-minute";r=0;t={wait}'


async def test_a_tenant_s_limit_holds_over_all_its_hooks_and_over_no_other_s(
    database: Database, redis_server: str
) -> None:
    first, other = seed_hook(database.superuser), seed_hook(database.superuser, name="other")
    async with ingress(database.conninfo("ingress"), redis_server, SETTINGS) as running:
        assert "tenant-minute" not in (await send(running, first)).headers["ratelimit"]
        change(
            database,
            """UPDATE tenants SET settings = '{"signals_per_minute": 3}' WHERE tenant_id = %s""",
            first.tenant_id,
        )
        await asyncio.sleep(0.2)
        statuses = [(await send(running, first)).status for _ in range(4)]
        assert statuses == [202, 202, 202, 429]
        assert (await send(running, other)).status == 202


async def test_nobody_without_a_secret_learns_how_a_hook_stands(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, SETTINGS) as running:
        reply = await post(running.app, hook.path, {"content-type": "application/json"}, BODY)
    assert reply.status == 401
    assert not any(name.startswith("ratelimit") for name in reply.headers)


async def test_an_archived_hook_is_no_hook(database: Database, redis_server: str) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, SETTINGS) as running:
        assert (await send(running, hook)).status == 202
        change(database, "UPDATE hooks SET archived_at = now() WHERE hook_id = %s", hook.hook_id)
        await asyncio.sleep(0.2)
        assert (await send(running, hook)).status == 401
