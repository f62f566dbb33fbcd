"""`backup prepare` on a server that Patroni runs: started with what Patroni starts one with."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from ops.backup import elsewhere, standing
from ops.backup.prepare import STATEMENTS, superuser
from ops.backup.settings import SLOT
from ops.initialise import Choices, document
from ops.paths import Places, places
from ops.settings import Settings, decode_settings
from ops.stack.postgres import Postgres
from ops.toml import dumps
from tenancy.errors import ConfigurationError

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PATRONIS = {"cluster_name": "portcullis", "wal_log_hints": "on"}
ALTERED = "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (portcullis_wal)'"


@pytest.fixture(scope="module")
def where() -> Iterator[Places]:
    directory = Path(tempfile.mkdtemp(prefix="portcullis-e-"))
    directory.chmod(0o711)
    where = places(directory / "var")
    where.log.mkdir(parents=True)
    where.var.chmod(0o711)
    postgres = Postgres(where, PATRONIS)
    postgres.create()
    postgres.start()
    try:
        postgres.create_database()
        yield where
    finally:
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(where.runtime, ignore_errors=True)


@pytest.fixture(scope="module")
def conn(where: Places) -> Iterator[psycopg.Connection]:
    """The superuser's, who is somebody else than the product here."""
    with psycopg.connect(Postgres(where).superuser(), autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="module")
def settings(where: Places) -> Settings:
    """Without `[stack]`: PostgreSQL is not ours."""
    made = decode_settings(dumps(document(where, Choices(backup=where.var.parent / "r"))).encode())
    assert made.backup is not None
    backup = replace(made.backup, synchronous=False, database=Postgres(where).conninfo("backup"))
    return replace(made, stack=None, backup=backup)


def test_each_step_says_who_has_to_do_what_and_the_repository_is_made_last(
    settings: Settings, conn: psycopg.Connection
) -> None:
    assert settings.backup is not None
    root = settings.backup.directory
    with pytest.raises(ConfigurationError, match="CREATE ROLE portcullis_backup"):
        elsewhere.prepare(settings)
    for statement in STATEMENTS.splitlines():
        conn.execute(statement.encode())
    with pytest.raises(
        ConfigurationError, match=r"patronictl edit-config -s slots\.portcullis_wal"
    ):
        elsewhere.prepare(settings)
    conn.execute("SELECT pg_create_physical_replication_slot(%s)", (SLOT,))  # as Patroni does then
    altered = replace(settings, backup=replace(settings.backup, synchronous=True))
    with pytest.raises(ConfigurationError, match="Patroni chooses"):
        elsewhere.prepare(altered)
    assert not root.exists()
    made = elsewhere.prepare(settings)
    row = conn.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    assert row == (made.system_identifier,)
    assert elsewhere.prepare(settings) == made


def test_an_alter_system_is_seen_by_the_archive_s_own_role(
    settings: Settings, conn: psycopg.Connection
) -> None:
    assert settings.backup is not None

    def look() -> standing.Look:
        assert settings.backup is not None
        with psycopg.connect(settings.backup.database) as ours:
            return standing.look(ours)

    assert look().patroni
    assert not look().overrides_patroni
    conn.execute("SET synchronous_commit = local")
    conn.execute(ALTERED.encode())
    conn.execute("SELECT pg_reload_conf()")
    try:
        assert look().overrides_patroni
        with pytest.raises(ConfigurationError, match="ALTER SYSTEM RESET"):
            elsewhere.prepare(settings)
    finally:
        conn.execute("ALTER SYSTEM RESET synchronous_standby_names")
        conn.execute("SELECT pg_reload_conf()")


def test_nobody_is_told_to_alter_a_server_that_is_not_ours(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="never in an ALTER SYSTEM"):
        superuser(settings)
