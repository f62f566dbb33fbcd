"""Bring the schema forward, one file at a time, and never back.

For each file of ops/migrations/ that schema_migrations does not know, in order:

1. take the advisory lock, so that two migrators wait for each other;
2. run the file and write its row (number, name, SHA-256), in one transaction.

A crash before the commit leaves the schema as it was before that file; after it, the row says
so and the next run goes on from there. A file that changed after it was applied, a gap in the
numbers, and a database that is ahead of this code are refused before anything is done.

An upgrade is rolling: the schema first, then one process after another. Each row says which code may
still run on the schema since then (`serves_from`: the last migration that this code knows); only a
contracting file raises it (ops/migration_rules.py). A process asks at its start (`require`): on an older
schema than its own it does not run, on a newer one as long as that serves it. What is still to be taken
away it does not miss: a contract may wait until nobody wants to go back (`expand_only`).
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import msgspec
import psycopg
import structlog

from ops.migration_rules import contract_of
from tenancy.errors import ConfigurationError, Unavailable

DIRECTORY = Path(__file__).parent / "migrations"
LOCK = 0x706F727463  # "portc"
CONNECT_WITHIN_S = 10
"""A server that takes the connection and then says nothing is away."""
AGAIN_S = 0.5
SAID_AGAIN_S = 30.0
LOCK_WITHIN_S = 5
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

log = structlog.get_logger()

TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      bytea NOT NULL CHECK (length(sha256) = 32),
    applied_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE schema_migrations ADD COLUMN IF NOT EXISTS serves_from integer NOT NULL DEFAULT 0;
GRANT SELECT ON schema_migrations
    TO portcullis_admin, portcullis_ingress, portcullis_worker, portcullis_recorder"""


class MigrationError(ConfigurationError):
    """The files and the database do not agree: says where."""

    code = "migration"


class Migration(msgspec.Struct, frozen=True):
    """One file."""

    number: int
    name: str
    sql: bytes

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.sql).digest()

    @property
    def serves_from(self) -> int:
        """Code that knows fewer migrations cannot run on what this one leaves; 0: nothing is taken away."""
        contract = contract_of(self.sql.decode())
        return 0 if contract is None else contract.schema

    @property
    def contracts(self) -> bool:
        """It takes something away."""
        return contract_of(self.sql.decode()) is not None


class Applied(msgspec.Struct, frozen=True):
    """One row of schema_migrations."""

    number: int
    name: str
    sha256: bytes
    serves_from: int = 0


def read_migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """The files in order. Raises MigrationError for a name that is none, a double, or a gap."""
    found = []
    for path in sorted(directory.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is named NNNN_lower_case.sql")
        found.append(Migration(int(match[1]), match[2], path.read_bytes()))
    for wanted, migration in enumerate(found, start=1):
        if migration.number != wanted:
            raise MigrationError(
                f"migrations have a gap or a double: {wanted:04} expected, "
                f"{migration.number:04}_{migration.name} found"
            )
    return found


def pending(migrations: list[Migration], applied: list[Applied]) -> list[Migration]:
    """What is still to do. Pure. Raises MigrationError where history and files differ."""
    known = {migration.number: migration for migration in migrations}
    for row in applied:
        migration = known.get(row.number)
        if migration is None:
            raise MigrationError(
                f"the database has {row.number:04}_{row.name}, which this version does not know: "
                "it is older than the database; install the newer one"
            )
        if migration.sha256 != row.sha256:
            raise MigrationError(
                f"{row.number:04}_{row.name} was changed after it was applied: restore the file "
                "and put the change into a new one"
            )
    done = {row.number for row in applied}
    if done != set(range(1, len(done) + 1)):
        raise MigrationError(f"schema_migrations has a gap: {sorted(done)}")
    return [migration for migration in migrations if migration.number not in done]


def unserved(migrations: list[Migration], applied: list[Applied]) -> str | None:
    """Why this code cannot run on that schema, in words; None: it can. Pure.

    An older schema never: something that the code uses is not there; unless all that it lacks are
    contracts. A newer one as long as no contract in it took away what this code uses. Raises
    MigrationError as pending().
    """
    level = migrations[-1].number if migrations else 0
    known = [row for row in applied if row.number <= level]
    if todo := [one for one in pending(migrations, known) if not one.contracts]:
        there = f"{known[-1].number:04}" if known else "empty"
        return (
            f"the schema is at {there} and this release needs {todo[-1].number:04}: run"
            " `portcullis migrate` first; processes of the release before go on meanwhile"
        )
    ended = [row for row in applied if row.serves_from > level]
    if ended:
        last = ended[-1]
        return (
            f"{last.number:04}_{last.name} took away what this release (schema {level:04}) uses: it is"
            f" too old for this database; start one that knows {last.serves_from:04} at least"
        )
    return None


def require(conninfo: str, directory: Path = DIRECTORY, *, within_s: float = 0.0) -> None:
    """See that this code can run on the schema, under any role. Raises MigrationError, Unavailable.

    `within_s`: for so long a server that does not answer is asked again, and the log says so meanwhile.
    """
    migrations = read_migrations(directory)
    until = time.monotonic() + within_s
    silent_until = 0.0
    while True:
        try:
            applied = _schema(conninfo)
            break
        except Unavailable as error:
            now = time.monotonic()
            if now >= until:
                raise
            if now >= silent_until:
                log.warning("waits_for_database", error=str(error), for_s=round(until - now))
                silent_until = now + SAID_AGAIN_S
            time.sleep(AGAIN_S)
    if (why := unserved(migrations, applied)) is not None:
        raise MigrationError(why)


def _schema(conninfo: str) -> list[Applied]:
    """What is applied, asked under any role. Raises MigrationError, Unavailable."""
    with _connect(conninfo) as conn:
        try:
            return _applied(conn)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
            raise MigrationError(
                "the database does not say which schema it has: run `portcullis migrate` first"
            ) from None
        except (
            psycopg.OperationalError
        ) as error:  # a pooler lets in, and says at the first question
            raise Unavailable(f"PostgreSQL does not answer: {error}") from error


def migrate(conninfo: str, directory: Path = DIRECTORY, *, expand_only: bool = False) -> list[str]:
    """Apply what is pending as portcullis_owner; returns the names. Raises MigrationError, Unavailable.

    `expand_only`: up to the first contract, so that an older release can be gone back to. On a database that is
    still empty nobody would want to: there everything is applied.
    """
    migrations = read_migrations(directory)
    done: list[str] = []
    with _connect(conninfo) as conn:
        with conn.transaction():
            _lock(conn)
            conn.execute(TABLE)
            expand_only = expand_only and bool(_applied(conn))
        while migration := _apply_next(conn, migrations, expand_only):
            done.append(f"{migration.number:04}_{migration.name}")
    return done


def check(conninfo: str, directory: Path = DIRECTORY) -> list[str]:
    """Names of what is pending, none where a newer schema serves this code; writes nothing.

    Raises MigrationError, also for a newer schema that does not serve it; Unavailable.
    """
    migrations = read_migrations(directory)
    with _connect(conninfo) as conn:
        row = conn.execute("SELECT to_regclass('public.schema_migrations') IS NOT NULL").fetchone()
        applied = _applied(conn) if row is not None and row[0] else []
    level = migrations[-1].number if migrations else 0
    if applied and applied[-1].number > level:
        if (why := unserved(migrations, applied)) is not None:
            raise MigrationError(why)
        return []
    return [f"{item.number:04}_{item.name}" for item in pending(migrations, applied)]


def _apply_next(
    conn: psycopg.Connection, migrations: list[Migration], expand_only: bool
) -> Migration | None:
    """One file in one transaction: read again what is applied, under the lock."""
    with conn.transaction():
        _lock(conn)
        todo = pending(migrations, _applied(conn))
        if not todo or (expand_only and todo[0].contracts):
            return None
        migration = todo[0]
        # Whoever waits for a table's lock holds up everybody behind it: rather not now than so.
        conn.execute(f"SET LOCAL lock_timeout = '{LOCK_WITHIN_S}s'")
        try:
            conn.execute(migration.sql)
        except psycopg.Error as error:
            raise MigrationError(
                f"{migration.number:04}_{migration.name} failed and was rolled back: {error}"
            ) from error
        conn.execute(
            "INSERT INTO schema_migrations (number, name, sha256, serves_from) VALUES (%s, %s, %s, %s)",
            (migration.number, migration.name, migration.sha256, migration.serves_from),
        )
        return migration


def _applied(conn: psycopg.Connection) -> list[Applied]:
    # Asked as JSON: a migrator of a release before made the table without the last column.
    rows = conn.execute(
        "SELECT number, name, sha256, coalesce((to_jsonb(m) ->> 'serves_from')::int, 0)"
        " FROM schema_migrations m ORDER BY number"
    )
    return [Applied(number, name, bytes(digest), serves) for number, name, digest, serves in rows]


def _lock(conn: psycopg.Connection) -> None:
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))


def _connect(conninfo: str) -> psycopg.Connection:
    try:
        return psycopg.connect(
            conninfo, autocommit=True, application_name="portcullis-migrate",
            connect_timeout=CONNECT_WITHIN_S,
        )  # fmt: skip
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}") from error
