"""The private stack on its real servers: made once, started often, never made by a start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from ops import migrate
from ops.initialise import Choices, initialise
from ops.paths import Places, places
from ops.settings import read_settings
from ops.stack import postgres as server
from ops.stack.postgres import Postgres
from ops.stack.redis import RedisServer
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError, Unavailable

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[3]
CAP_DAC_READ_SEARCH = 1 << 2  # linux/capability.h


def namespaces() -> bool:
    """Whether this machine lets root make a user namespace; containers and chroots do not."""
    command = ["unshare", "--user", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_started_twice_it_is_the_same_database(installation: Places) -> None:
    postgres = Postgres(installation)
    seen = []
    for _ in range(2):
        postgres.start()
        try:
            with psycopg.connect(postgres.superuser()) as conn:
                row = conn.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
            seen.append(row)
        finally:
            postgres.stop()
    assert seen[0] == seen[1]


def test_it_is_durable_on_a_socket_only_and_not_root(installation: Places) -> None:
    postgres = Postgres(installation)
    postgres.start()
    try:
        with psycopg.connect(postgres.superuser()) as conn:
            for name, wanted in (
                ("fsync", "on"),
                ("listen_addresses", ""),
                ("wal_level", "replica"),
            ):
                row = conn.execute("SELECT current_setting(%s)", (name,)).fetchone()
                assert row == (wanted,), name
        pid = int((postgres.data / "postmaster.pid").read_text().split()[0])
        status = Path(f"/proc/{pid}/status").read_text()
        capabilities = next(line for line in status.splitlines() if line.startswith("CapEff"))
        assert int(capabilities.split()[1], 16) & ~CAP_DAC_READ_SEARCH == 0
        assert int(next(line for line in status.splitlines() if line[:4] == "Uid:").split()[1]) != 0
        assert postgres.socket_dir.stat().st_mode & 0o077 == 0
    finally:
        postgres.stop()


def test_the_roles_of_the_product_own_nothing_and_rule_nothing(installation: Places) -> None:
    postgres = Postgres(installation)
    postgres.start()
    try:
        with psycopg.connect(postgres.superuser()) as conn:
            rows = conn.execute(
                "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb, rolcanlogin"
                " FROM pg_roles WHERE rolname LIKE 'portcullis%' AND rolname <> 'portcullis_bootstrap'"
            ).fetchall()
            owned = conn.execute(
                "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace"
            ).fetchall()
    finally:
        postgres.stop()
    assert not any(mighty for _, mighty, _ in rows)
    assert {name for name, _, login in rows if not login} == {"portcullis_finder"}
    assert len(rows) == 6
    assert owned == [("portcullis_owner",)]


def test_a_start_creates_nothing_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="portcullis init"):
        Postgres(places(tmp_path / "var")).start()
    assert not (tmp_path / "var" / "postgres").exists()


def test_a_second_init_is_refused_and_changes_no_key(installation: Places) -> None:
    pin = read_settings(installation.settings).hsm.sign_pin_file
    before = pin.read_bytes()
    with pytest.raises(ConfigurationError, match="initialised already"):
        initialise(installation, Choices(), SystemClock().now())
    assert pin.read_bytes() == before


def test_redis_starts_twice_on_a_socket_only(installation: Places) -> None:
    redis = RedisServer(installation)
    for _ in range(2):
        redis.start()
        assert redis.ready()
        redis.stop()
        assert not redis.ready()


def test_it_runs_in_a_directory_that_nobody_else_can_reach(tmp_path: Path) -> None:
    """tmp_path is 0700: where root calls, `postgres` cannot pass and the namespace is used, if there is any."""
    tmp_path.chmod(0o700)
    where = places(tmp_path / ("deep" * 20) / "var")
    where.log.mkdir(parents=True)
    postgres = Postgres(where)
    try:
        postgres.create()
        if namespaces():
            assert postgres.data.stat().st_uid == os.geteuid()
        postgres.start()
        assert postgres.ready()
        postgres.stop()
    finally:
        shutil.rmtree(where.runtime, ignore_errors=True)


def test_without_namespaces_a_closed_directory_is_passed_with_one_capability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone under /root, in a container. An ordinary user is not concerned: it runs it as itself."""
    monkeypatch.setattr(server, "NAMESPACE", ["--user", "--no-such-option"])
    tmp_path.chmod(0o700)
    where = places(tmp_path / ("deep" * 20) / "var")
    where.log.mkdir(parents=True)
    postgres = Postgres(where)
    try:
        postgres.create()
        postgres.start()
        pid = int((postgres.data / "postmaster.pid").read_text().split()[0])
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        postgres.stop()
    finally:
        shutil.rmtree(where.runtime, ignore_errors=True)
    assert int(status["Uid"].split()[0]) == postgres.data.stat().st_uid != 0
    if os.geteuid() == 0:
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == CAP_DAC_READ_SEARCH
    else:
        assert int(status["CapEff"], 16) == 0


def test_where_nobody_may_run_it_a_sentence_says_where_to_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "NAMESPACE", ["--user", "--no-such-option"])
    monkeypatch.setattr(server, "PASSING", ["--no-such-option"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tmp_path.chmod(0o700)
    postgres = Postgres(places(tmp_path / "var"))
    with pytest.raises(Unavailable, match="Clone to a place that others may pass through"):
        postgres.create()
    assert not postgres.data.exists()


def test_what_init_made_has_every_migration(installation: Places) -> None:
    postgres = Postgres(installation)
    postgres.start()
    try:
        assert migrate.check(postgres.conninfo("owner")) == []
    finally:
        postgres.stop()


@pytest.mark.parametrize(
    "words", [["tenant", "create", "My Fund"], ["user", "list", "--as", "operator"]]
)
def test_a_command_that_needs_the_api_says_at_once_that_nothing_runs(
    installation: Places, words: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli.main", "--settings", str(installation.settings), *words],
        capture_output=True, text=True, timeout=9, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == (
        f"portcullis: nothing runs under {installation.var}: `portcullis up` starts it"
    )
