"""Backup, restore and drill on the real tools: what was acknowledged comes back, what is damaged is named."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from msgspec.structs import replace

from ops.backup import drill as drilling
from ops.backup.archive import Archive
from ops.backup.archived import flushed
from ops.backup.layout import Backup, Damaged, Places, parse_lsn, write
from ops.backup.prepare import prepare
from ops.backup.restore import Target, restore
from ops.backup.restored import RestoredPostgres
from ops.backup.sums import known
from ops.backup.take import take
from ops.paths import places
from ops.processes import ROOT
from ops.stack.postgres import Postgres
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError, Unavailable
from tenancy.ids import new_id
from tests.fixtures.archived import Archived, until

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PATRONIS = """
ssl_ca_file = '/etc/portcullis/pki/postgresql/authorities.pem'
recovery_target = ''
recovery_target_lsn = ''
recovery_target_name = ''
recovery_target_time = ''
recovery_target_timeline = 'latest'
recovery_target_xid = ''
"""
"""What a host's postgresql.conf ends with that was a standby once (Patroni 3.0.2, seen on booted hosts)."""
PAGE_BYTES, PAGE_HEADER_BYTES = 8192, 24
"""Of WAL (PostgreSQL's access/xlog_internal.h, XLogPageHeaderData)."""


class Whole:
    """A repository with one base backup and WAL behind it: what each test starts from."""

    def __init__(self) -> None:
        self.half: Path
        self.backups_after_the_kill: list[Backup]
        self.backup: Backup
        self.told: list[UUID] = []


@pytest.fixture(scope="module")
def whole(archived: Archived) -> Whole:
    """First a backup that is killed halfway, then a whole one, then more signals and a whole segment."""
    it = Whole()
    with (archived.postgres.data / "postgresql.conf").open("a") as settings:
        settings.write(PATRONIS)
    with archived.connect() as conn:
        it.told.append(archived.keep(conn))
        it.half = _killed_halfway(archived) / "left over"
        it.half.touch(mode=0o600)
        it.backups_after_the_kill = archived.repository.backups()
        it.backup = take(archived.settings, archived.where.settings, datetime.now(UTC))
        it.told += [archived.keep(conn, os.urandom(1000)) for _ in range(20)]
        conn.execute("SELECT pg_switch_wal()")
        it.told += [archived.keep(conn) for _ in range(20)]
    until(lambda: len(known(archived.repository)) >= 2)
    return it


def _killed_halfway(archived: Archived) -> Path:
    """`portcullis backup`, killed with SIGKILL as soon as PostgreSQL's files begin to arrive."""
    command = [sys.executable, "-m", "ops.cli.main", "--settings", str(archived.where.settings)]
    process = subprocess.Popen([*command, "backup"], cwd=ROOT, start_new_session=True)
    base = archived.repository.root / "base"
    until(lambda: any(base.glob("*/database/base/*/*")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (half,) = base.iterdir()
    return half


@pytest.fixture
def second(archived: Archived) -> Iterator[Path]:
    """Where to restore to; gone afterwards."""
    var = archived.where.var.parent / "second"
    yield var
    shutil.rmtree(var, ignore_errors=True)
    shutil.rmtree(places(var).runtime, ignore_errors=True)


def test_a_backup_cut_short_is_no_backup_and_the_next_one_removes_it(
    archived: Archived, whole: Whole
) -> None:
    assert whole.backups_after_the_kill == []
    assert not whole.half.exists()
    assert [one.backup_id for one in archived.repository.backups()] == [whole.backup.backup_id]


def test_everything_is_ours_alone_and_holds_no_secret(archived: Archived, whole: Whole) -> None:
    """PINs, the tokens as they are, private keys: none of their bytes is in the repository's own files."""
    settings = archived.settings
    secrets = [path.read_bytes().strip() for path in (archived.where.var / "secrets").glob("*.pin")]
    secrets += [
        path.read_text().strip().split("_", 2)[2].encode() for path in archived.where.keys.iterdir()
    ]
    secrets.append(settings.admin.tls.key.read_bytes().strip())
    assert len(secrets) >= 6
    for path in archived.repository.root.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
        if path.is_file():
            data = path.read_bytes()
            assert [one for one in secrets if one in data] == [], path
    tokens = {path.name for path in (archived.where.var / "hsm" / "tokens").rglob("*.object")}
    assert tokens
    assert tokens.isdisjoint(path.name for path in archived.repository.root.rglob("*"))


def test_all_that_was_acknowledged_before_the_drill_is_in_the_second_directory(
    archived: Archived, whole: Whole, second: Path
) -> None:
    """Counted by the names that the sender was told, while it goes on sending; and what came back is halted."""
    stop, told = threading.Event(), list(whole.told)

    def send() -> None:
        with archived.connect() as conn:
            while not stop.is_set():
                told.append(archived.keep(conn))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        until(lambda: len(told) > len(whole.told) + 20)
        before = drilling.Told(frozenset(told), drilling.shown(archived.postgres.superuser()))
        report = drilling.drill(
            archived.repository, whole.backup, second, before, SystemClock(), keep=True
        )
    finally:
        stop.set()
        sender.join()
    assert (report.missing, report.recovery_point_s, report.synchronous) == (0, 0.0, True)
    assert report.told_by_sender > 60
    assert report.proved
    assert report.restored == report.told + report.beyond
    assert _same_log(archived, second) >= 1
    restored = Postgres(places(second))
    lost = new_id()
    more = drilling.Told(before.by_sender | {lost}, frozenset())
    assert drilling.count(restored, more)[0] == [lost]
    restored.start()
    try:
        with psycopg.connect(restored.superuser()) as conn:
            stops = {row[0]: row[1] for row in conn.execute("SELECT what, state FROM find_stops()")}
            waits = conn.execute("SHOW synchronous_standby_names").fetchone()
    finally:
        restored.stop()
    assert stops == {"platform": "halted", "audit": "reducing", "anchor": "reducing"}
    assert waits == ("",)


def _same_log(archived: Archived, second: Path) -> int:
    """Compare the checkpoints of the living log's files with those made again; how many there are."""
    living = {
        path.parent.name: path for path in (archived.where.var / "audit").glob("*/checkpoint")
    }
    for name, path in living.items():
        assert (second / "audit" / name / "checkpoint").read_bytes() == path.read_bytes()
    return len(list((second / "audit").iterdir()))


def test_a_commit_waits_while_the_archive_is_away_and_goes_on_when_it_is_back(
    archived: Archived,
) -> None:
    """So nothing is acknowledged that this host's disk alone has."""
    archived.kill_archive()
    until(lambda: not archived.streams())
    done = threading.Event()

    def send() -> None:
        with archived.connect() as conn:
            archived.keep(conn)
        done.set()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        prepare(archived.settings)  # again, as after a change of the settings: it waits for nobody
        with archived.connect() as conn:
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            until(lambda: conn.execute(waiting).fetchone() is not None)
        assert not done.is_set()
    finally:
        archived.start_archive()
        sender.join(30)
    assert done.is_set()


@pytest.mark.parametrize("by", ["time", "lsn"])
def test_a_restore_to_an_older_point_ends_there(
    archived: Archived, whole: Whole, second: Path, by: str
) -> None:
    with archived.connect() as conn:
        before = archived.keep(conn)
        row = conn.execute("SELECT clock_timestamp(), pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        after = archived.keep(conn)
    target = Target(time=row[0]) if by == "time" else Target(lsn=row[1])
    restore(archived.repository, whole.backup, second, target)
    there = RestoredPostgres(places(second), whole.backup.superuser)
    there.start()
    try:
        with psycopg.connect(there.superuser()) as conn:
            found = {row[0] for row in conn.execute("SELECT signal_id FROM signals").fetchall()}
    finally:
        there.stop()
    assert before in found
    assert after not in found


@contextmanager
def damaged(path: Path, at: int) -> Iterator[None]:
    """One byte of the file is another one meanwhile."""
    with path.open("rb+") as file:
        file.seek(at)
        (right,) = file.read(1)
        file.seek(at)
        file.write(bytes([right ^ 0x10]))
    try:
        yield
    finally:
        with path.open("rb+") as file:
            file.seek(at)
            file.write(bytes([right]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base/{id}/settings/var/portcullis.toml", "settings/var/portcullis.toml is not what was written"),
        ("base/{id}/database/backup_manifest", "database/backup_manifest is not what was written"),
        ("base/{id}/database/global/1260", '"global/1260"'),
        ("wal/{segment}", "{segment} is not what was written"),
    ],
)  # fmt: skip
def test_a_restore_of_what_is_damaged_names_the_file(
    archived: Archived, whole: Whole, second: Path, name: str, words: str
) -> None:
    named = {"id": whole.backup.backup_id, "segment": whole.backup.start_segment}
    path = archived.repository.root / name.format(**named)
    with damaged(path, 40), pytest.raises(Damaged) as refused:
        restore(archived.repository, whole.backup, second, Target())
    assert words.format(**named) in str(refused.value)
    assert not (second / "portcullis.toml").exists()


def test_a_hole_in_the_archive_is_named(archived: Archived, whole: Whole, second: Path) -> None:
    segment = archived.repository.wal / whole.backup.start_segment
    away = segment.with_name("away")
    segment.rename(away)
    try:
        with pytest.raises(Damaged, match=f"the archive has no {segment.name}"):
            restore(archived.repository, whole.backup, second, Target())
    finally:
        away.rename(segment)


def test_wal_that_ends_before_it_should_is_no_restore(
    archived: Archived, whole: Whole, second: Path, tmp_path: Path
) -> None:
    """PostgreSQL takes a record that it cannot read for the end, and would go on without what is behind it.

    In a copy: a receiver that starts anew writes its segment again, and with it what is damaged here.
    """
    with archived.connect() as conn:
        row = conn.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        archived.keep(conn)
    until(lambda: parse_lsn(_flushed(archived)) > parse_lsn(row[0]))
    there = Places(tmp_path / "repository")
    shutil.copytree(archived.repository.root, there.root)
    (partial,) = there.wal.glob("*.partial")
    at = parse_lsn(row[0]) % there.identity().segment_bytes + 30
    if at % PAGE_BYTES < PAGE_HEADER_BYTES:  # its last bytes are padding, which nobody reads
        at += PAGE_HEADER_BYTES
    with damaged(partial, at), pytest.raises(Damaged, match="the archive had") as refused:
        restore(there, whole.backup, second, Target())
    assert "--to-lsn" in str(refused.value)
    assert not (second / "portcullis.toml").exists()


def _flushed(archived: Archived) -> str:
    known = flushed(archived.repository)
    return "0/0" if known is None else known.lsn


async def _why_not(archive: Archive) -> str:
    try:
        return await archive.check()
    except Unavailable as error:
        return str(error)


async def test_of_another_cluster_nothing_goes_into_the_repository(
    archived: Archived, whole: Whole, tmp_path: Path
) -> None:
    """A host that was installed anew answers at the same address, with WAL of the same names."""
    assert archived.settings.backup is not None
    other = tmp_path / "repository"
    shutil.copytree(archived.repository.root, other)
    there = Places(other)
    write(there.repository, replace(there.identity(), system_identifier="7300000000000000000"))
    own = replace(archived.settings.backup, directory=other)
    before = {path: path.stat().st_size for path in other.rglob("*")}
    with pytest.raises(
        ConfigurationError, match=r"cluster 7300000000000000000, and [0-9]+ answers"
    ):
        take(replace(archived.settings, backup=own), archived.where.settings, datetime.now(UTC))
    log, stop = tmp_path / "pg_receivewal.log", asyncio.Event()
    archive = Archive(own, log)
    running = asyncio.create_task(archive.run(stop))
    await asyncio.sleep(2.0)  # several starts of the receiver
    why_not = await _why_not(archive)
    stop.set()
    await running
    assert "nothing of that goes into it" in why_not
    assert not log.exists()
    assert {path: path.stat().st_size for path in other.rglob("*")} == before


def test_a_restore_never_goes_over_an_installation(archived: Archived, whole: Whole) -> None:
    before = archived.where.settings.read_bytes()
    with pytest.raises(ConfigurationError, match="never goes over one"):
        restore(archived.repository, whole.backup, archived.where.var, Target())
    assert archived.where.settings.read_bytes() == before
    assert archived.postgres.ready()
