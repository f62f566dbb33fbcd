"""The wall between tenants, as the database has it now: roles, tables' owners, row-level security."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ops.doctor.finding import Finding, well
from ops.doctor.sessions import ROLES, Row, Session, rows

SUBJECT = "PostgreSQL"
POWERS = ("rolsuper", "rolcreatedb", "rolcreaterole", "rolbypassrls", "rolreplication")
MIGRATE = (
    "Find out who changed it, and when (an incident, until you know): docs/operating/incident.md."
)

ROLE_ROWS = """
SELECT rolname AS name, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication,
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
             WHERE m.member = r.oid ORDER BY 1) AS member_of
FROM pg_roles r WHERE rolname LIKE 'portcullis\\_%'"""
TABLE_ROWS = """
SELECT c.relname AS name, pg_get_userbyid(c.relowner)::text AS owner, c.relrowsecurity AS secured,
       c.relforcerowsecurity AS forced,
       coalesce((SELECT bool_or(a.grantee = 0) FROM aclexplode(c.relacl) a), false) AS public
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> 'schema_migrations'"""
PUBLIC_ROWS = """
SELECT has_database_privilege('public', current_database(), 'CONNECT') AS connects,
       has_schema_privilege('public', 'public', 'CREATE') AS creates"""


class Seen(NamedTuple):
    """Rows of the three questions above."""

    roles: tuple[Row, ...] = ()
    tables: tuple[Row, ...] = ()
    public: Mapping[str, Any] = {}


def look(conn: Session) -> Seen:
    return Seen(
        tuple(rows(conn, ROLE_ROWS)), tuple(rows(conn, TABLE_ROWS)), rows(conn, PUBLIC_ROWS)[0]
    )


def judge(seen: Seen) -> list[Finding]:
    return [_roles(seen), _tables(seen), _public(seen.public)]


def _roles(seen: Seen) -> Finding:
    faults, ours = [], 0
    for one in seen.roles:
        kind = one["name"].removeprefix("portcullis_")
        if kind not in (*ROLES, "finder"):
            continue  # an operator's own
        ours += 1
        faults += [f"{one['name']} has {power}" for power in POWERS if one[power]]
        allowed = {"portcullis_finder"} if kind == "owner" else set()
        faults += [
            f"{one['name']} is a member of {role}"
            for role in one["member_of"]
            if role not in allowed
        ]
        if kind == "finder" and one["rolcanlogin"]:
            faults.append("portcullis_finder can log in")
    if faults:
        then = (
            "ALTER ROLE … NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION; REVOKE."
            f" {MIGRATE}"
        )
        return Finding(SUBJECT, "roles' rights", "wrong", "; ".join(faults), then)
    return well(SUBJECT, "roles' rights", f"{ours} roles, none above the wall")


def _tables(seen: Seen) -> Finding:
    faults = [
        f"{one['name']} belongs to {one['owner']}"
        for one in seen.tables
        if one["owner"] != "portcullis_owner"
    ]
    faults += [
        f"{one['name']} has no forced row-level security"
        for one in seen.tables
        if not (one["secured"] and one["forced"])
    ]
    faults += [f"PUBLIC has rights on {one['name']}" for one in seen.tables if one["public"]]
    if faults:
        then = (
            "Engage the kill switch for the platform until it stands again: tenants might see "
            f"each other. {MIGRATE}"
        )
        return Finding(SUBJECT, "wall between tenants", "wrong", "; ".join(faults[:5]), then)
    return well(SUBJECT, "wall between tenants", f"stands around all {len(seen.tables)} tables")


def _public(public: Row) -> Finding:
    faults = [
        what
        for what, may in (("connect", public["connects"]), ("create tables", public["creates"]))
        if may
    ]
    if faults:
        then = (
            "REVOKE ALL ON DATABASE portcullis FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM "
            "PUBLIC."
        )
        return Finding(
            SUBJECT, "everybody", "warning", f"any role may {' and '.join(faults)}", then
        )
    return well(SUBJECT, "everybody", "may not connect, nor create anything")
