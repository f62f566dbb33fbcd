"""The wall between tenants, tried by SQL under the roles that the processes really use."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tenancy.database import Connection, Database
from tenancy.ids import new_id
from tenancy.people import Person
from tenancy.roles import scopes_of
from tenancy.scope import Actor, TenantScope
from tenancy.sessions import limits_of
from tenancy.store.accounts import create_account, put_credential
from tenancy.store.audit_logs import create_audit_log
from tenancy.store.factors import put_recovery
from tenancy.store.hooks import add_secret, create_hook
from tenancy.store.people import create_person, invite, put_password
from tenancy.store.service_keys import create_service_key
from tenancy.store.sessions import begin_step, open_session
from tenancy.store.strategies import create_strategy
from tenancy.store.subscriptions import create_subscription
from tenancy.store.tenants import create_tenant
from tenancy.subscription import SubscriptionSettings
from tests.fixtures import postgres as fixture

SOMEBODY = Actor(kind="human", id="test")


async def furnish(admin: Database, name: str) -> TenantScope:
    """A tenant with a row in every table that people fill."""
    scope = await create_tenant(admin, name, SOMEBODY)
    async with admin.tenant(scope) as conn:
        strategy = await create_strategy(conn, scope, "trend")
        hook = await create_hook(conn, scope, strategy)
        await add_secret(conn, scope, hook, new_id(), sealed=b"sealed")
        account = await create_account(
            conn, scope, "client", broker="paper", currency="USDT", stated_equity=Decimal(1)
        )
        await put_credential(conn, scope, account, broker="paper", api_key="k", sealed=b"s")
        await create_subscription(conn, scope, strategy, account, settings=SubscriptionSettings())
        await create_service_key(conn, scope, "key", scopes_of("customer"))
        await create_audit_log(
            conn, scope, new_id(), origin=f"{name}.invalid", key_label=name, public_key=b"k" * 32
        )
        await furnish_people(conn, scope)
    return scope


async def furnish_people(conn: Connection, scope: TenantScope) -> None:
    """Somebody who is invited, signed in, half-way in, has a second factor and is at a provider."""
    now = datetime.now(UTC)
    person = await create_person(conn, scope, Person(email="ada@example.com", name="Ada"))
    await invite(conn, scope, person, now)
    await put_password(conn, scope, person, "$argon2id$", now)
    await put_recovery(conn, scope, person, [bytes(32)], now)
    await open_session(
        conn, scope, person, transport="cookie", second_factor=False, client="", user_agent="",
        limits=limits_of("{}"), now=now,
    )  # fmt: skip
    await begin_step(conn, scope, person, subject=bytes(32), transport="cookie", now=now)
    await conn.execute(
        "INSERT INTO oidc_requests VALUES (%s, %s, 'idp', %s, 'n', 'v', %s)",
        (secrets.token_bytes(32), scope.tenant_id, bytes(32), now),
    )


@pytest.fixture
async def two(database: fixture.Database) -> AsyncIterator[tuple[TenantScope, TenantScope]]:
    admin = Database(database.conninfo("admin"), name="admin", size=2)
    await admin.open()
    yield await furnish(admin, "A"), await furnish(admin, "B")
    await admin.close()


async def tables(database: fixture.Database, role: str, privilege: str) -> list[str]:
    """The tables with a tenant's column on which the role has the privilege (on any column)."""
    async with await psycopg.AsyncConnection.connect(database.superuser) as conn:
        rows = await (
            await conn.execute(
                "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
                " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
                " AND a.attname = 'tenant_id' AND has_column_privilege(%s, c.oid, a.attnum, %s)"
                " ORDER BY c.relname",
                (f"portcullis_{role}", privilege),
            )
        ).fetchall()
    return [row[0] for row in rows]


async def seen(conninfo: str, table: str, scope: TenantScope | None) -> set[UUID]:
    """Whose rows of the table a session of that scope is shown."""
    async with await psycopg.AsyncConnection.connect(conninfo) as conn:
        if scope is not None:
            await conn.execute(
                "SELECT set_config('portcullis.tenant_id', %s, true)", (str(scope.tenant_id),)
            )
        query: Any = f"SELECT DISTINCT tenant_id FROM {table}"
        return {row[0] for row in await (await conn.execute(query)).fetchall()}


FILLED = {
    "tenants", "strategies", "hooks", "hook_secrets", "accounts", "credentials", "subscriptions",
    "service_keys", "audit_logs", "people", "passwords", "factors", "invitations", "sessions",
    "login_steps", "oidc_requests", "hsm_keys",
}  # fmt: skip


async def test_a_scope_shows_its_own_rows_of_every_table_and_no_others(database, two):
    own, _ = two
    readable = await tables(database, "admin", "SELECT")
    assert set(readable) >= FILLED
    for table in readable:
        found = await seen(database.conninfo("admin"), table, own)
        assert found == ({own.tenant_id} if table in FILLED else set()), table


async def test_without_a_scope_nothing_is_shown(database, two):
    for role in ("admin", "worker"):
        for table in await tables(database, role, "SELECT"):
            assert await seen(database.conninfo(role), table, None) == set(), (role, table)


async def test_a_worker_sees_one_tenant_at_a_time(database, two):
    _, other = two
    for table in set(await tables(database, "worker", "SELECT")) & FILLED:
        found = await seen(database.conninfo("worker"), table, other)
        assert found == {other.tenant_id}, table


async def test_nobody_writes_into_another_tenant(database, two):
    own, other = two
    async with await psycopg.AsyncConnection.connect(database.conninfo("admin")) as conn:
        await conn.execute(
            "SELECT set_config('portcullis.tenant_id', %s, true)", (str(own.tenant_id),)
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await conn.execute(
                "INSERT INTO strategies (strategy_id, tenant_id, name, part) VALUES (%s, %s, 'x', 1)",
                (new_id(), other.tenant_id),
            )
        await conn.rollback()
        await conn.execute(
            "SELECT set_config('portcullis.tenant_id', %s, true)", (str(own.tenant_id),)
        )
        changed = await conn.execute(
            "UPDATE accounts SET state = 'halted' WHERE tenant_id = %s", (other.tenant_id,)
        )
        assert changed.rowcount == 0


async def test_a_scope_ends_with_its_transaction(database, two):
    """A connection that goes back to the pool carries nothing to the next user."""
    own, _ = two
    admin = Database(database.conninfo("admin"), name="one", size=1)
    await admin.open()
    async with admin.tenant(own) as conn:
        assert await (await conn.execute("SELECT count(*) FROM accounts")).fetchone() == (1,)
    async with admin.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM accounts")).fetchone() == (0,)
    await admin.close()


@pytest.mark.parametrize(
    "poison",
    [
        "SET portcullis.tenant_id = '01890000-0000-7000-8000-000000000000'",
        "SET search_path = pg_catalog",
        "BEGIN",
        "BEGIN; SET LOCAL portcullis.tenant_id = '01890000-0000-7000-8000-000000000000'",
    ],
)
async def test_a_connection_that_carries_something_is_not_given_to_the_next(database, poison):
    admin = Database(database.conninfo("admin"), name="one", size=1)
    await admin.open()
    async with admin.connection() as conn:
        poisoned = conn.info.backend_pid
        await conn.execute(poison.encode())
    for _ in range(2):
        async with admin.connection() as conn:
            assert conn.info.backend_pid != poisoned
            assert conn.info.transaction_status == TransactionStatus.IDLE
            row = await (
                await conn.execute(
                    "SELECT coalesce(current_setting('portcullis.tenant_id', true), ''), current_user,"
                    " current_setting('search_path')"
                )
            ).fetchone()
            assert row == ("", "portcullis_admin", '"$user", public')
    await admin.close()


async def test_a_connection_under_another_role_is_not_given_to_the_next(database):
    """No role of a process may become another; the superuser stands in for a grant gone wrong."""
    pool = Database(database.superuser, name="one", size=1)
    await pool.open()
    async with pool.connection() as conn:
        poisoned = conn.info.backend_pid
        await conn.execute("SET ROLE portcullis_admin")
    async with pool.connection() as conn:
        assert conn.info.backend_pid != poisoned
    await pool.close()


async def test_a_clean_connection_is_used_again(database, two):
    own, _ = two
    admin = Database(database.conninfo("admin"), name="one", size=1)
    await admin.open()
    pids = set()
    for _ in range(3):
        async with admin.tenant(own) as conn:
            pids.add(conn.info.backend_pid)
    with contextlib.suppress(ZeroDivisionError):
        async with admin.tenant(own) as conn:
            pids.add(conn.info.backend_pid)
            raise ZeroDivisionError
    async with admin.tenant(own) as conn:
        pids.add(conn.info.backend_pid)
    assert len(pids) == 1
    await admin.close()


async def test_no_process_role_owns_anything_or_may_change_the_wall(database):
    async with await psycopg.AsyncConnection.connect(database.superuser) as conn:
        owners = await (
            await conn.execute(
                "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace"
            )
        ).fetchall()
        strong = await (
            await conn.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'portcullis%%'"
                " AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)"
            )
        ).fetchall()
    assert owners == [("portcullis_owner",)]
    assert strong == []


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("ingress", "SELECT body FROM signals"),
        ("ingress", "SELECT * FROM accounts"),
        ("ingress", "UPDATE signals SET state = 'planned'"),
        ("ingress", "SELECT payload FROM audit_inbox"),
        ("worker", "SELECT sealed FROM hook_secrets"),
        ("worker", "DELETE FROM orders"),
        ("worker", "INSERT INTO tenants (tenant_id, name) VALUES (gen_random_uuid(), 'x')"),
        ("recorder", "SELECT * FROM orders"),
        ("recorder", "UPDATE audit_leaves SET leaf = ''"),
        ("recorder", "DELETE FROM audit_checkpoints"),
        ("recorder", "TRUNCATE audit_leaves"),
        ("admin", "INSERT INTO signals DEFAULT VALUES"),
        ("admin", "UPDATE orders SET state = 'filled'"),
        ("admin", "SELECT * FROM find_accepted_signals(ARRAY[1]::smallint[], 1)"),
        ("worker", "SELECT * FROM people"),
        ("worker", "SELECT * FROM find_session('x')"),
        ("ingress", "SELECT hash FROM passwords"),
        ("ingress", "SELECT * FROM find_person('x', 'y')"),
        ("recorder", "SELECT * FROM login_throttles"),
        ("admin", "UPDATE sessions SET person_id = gen_random_uuid()"),
        ("admin", "UPDATE factors SET code_sha256 = NULL"),
        ("ingress", "SELECT * FROM find_service_key('x', NULL)"),
    ],
)
async def test_each_role_may_do_its_own_work_only(database, role, statement):
    async with await psycopg.AsyncConnection.connect(database.conninfo(role)) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute(statement)


async def test_what_looks_over_the_wall_is_nobodys_to_call_but_whom_it_was_made_for(database):
    """Functions with their owner's rights: an owner that only reads, temporary tables looked at
    last (an unnamed pg_temp is looked at first), and PUBLIC never."""
    async with await psycopg.AsyncConnection.connect(database.superuser) as conn:
        rows = await (
            await conn.execute(
                "SELECT p.proname, p.proconfig, pg_get_userbyid(p.proowner),"
                " coalesce(p.proacl::text, '{=X') FROM pg_proc p"
                " WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef"
            )
        ).fetchall()
    assert rows
    for name, config, owner, allowed in rows:
        assert config == ["search_path=public, pg_temp"], name
        assert owner == "portcullis_finder", name
        assert "{=" not in allowed, name
        assert ",=" not in allowed, name


async def test_a_reference_from_what_people_set_up_has_the_tenant_in_it(database):
    """A foreign key does not look through row-level security."""
    written = set(await tables(database, "admin", "INSERT"))
    async with await psycopg.AsyncConnection.connect(database.superuser) as conn:
        rows = await (
            await conn.execute(
                "SELECT c.conrelid::regclass::text, c.confrelid::regclass::text, ARRAY(SELECT"
                " a.attname::text FROM pg_attribute a WHERE a.attrelid = c.conrelid"
                " AND a.attnum = ANY(c.conkey)) FROM pg_constraint c WHERE c.contype = 'f'"
                " AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.confrelid"
                " AND a.attname = 'tenant_id')"
            )
        ).fetchall()
    loose = {
        (table, other)
        for table, other, columns in rows
        if table in written and "tenant_id" not in columns
    }
    assert rows
    assert loose == {("plan_parts", "plans")}, "whose tenant its policy checks"
