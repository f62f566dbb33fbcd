"""A restore follows the archive over a failover, and its directory can be given to Patroni afterwards."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from ops.backup.archived import needed
from ops.backup.restore import Target, restore
from ops.backup.restored import RestoredPostgres
from ops.backup.take import take
from ops.paths import places
from tests.fixtures.archived import Archived, until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.longer]

ANOTHER_HOSTS = """
ssl = on
ssl_cert_file = '/etc/portcullis/pki/postgresql/certificate.pem'
synchronous_standby_names = 'gw2'
listen_addresses = '192.0.2.11'
"""


def promoted(archived: Archived) -> None:
    """The server as a standby that lost its primary, and was promoted: a new timeline, the archive goes on."""
    archived.postgres.stop()
    (archived.postgres.data / "standby.signal").touch(mode=0o600)
    archived.postgres.adopt()
    archived.postgres.start()
    with archived.connect() as conn:
        assert conn.execute("SELECT pg_promote()").fetchone() == (True,)
    until(archived.streams)


def test_what_was_acknowledged_after_a_failover_comes_back_from_a_backup_before_it(
    archived: Archived,
) -> None:
    with archived.connect() as conn:
        backup = take(archived.settings, archived.where.settings, datetime.now(UTC))
        told = [archived.keep(conn) for _ in range(5)]
    for _ in range(2):
        promoted(archived)
        with archived.connect() as conn:
            told += [archived.keep(conn) for _ in range(5)]
            conn.execute("SELECT pg_switch_wal()")
            told += [archived.keep(conn) for _ in range(5)]
    wal = needed(archived.repository, backup, archived.repository.identity().segment_bytes)
    assert (backup.timeline, wal.timeline) == (1, 3)
    assert {name[:8] for name in wal.whole} == {"00000001", "00000002", "00000003"}

    second = archived.where.var.parent / "second"
    try:
        made = restore(archived.repository, backup, second, Target())
        there = RestoredPostgres(places(second), backup.superuser)
        assert made.segments == wal.count
        as_another_host_had_it(there.data)
        there.start()
        try:
            with psycopg.connect(there.superuser()) as conn:
                rows = conn.execute("SELECT signal_id FROM signals").fetchall()
        finally:
            there.stop()
        assert {row[0] for row in rows} >= set(told)
        assert "synchronous_standby_names" not in (there.data / "postgresql.auto.conf").read_text()
    finally:
        shutil.rmtree(second, ignore_errors=True)
        shutil.rmtree(places(second).runtime, ignore_errors=True)


def as_another_host_had_it(data: Path) -> None:
    """What Patroni writes beside the data: addresses, certificates, and nobody let in."""
    with (data / "postgresql.conf").open("a") as file:
        file.write(ANOTHER_HOSTS)
    (data / "pg_hba.conf").write_text("local all all reject\n")
