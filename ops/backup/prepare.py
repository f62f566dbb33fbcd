"""Make what a backup needs, once: `portcullis backup prepare`. A start creates nothing.

1. The role `portcullis_backup`: may replicate, and see how replication stands; it reads no table.
2. The repository: its directories, then repository.json.   *Crash before: run it again.*
3. The replication slot: from here on PostgreSQL keeps WAL until the archive has it.
4. `synchronous_standby_names`, by ALTER SYSTEM: from the next start of PostgreSQL every commit waits for
   the archive, if the settings say so. A start, because until one the archive does not run.

It needs our superuser's socket (`[stack] postgres`): a PostgreSQL that does not run is started for it and
stopped again. Run again it changes nothing that is right. On a server that others run: elsewhere.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from ops.backup import tools
from ops.backup.cluster import system_identifier
from ops.backup.layout import FORMAT, Places, Repository, make_directories, write
from ops.backup.settings import APPLICATION, BackupSettings
from ops.paths import Places as HostPlaces
from ops.settings import Settings
from ops.stack.postgres import DATABASE, Postgres
from tenancy.errors import ConfigurationError, Unavailable

ROLE = "portcullis_backup"
STANDBYS = f"FIRST 1 ({APPLICATION})"
ALONE = {"synchronous_standby_names": ""}
"""For a server that is started where no archive runs: nothing waits for it, autovacuum neither."""
MAY_READ = ("pg_read_all_stats", "pg_read_all_settings")
"""How replication stands, and where a setting comes from; no table."""
STATEMENTS = f"""CREATE ROLE {ROLE} LOGIN REPLICATION NOSUPERUSER;
GRANT CONNECT ON DATABASE {DATABASE} TO {ROLE};
GRANT {", ".join(MAY_READ)} TO {ROLE};"""


def wanted(settings: Settings) -> BackupSettings:
    """`[backup]`. Raises ConfigurationError where there is none."""
    if settings.backup is None:
        raise ConfigurationError(
            "the settings have no [backup]: docs/operating/backup.md says what belongs there"
        )
    return settings.backup


def prepare(settings: Settings) -> Repository:
    """All four steps. Raises ConfigurationError for another installation's repository, Unavailable."""
    backup = wanted(settings)
    with _running(server_of(settings)), superuser(settings) as conn:
        _create_role(conn)
        found = identity(conn, settings)
        make_repository(Places(backup.directory), found)
        tools.create_slot(backup.database)
        set_synchronous(conn, backup.synchronous)
    return found


def superuser(settings: Settings) -> psycopg.Connection:
    """A session above all others. Raises ConfigurationError where the server is not ours, Unavailable."""
    server = server_of(settings)
    try:
        return psycopg.connect(server.superuser(), autocommit=True)
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}") from error


def is_ours(settings: Settings) -> bool:
    """Whether the supervisor runs PostgreSQL, alone on this host."""
    return settings.stack is not None and settings.stack.postgres


def server_of(settings: Settings) -> Postgres:
    """The private server, to be started alone. Raises ConfigurationError where PostgreSQL is not ours."""
    if not is_ours(settings):
        raise ConfigurationError(
            "PostgreSQL is not ours to change. Whom commits wait for stands in its own configuration; under"
            " Patroni in Patroni's (`patronictl edit-config`), never in an ALTER SYSTEM: docs/operating/backup.md"
        )
    return Postgres(HostPlaces(settings.instance.var, settings.instance.runtime), ALONE)


@contextmanager
def _running(server: Postgres) -> Iterator[None]:
    """Start it unless somebody else runs it."""
    if server.ready():
        yield
        return
    server.start()
    try:
        yield
    finally:
        server.stop()


def set_synchronous(conn: psycopg.Connection, on: bool, *, now: bool = False) -> None:
    """Whether commits wait for the archive; `now`: at once, and else from the server's next start.

    Off leaves no line behind: in a directory that is given to Patroni it would stand above Patroni's own."""
    if on:
        conn.execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(STANDBYS))
    else:
        conn.execute("ALTER SYSTEM RESET synchronous_standby_names")
    if now:
        conn.execute("SELECT pg_reload_conf()")


def _create_role(conn: psycopg.Connection) -> None:
    """Step 1. What is right is not written again: a row of the catalogue may be locked by a process that
    waits for an archive which is away."""
    role, database = sql.Identifier(ROLE), sql.Identifier(DATABASE)
    if not _is(conn, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", ROLE):
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION NOSUPERUSER").format(role))
    if not _is(conn, "SELECT has_database_privilege(%s, %s, 'CONNECT')", ROLE, DATABASE):
        conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
    for may in MAY_READ:
        if not _is(conn, "SELECT pg_has_role(%s, %s, 'MEMBER')", ROLE, may):
            conn.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(may), role))


def _is(conn: psycopg.Connection, query: str, *names: str) -> bool:
    row = conn.execute(query.encode(), names).fetchone()
    return row is not None and bool(row[0])


def identity(conn: psycopg.Connection, settings: Settings) -> Repository:
    """Of the cluster that answers, as its repository will say it."""
    row = conn.execute(
        "SELECT setting::int FROM pg_settings WHERE name = 'wal_segment_size'"
    ).fetchone()
    assert row is not None
    return Repository(
        format=FORMAT, installation=settings.instance.name, system_identifier=system_identifier(conn),
        segment_bytes=row[0],
    )  # fmt: skip


def make_repository(places: Places, wanted: Repository) -> None:
    """Step 2. Another installation's archive is never written into."""
    if places.repository.exists():
        there = places.identity()
        if there != wanted:
            raise ConfigurationError(
                f"{places.root} is the repository of {there.installation!r} (PostgreSQL cluster"
                f" {there.system_identifier}), not of this installation: name another directory"
            )
        return
    if places.root.exists() and any(places.root.iterdir()):
        raise ConfigurationError(f"{places.root} is not empty, and no repository of ours")
    for directory in (places.root, places.wal, places.root / "base", places.drills):
        make_directories(directory)
    write(places.repository, wanted)
