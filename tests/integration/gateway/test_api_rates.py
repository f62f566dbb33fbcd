"""Limits on use of the admin API: per credential and class, and per tenant."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
import psycopg
import pytest
from redis.asyncio import Redis

from gateway.admin import limits_on_use
from gateway.admin.app import admin_app
from gateway.admin.limits_on_use import ApiRates, ApiRateSettings
from gateway.rate import Rates
from tenancy.database import Database
from tests.fixtures import postgres as fixture
from tests.fixtures.api import Api, Client
from tests.fixtures.redis import RedisServer

pytestmark = pytest.mark.stack
SMALL = ApiRateSettings(credential_reads=5, credential_writes=3, address_requests=4)


def add_tenant(database: fixture.Database, settings: str = "{}") -> UUID:
    tenant = uuid.uuid4()
    with psycopg.connect(database.superuser, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenants (tenant_id, name, settings) VALUES (%s, %s, %s)",
            (tenant, str(tenant), settings),
        )
    return tenant


@pytest.fixture
async def admin(database: fixture.Database) -> AsyncIterator[Database]:
    pool = Database(database.conninfo("admin"), name="rates", size=2, acquire_timeout_s=0.5)
    await pool.open()
    yield pool
    await pool.close()


@pytest.fixture
def rates(admin: Database, redis_client: Redis) -> ApiRates:
    return ApiRates(Rates(redis_client, redis_timeout_s=1.0), admin, SMALL, tenant=9)


async def test_reading_and_writing_have_quotas_of_their_own(
    rates: ApiRates, database: fixture.Database
) -> None:
    tenant = add_tenant(database)
    reads = [await rates.take("key", tenant, "read") for _ in range(6)]
    writes = [await rates.take("key", tenant, "write") for _ in range(4)]
    assert [answer.allowed for answer in reads] == [True] * 5 + [False]
    assert [answer.allowed for answer in writes] == [True] * 3 + [False]
    assert reads[-1].policy == "credential-reads"
    assert [s.remaining for s in writes[0].standings] == [2, 3]
    assert writes[0].policy == "tenant-requests", "the tightest: 3 of 9 are less than 2 of 3"
    assert dict(writes[0].headers())["ratelimit-policy"] == (
        '"credential-writes";q=3;w=60, "tenant-requests";q=9;w=60'
    )


async def test_all_credentials_of_a_tenant_share_its_figure(
    rates: ApiRates, database: fixture.Database
) -> None:
    tenant, other = add_tenant(database), add_tenant(database)
    answers = [await rates.take(f"key-{n}", tenant, "read") for n in range(10)]
    assert [answer.allowed for answer in answers] == [True] * 9 + [False]
    assert answers[-1].policy == "tenant-requests"
    assert (await rates.take("key-0", other, "read")).allowed


async def test_a_tenant_s_own_figure_holds_when_it_was_changed(
    rates: ApiRates, database: fixture.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = add_tenant(database, '{"requests_per_minute": 2}')
    assert [(await rates.take(f"k{n}", tenant, "read")).allowed for n in range(3)] == [
        True, True, False,
    ]  # fmt: skip
    with psycopg.connect(database.superuser, autocommit=True) as conn:
        conn.execute("""UPDATE tenants SET settings = '{"requests_per_minute": 4}'""")
    monkeypatch.setattr(limits_on_use, "TENANT_S", 0.0)
    assert [(await rates.take(f"k{n}", tenant, "read")).allowed for n in range(3)] == [
        True, True, False,
    ]  # fmt: skip


async def test_postgres_away_leaves_the_product_s_limit(
    rates: ApiRates, database: fixture.Database, admin: Database
) -> None:
    await admin.close()
    tenant = uuid.uuid4()
    answers = [(await rates.take(f"key-{n}", tenant, "read")).allowed for n in range(10)]
    assert answers == [True] * 9 + [False]


async def test_redis_killed_leaves_each_process_counting_alone(
    rates: ApiRates, database: fixture.Database, redis_process: RedisServer
) -> None:
    tenant = add_tenant(database)
    try:
        assert all([(await rates.take("key", tenant, "write")).allowed for _ in range(3)])
        redis_process.stop()
        alone = [(await rates.take("key", tenant, "write")).allowed for _ in range(10)]
        assert alone == [True] * 3 + [False] * 7
    finally:
        redis_process.stop()
        redis_process.start()


async def test_who_shows_no_good_credential_is_counted_by_address(
    api: Api, rates: ApiRates
) -> None:
    """Signing in and guessing at keys share one quota; another address, and a good key, have their own."""
    services = msgspec.structs.replace(api.services, rates=rates)
    app = admin_app(services, checks={})
    guess = Client(app, f"pck_{'0' * 16}_{'A' * 43}")
    replies = [await guess("GET", "/v1/strategies") for _ in range(4)]
    assert {reply.status for reply in replies} == {401}
    assert replies[-1].headers["ratelimit"].startswith('"address-requests";r=0')
    over = await guess("GET", "/v1/strategies")
    assert (over.status, over.json()["code"]) == (429, "rate_limited")
    assert (await Client(app, "")("GET", "/v1/openapi.json")).status == 429
    assert (await Client(app, api.keys["admin"])("GET", "/v1/strategies")).status == 200
    assert (await rates.take_unsigned("192.0.2.8")).allowed


async def test_a_host_with_a_whole_ipv6_network_is_counted_as_one(rates: ApiRates) -> None:
    answers = [await rates.take_unsigned(f"2001:db8::{host}") for host in range(1, 6)]
    assert [answer.allowed for answer in answers] == [True] * 4 + [False]
    assert (await rates.take_unsigned("2001:db8:0:1::1")).allowed
