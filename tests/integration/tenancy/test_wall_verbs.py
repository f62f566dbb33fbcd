"""Every table, every verb, every role of a process, tried by SQL at another tenant's rows.

Generated from the catalogue, so a new table is tried without a word here. What reaches across is a
literal: the four things that a process does for all tenants, and nothing beside them.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.fixtures.api import Api
from tests.integration.gateway.furniture import furnish

pytestmark = pytest.mark.stack

ROLES = ("admin", "ingress", "worker", "recorder")
Reached = set[tuple[str, str, str]]

ACROSS: Reached = {
    # Ingress has a message before it knows the tenant: it finds the hook, keeps the signal, says so.
    ("ingress", "SELECT", "hooks"),
    ("ingress", "SELECT", "hook_secrets"),
    ("ingress", "SELECT", "strategies"),
    ("ingress", "SELECT", "tenants"),
    ("ingress", "INSERT", "signals"),
    ("ingress", "INSERT", "audit_inbox"),
    # The recorder writes every tenant's log.
    ("recorder", "SELECT", "audit_inbox"),
    ("recorder", "DELETE", "audit_inbox"),
    ("recorder", "INSERT", "audit_inbox"),  # what the vault refused
}


def tables(conn: Any) -> list[str]:
    rows = conn.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND a.attname = 'tenant_id' ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def columns(conn: Any, role: str, table: str, verb: str) -> list[str]:
    """Those on which the role has the privilege, but for what the database makes itself."""
    rows = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped AND attidentity = '' AND attgenerated = ''"
        " AND has_column_privilege(%s, attrelid, attnum, %s)",
        (table, f"portcullis_{role}", verb),
    ).fetchall()
    return [row[0] for row in rows]


def statements(conn: Any, role: str, table: str, other: UUID) -> dict[str, tuple[str, Any]]:
    """One for each verb that the role may use on the table, aimed at the other tenant's rows."""
    made: dict[str, tuple[str, Any]] = {}
    own = f" WHERE tenant_id = '{other}'"
    readable = columns(conn, role, table, "SELECT")
    if "tenant_id" in readable:
        made["SELECT"] = f"SELECT tenant_id FROM {table}{own}", ()
    if writable := columns(conn, role, table, "UPDATE"):
        where = own if "tenant_id" in readable else ""
        made["UPDATE"] = f"UPDATE {table} SET {writable[0]} = {writable[0]}{where}", ()
    delete = conn.execute(
        "SELECT has_table_privilege(%s, %s::regclass, 'DELETE')", (f"portcullis_{role}", table)
    ).fetchone()
    if delete == (True,) and "tenant_id" in readable:
        made["DELETE"] = f"DELETE FROM {table}{own}", ()
    row = conn.execute(f"SELECT to_jsonb(t)::text FROM {table} t{own} LIMIT 1").fetchone()
    names = columns(conn, role, table, "INSERT")
    if names and row is not None:
        listed = ", ".join(names)
        made["INSERT"] = (
            f"INSERT INTO {table} ({listed})"
            f" SELECT {listed} FROM jsonb_populate_record(NULL::{table}, %s::jsonb)",
            (row[0],),
        )
    return made


def reaches(conninfo: str, own: UUID, statement: str, values: Any) -> bool:
    """Whether it got at a row of somebody else's; what it did is undone."""
    with psycopg.connect(conninfo) as conn:
        conn.execute("SELECT set_config('portcullis.tenant_id', %s, true)", (str(own),))
        try:
            return conn.execute(statement.encode(), values).rowcount > 0
        except psycopg.errors.InsufficientPrivilege:
            return False
        except psycopg.errors.IntegrityError:
            return True  # the wall let it through, and a constraint behind it did not
        finally:
            conn.rollback()


async def test_no_verb_of_any_role_reaches_another_tenant_but_what_is_written_here(api: Api):
    await furnish(api, "admin")
    await furnish(api, "other")
    found: Reached = set()
    tried: Reached = set()
    with psycopg.connect(api.database.superuser, autocommit=True) as conn:
        for table in tables(conn):
            for role in ROLES:
                aimed = statements(conn, role, table, api.tenant("other"))
                for verb, (statement, values) in aimed.items():
                    tried.add((role, verb, table))
                    conninfo = api.database.conninfo(role)
                    if reaches(conninfo, api.tenant("admin"), statement, values):
                        found.add((role, verb, table))
    assert found == ACROSS & tried
    assert {verb for role, verb, _ in tried if role == "admin"} == {
        "SELECT", "INSERT", "UPDATE", "DELETE",
    }  # fmt: skip
    assert len({table for _, _, table in tried}) > 20


def test_every_table_with_a_tenant_is_forced_behind_the_wall(database):
    """Also those that nothing has filled here: row security is on, also for the owner, and each policy
    of people's and workers' role names the scope."""
    with psycopg.connect(database.superuser) as conn:
        for table in tables(conn):
            row = conn.execute(
                "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass",
                (table,),
            ).fetchone()
            assert row == (True, True), table
            policies = conn.execute(
                "SELECT policyname, coalesce(qual, with_check), coalesce(with_check, qual)"
                " FROM pg_policies WHERE tablename = %s"
                " AND roles && ARRAY['portcullis_admin', 'portcullis_worker', 'public']::name[]",
                (table,),
            ).fetchall()
            for name, using, check in policies:
                # plan_parts: a worker's ids, no tenant's data. audit_keys: of tenants that have left, in
                # the platform's keeping.
                scope = "keeper" if name == "keeper_sees" else "tenant_id"
                if name != "ids_only":
                    for condition in (using, check):
                        assert f"({scope} = portcullis_tenant())" in condition, (table, name)
                        assert " OR " not in condition, (table, name)
