"""A real PostgreSQL in memory, whose now() is the simulated time.

A schema `simulated` stands before pg_catalog in every search path. Its now(), clock_timestamp() and
their like read the session's setting `simulated.now`; `escapes` looks through defaults, views,
policies and functions for a time that is not ours. Without the setting they fail, so a statement that
nobody gave a time is an error and not a quiet look at the machine's clock.

The cluster is thrown away at the end: fsync is off. What is proven here is the order of statements,
not what a disk keeps; ./appliance chaos kills real servers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql

from ops.migrate import migrate
from ops.paths import Places
from ops.stack.postgres import LOGIN_ROLES, Postgres

MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
PREFIX = "portcullis-sim-"
YOUNG_S = 60.0
PATH = "public, simulated, pg_catalog"
TIMES = ("now", "clock_timestamp", "transaction_timestamp", "statement_timestamp")
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "track_counts": "off",
    "track_activities": "off",
    "deadlock_timeout": "1ms",
    "log_lock_waits": "on",  # a session hears when it waits (wire.note_wait)
    "client_min_messages": "log",
    "lc_messages": "C",
    "plan_cache_mode": "force_generic_plan",
    "max_connections": "60",
    "dynamic_shared_memory_type": "mmap",  # in our directory, which is removed, and not beside it
    "checkpoint_timeout": "1d",
    "bgwriter_lru_maxpages": "0",
}

_TIME = """
CREATE FUNCTION simulated.{name}() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT current_setting('simulated.now')::timestamptz $$"""
_FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public' AND p.proconfig::text LIKE '%search_path%'"""
# PostgreSQL plans the body of a LANGUAGE sql function anew each time that a statement calls it, which
# was two thirds of a seed's time. The same body, word for word, in plpgsql is planned once for a session.
_BODIES = """
SELECT format(
    'CREATE OR REPLACE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql %s SECURITY DEFINER'
    ' SET search_path = PATH, pg_temp AS %L',
    p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
    CASE p.provolatile WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
    E'#variable_conflict use_column\nBEGIN\n'
    || CASE WHEN p.proretset THEN 'RETURN QUERY ' ELSE 'RETURN (' END
    || rtrim(p.prosrc, E' ;\n') || CASE WHEN p.proretset THEN ';' ELSE ');' END || E'\nEND')
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef AND l.lanname = 'sql'"""
# A seed begins with empty tables; nothing of ours ever empties one.
_APPEND_ONLY = """
SELECT tgrelid::regclass::text, quote_ident(tgname) FROM pg_trigger
WHERE tgtype & 32 <> 0 AND NOT tgisinternal"""
# An expression that was bound to pg_catalog's function is printed with the schema's name, because
# ours stands before it; one that is bound to ours is printed bare.
_ESCAPES = r"""
WITH said(place, words) AS (
    SELECT 'default of ' || adrelid::regclass::text, pg_get_expr(adbin, adrelid) FROM pg_attrdef
    UNION ALL SELECT 'view ' || c.oid::regclass::text, pg_get_viewdef(c.oid)
              FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'policy ' || polname, coalesce(pg_get_expr(polqual, polrelid), '')
              || coalesce(pg_get_expr(polwithcheck, polrelid), '') FROM pg_policy
    UNION ALL SELECT 'check ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
              WHERE contype = 'c' AND connamespace = 'public'::regnamespace
    UNION ALL SELECT 'function ' || p.proname, p.prosrc FROM pg_proc p
              WHERE p.pronamespace = 'public'::regnamespace AND p.prolang <> 13
)
SELECT place, words FROM said
WHERE words ~* '\mpg_catalog\.(now|clock_timestamp|transaction_timestamp|statement_timestamp)\M'
   OR words ~* '\m(current_timestamp|current_date|current_time|localtimestamp|localtime|timeofday)\M'
UNION ALL
SELECT 'search path of ' || p.proname, p.proconfig::text FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.proconfig::text LIKE '%search_path%'
  AND p.proconfig::text NOT LIKE '%simulated%'"""


def sweep(base: Path) -> None:
    """Remove the clusters of processes that were killed: nobody holds the lock on their directory.

    A directory that is being made has no lock yet, and is younger than a minute.
    """
    for left in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if time.time() - left.stat().st_mtime > YOUNG_S:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)


class InMemory(Postgres):
    """A cluster of one run, in a directory of its own."""

    when_orphaned = "QUIT"
    """Sessions may stand still just then (wire.py), and nobody needs what is in it."""

    def __init__(self) -> None:
        base = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
        sweep(base)
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._lock = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self.root.chmod(0o711)
        (self.root / "log").mkdir()
        super().__init__(Places(self.root, self.root / "run"))

    def __enter__(self) -> InMemory:
        try:
            self.create()
            self.start()
            self.create_database()
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._lock)

    def command(self) -> list[str]:
        words = super().command()
        for name, value in SETTINGS.items():
            words += ["-c", f"{name}={value}"]
        return words

    def escapes(self) -> list[str]:
        """Where this schema would look at the machine's clock; empty where nothing does."""
        with psycopg.connect(self.superuser()) as conn:
            return [f"{place}: {words}" for place, words in conn.execute(_ESCAPES).fetchall()]

    def _build(self) -> None:
        """Simulated time first, then the product's own migrations over it."""
        with psycopg.connect(self.superuser(), autocommit=True) as conn:
            conn.execute("CREATE SCHEMA simulated")
            roles = sql.SQL(", ").join(sql.Identifier(f"portcullis_{r}") for r in LOGIN_ROLES)
            finder = sql.Identifier("portcullis_finder")
            conn.execute(sql.SQL("GRANT USAGE ON SCHEMA simulated TO {}, {}").format(roles, finder))
            for name in TIMES:
                conn.execute(_TIME.format(name=name).encode())
            conn.execute(f"ALTER DATABASE portcullis SET search_path = {PATH}".encode())
            conn.execute("ALTER DATABASE portcullis SET simulated.now = '2026-03-02 12:00:00+00'")
        migrate(self.conninfo("owner"))
        with psycopg.connect(self.superuser(), autocommit=True) as conn:
            for (name,) in conn.execute(_FUNCTIONS).fetchall():
                statement = f"ALTER FUNCTION {name} SET search_path = {PATH}, pg_temp"
                conn.execute(statement.encode())
            for (function,) in conn.execute(_BODIES.replace("PATH", PATH).encode()).fetchall():
                conn.execute(function.encode())
            for table, trigger in conn.execute(_APPEND_ONLY).fetchall():
                conn.execute(f"DROP TRIGGER {trigger} ON {table}".encode())
            conn.execute("ALTER DATABASE portcullis RESET simulated.now")
        found = self.escapes()
        if found:
            raise RuntimeError("time that is not simulated:\n" + "\n".join(found))
