"""A restore follows the archive over a failover, and its directory can be given to Patroni afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from ops.backup.archived import needed
from ops.backup.aside import set_aside
from ops.backup.prepare import prepare
from ops.backup.restore import Target, restore
from ops.backup.restored import RestoredPostgres
from ops.backup.take import take
from ops.paths import Places, places
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


def test_after_a_restore_to_an_older_point_the_archive_goes_on_once_what_was_left_is_aside(
    archived: Archived,
) -> None:
    """It has whole segments of what the restored cluster never knew; pg_receivewal alone waits for ever."""
    repository, where = archived.repository, archived.where
    with archived.connect() as conn:
        backup = take(archived.settings, where.settings, datetime.now(UTC))
        told = [archived.keep(conn) for _ in range(5)]
        row = conn.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        left = []
        for _ in range(2):
            left.append(archived.keep(conn))
            conn.execute("SELECT pg_switch_wal()")
            left.append(archived.keep(conn))
    assert moved_aside(archived) == []
    second = where.var.parent / "older"
    try:
        restore(repository, backup, second, Target(lsn=row[0]))
        archived.postgres.stop()
        shutil.rmtree(archived.postgres.data)
        shutil.move(RestoredPostgres(places(second), backup.superuser).data, archived.postgres.data)
    finally:
        shutil.rmtree(second, ignore_errors=True)
        shutil.rmtree(places(second).runtime, ignore_errors=True)
    archived.postgres.adopt()
    prepare(archived.settings)  # no base backup has a slot
    archived.postgres.start()
    until(lambda: "not in this server's history" in words(where), 60)
    assert not archived.streams()

    moved = moved_aside(archived)
    assert moved
    (aside,) = (repository.root / "aside").iterdir()
    assert sorted(path.name for path in (aside / "wal").iterdir()) == moved
    until(archived.streams)
    assert moved_aside(archived) == [], "what is the cluster's own is left alone"
    with archived.connect() as conn:
        told += [archived.keep(conn) for _ in range(5)]
        there = {found[0] for found in conn.execute("SELECT signal_id FROM signals")}
    assert there >= set(told)
    assert not there & set(left)

    again = where.var.parent / "again"
    try:
        restore(repository, backup, again, Target())
        with restored_signals(again, backup.superuser) as signals:
            assert signals >= set(told)
            assert not signals & set(left)
    finally:
        shutil.rmtree(again, ignore_errors=True)
        shutil.rmtree(places(again).runtime, ignore_errors=True)


def moved_aside(archived: Archived) -> list[str]:
    assert archived.settings.backup is not None
    return set_aside(archived.settings.backup.database, archived.repository, datetime.now(UTC))


def words(where: Places) -> str:
    """What pg_receivewal said."""
    return "".join(path.read_text() for path in where.log.glob("*receivewal*"))


@contextmanager
def restored_signals(var: Path, superuser: str) -> Iterator[set[UUID]]:
    there = RestoredPostgres(places(var), superuser)
    there.start()
    try:
        with psycopg.connect(there.superuser()) as conn:
            yield {row[0] for row in conn.execute("SELECT signal_id FROM signals")}
    finally:
        there.stop()


def as_another_host_had_it(data: Path) -> None:
    """What Patroni writes beside the data: addresses, certificates, and nobody let in."""
    with (data / "postgresql.conf").open("a") as file:
        file.write(ANOTHER_HOSTS)
    (data / "pg_hba.conf").write_text("local all all reject\n")
