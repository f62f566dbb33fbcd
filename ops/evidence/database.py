"""Of PostgreSQL and Redis: who is connected, waits for what, what is stopped or adrift: ids and counts only.

Each of our roles sees its own sessions whole and the others' not at all, so all five are asked. What a
session executes is left out: a statement may hold a customer's data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg

from ops.doctor import redis as cache
from ops.doctor.looking import in_thread
from ops.doctor.sessions import ROLES, rows, session
from ops.doctor.trading import DRIFTS
from ops.evidence.collection import File, Gap, Wish, as_json

SESSIONS = """
SELECT pid, usename::text AS role, application_name AS name, client_addr::text AS client, state,
       wait_event_type, wait_event, backend_start, xact_start, query_start, state_change,
       pg_blocking_pids(pid) AS blocked_by
FROM pg_stat_activity WHERE usename = current_user ORDER BY backend_start"""
OF_OWNER = {
    "settings": """
SELECT name, setting, unit, source FROM pg_settings WHERE source NOT IN ('default', 'override') ORDER BY name""",
    "database": """
SELECT datname::text AS name, numbackends, xact_commit, xact_rollback, deadlocks, conflicts, temp_bytes,
       checksum_failures, stats_reset, pg_database_size(datname) AS bytes
FROM pg_stat_database WHERE datname = current_database()""",
    "tables": """
SELECT relname::text AS name, n_live_tup, n_dead_tup, last_autovacuum, last_autoanalyze,
       pg_total_relation_size(relid) AS bytes FROM pg_stat_user_tables ORDER BY bytes DESC""",
    "locks": """
SELECT locktype, mode, granted, count(*) AS n, count(DISTINCT pid) AS sessions FROM pg_locks
GROUP BY locktype, mode, granted ORDER BY granted, n DESC""",
    "archiver": "SELECT * FROM pg_stat_archiver",
    "replication": "SELECT application_name AS name, state, sync_state FROM pg_stat_replication",
    "slots": """
SELECT slot_name::text AS name, slot_type, active, restart_lsn::text FROM pg_replication_slots""",
    "migrations": """
SELECT number, name, encode(sha256, 'hex') AS sha256, applied_at FROM schema_migrations ORDER BY number""",
    "roles": """
SELECT rolname::text AS name, rolsuper, rolcanlogin, rolbypassrls, rolcreaterole, rolreplication, rolvaliduntil
FROM pg_roles ORDER BY rolname""",
}
OF_WORKER = {
    "stops": "SELECT what, id, broker, symbol, state, intervention_id FROM find_stops()",
    "interventions": """
SELECT intervention_id, tenant_id, tenant_kind, part FROM find_interventions()""",
    "drifts": DRIFTS,
    "leases": "SELECT part, holder, epoch, expires_at FROM leases ORDER BY part",
    "workers": "SELECT worker_id, seen_at FROM workers ORDER BY seen_at",
}
OF_RECORDER = {
    "inbox": """
SELECT tenant_id, count(*) AS waiting, min(ts) AS oldest_ns FROM audit_inbox GROUP BY tenant_id""",
    "checks": """
SELECT log_id, next_index, rounds, round_at, found_index, found, found_at, moved_at FROM audit_checks""",
    "halts": """
SELECT h.halt_id, h.log_id, h.source, h.why, h.halted_at,
       EXISTS (SELECT FROM audit_lifts f WHERE f.halt_id = h.halt_id) AS lifted FROM audit_halts h""",
    "journals": "SELECT journal_id, daemon, seq, moved_at FROM hsm_journals",
}


async def activity(wish: Wish) -> AsyncIterator[File | Gap]:
    """Sessions of each role, and how the cluster is."""
    found: list[Any] = []
    for role in ROLES:
        told = await in_thread(
            _ask, getattr(wish.ground.settings.database, role), {"sessions": SESSIONS}
        )
        if isinstance(told, str):
            yield Gap(f"sessions of role {role}", told)
            return  # the others would only take their time to say the same
        found += told["sessions"]
    yield File("database/sessions.json", as_json(found), "pg_stat_activity, under each role")
    async for one in _page("database/cluster", wish.ground.settings.database.owner, OF_OWNER):
        yield one


async def work(wish: Wish) -> AsyncIterator[File | Gap]:
    """The kill switch, interventions, drifts and leases; the audit log's inbox, checks and halts."""
    database = wish.ground.settings.database
    async for one in _page("work", database.worker, OF_WORKER):
        yield one
    async for one in _page("audit/standing", database.recorder, OF_RECORDER):
        yield one


async def redis(wish: Wish) -> AsyncIterator[File | Gap]:
    """INFO, which has no key and no value."""
    seen = await in_thread(cache.look, wish.ground.settings.redis.url)
    if seen.info is None:
        yield Gap("Redis", seen.why)
        return
    yield File("redis.json", as_json(dict(seen.info)), "INFO")


async def _page(name: str, conninfo: str, queries: dict[str, str]) -> AsyncIterator[File | Gap]:
    told = await in_thread(_ask, conninfo, queries)
    if isinstance(told, str):
        yield Gap(name, told)
        return
    for query, why in told.pop("failed").items():
        yield Gap(f"{name}, {query}", why)
    yield File(f"{name}.json", as_json(told), "PostgreSQL")


def _ask(conninfo: str, queries: dict[str, str]) -> dict[str, Any] | str:
    """Rows by query, `failed` by query; or why there is no session."""
    told: dict[str, Any] = {}
    failed: dict[str, str] = {}
    try:
        with session(conninfo) as conn:
            for name, query in queries.items():
                try:
                    told[name] = rows(conn, query)
                except psycopg.errors.Error as error:
                    if conn.broken:
                        raise
                    failed[name] = " ".join(str(error).split())
    except psycopg.Error as error:
        return " ".join(str(error).split()) or type(error).__name__
    return {**told, "failed": failed}
