"""Bring the schema forward, one file at a time, and never back.

For each file of ops/migrations/ that schema_migrations does not know, in order:

1. take the advisory lock, so that two migrators wait for each other;
2. run the file and write its row (number, name, SHA-256), in one transaction.

A crash before the commit leaves the schema as it was before that file; after it, the row says
so and the next run goes on from there. A file that changed after it was applied, a gap in the
numbers, and a database that is ahead of this code are refused before anything is done.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec
import psycopg

from tenancy.errors import ConfigurationError, Unavailable

DIRECTORY = Path(__file__).parent / "migrations"
LOCK = 0x706F727463  # "portc"
CONNECT_WITHIN_S = 10
"""A server that takes the connection and then says nothing is away."""
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      bytea NOT NULL CHECK (length(sha256) = 32),
    applied_at  timestamptz NOT NULL DEFAULT now()
)"""


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


class Applied(msgspec.Struct, frozen=True):
    """One row of schema_migrations."""

    number: int
    name: str
    sha256: bytes


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


def migrate(conninfo: str, directory: Path = DIRECTORY) -> list[str]:
    """Apply what is pending as portcullis_owner; returns the names. Raises MigrationError, Unavailable."""
    migrations = read_migrations(directory)
    done: list[str] = []
    with _connect(conninfo) as conn:
        with conn.transaction():
            _lock(conn)
            conn.execute(TABLE)
        while migration := _apply_next(conn, migrations):
            done.append(f"{migration.number:04}_{migration.name}")
    return done


def check(conninfo: str, directory: Path = DIRECTORY) -> list[str]:
    """Names of what is pending; writes nothing. Raises MigrationError, Unavailable."""
    migrations = read_migrations(directory)
    with _connect(conninfo) as conn:
        row = conn.execute("SELECT to_regclass('public.schema_migrations') IS NOT NULL").fetchone()
        applied = _applied(conn) if row is not None and row[0] else []
    return [f"{item.number:04}_{item.name}" for item in pending(migrations, applied)]


def _apply_next(conn: psycopg.Connection, migrations: list[Migration]) -> Migration | None:
    """One file in one transaction: read again what is applied, under the lock."""
    with conn.transaction():
        _lock(conn)
        todo = pending(migrations, _applied(conn))
        if not todo:
            return None
        migration = todo[0]
        try:
            conn.execute(migration.sql)
        except psycopg.Error as error:
            raise MigrationError(
                f"{migration.number:04}_{migration.name} failed and was rolled back: {error}"
            ) from error
        conn.execute(
            "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
            (migration.number, migration.name, migration.sha256),
        )
        return migration


def _applied(conn: psycopg.Connection) -> list[Applied]:
    rows = conn.execute("SELECT number, name, sha256 FROM schema_migrations ORDER BY number")
    return [Applied(number, name, bytes(digest)) for number, name, digest in rows]


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
