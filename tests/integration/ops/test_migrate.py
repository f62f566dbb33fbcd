"""Migrations against a real database, and the wall that they must have built."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from ops.migrate import DIRECTORY, MigrationError, check, migrate, require
from tests.fixtures.postgres import Database

pytestmark = pytest.mark.stack


@pytest.fixture
def empty(empty_database: Database) -> str:
    """The owner's connection to a database without any table."""
    return empty_database.conninfo("owner")


def files(directory: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (directory / f"{name.removeprefix('m')}.sql").write_text(text)
    return directory


def test_everything_is_applied_once(empty: str) -> None:
    names = check(empty)
    assert names[0] == "0001_ground"
    assert migrate(empty) == names
    assert migrate(empty) == []
    assert check(empty) == []


def test_a_failing_file_leaves_nothing_and_the_ones_before_it_stay(
    empty: str, tmp_path: Path
) -> None:
    files(tmp_path, m0001_a="CREATE TABLE a ()", m0002_b="CREATE TABLE b (); SELECT 1/0")
    with pytest.raises(MigrationError, match="0002_b failed and was rolled back"):
        migrate(empty, tmp_path)
    with psycopg.connect(empty) as conn:
        assert conn.execute("SELECT to_regclass('a'), to_regclass('b')").fetchone() == ("a", None)
    assert check(empty, tmp_path) == ["0002_b"]


def test_a_changed_file_is_refused_before_anything_is_done(empty: str, tmp_path: Path) -> None:
    migrate(empty, files(tmp_path, m0001_a="CREATE TABLE a ()"))
    files(tmp_path, m0001_a="CREATE TABLE a (x int)", m0002_b="CREATE TABLE b ()")
    with pytest.raises(MigrationError, match="changed"):
        migrate(empty, tmp_path)
    with psycopg.connect(empty) as conn:
        assert conn.execute("SELECT to_regclass('b')").fetchone() == (None,)


def test_what_only_adds_leaves_the_contract_to_a_later_word(empty: str, tmp_path: Path) -> None:
    contract = "-- contract: unused since 0.1.0, schema 0001\nDROP TABLE a"
    migrate(empty, files(tmp_path, m0001_a="CREATE TABLE a ()"))
    files(tmp_path, m0002_b="CREATE TABLE b ()", m0003_c=contract)
    assert migrate(empty, tmp_path, expand_only=True) == ["0002_b"]
    assert migrate(empty, tmp_path, expand_only=True) == []
    require(empty, tmp_path)
    assert check(empty, tmp_path) == ["0003_c"]
    assert migrate(empty, tmp_path) == ["0003_c"]


def test_a_database_without_anything_has_nobody_to_serve(empty: str, tmp_path: Path) -> None:
    contract = "-- contract: unused since 0.1.0, schema 0001\nDROP TABLE a"
    files(tmp_path, m0001_a="CREATE TABLE a ()", m0002_b=contract)
    assert migrate(empty, tmp_path, expand_only=True) == ["0001_a", "0002_b"]


def test_two_migrators_at_once_apply_each_file_once(empty: str, tmp_path: Path) -> None:
    files(tmp_path, m0001_a="SELECT pg_sleep(0.2); CREATE TABLE a ()", m0002_b="CREATE TABLE b ()")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: migrate(empty, tmp_path), range(2)))
    assert sorted(name for names in done for name in names) == ["0001_a", "0002_b"]


def test_a_process_of_the_release_before_starts_beside_the_newer_schema_and_not_the_other_way(
    empty: str, tmp_path: Path
) -> None:
    """Under its own role, which may see what schema there is and nothing else of it."""
    old, new = tmp_path / "old", tmp_path / "new"
    for directory in (old, new):
        directory.mkdir()
        files(directory, m0001_a="CREATE TABLE a (x int)")
    files(new, m0002_b="ALTER TABLE a ADD COLUMN y int")
    worker = empty.replace("portcullis_owner", "portcullis_worker")
    with pytest.raises(MigrationError, match="does not say which schema"):
        require(worker, old)
    migrate(empty, old)
    require(worker, old)
    with pytest.raises(MigrationError, match="at 0001 and this release needs 0002"):
        require(worker, new)
    migrate(empty, new)
    require(worker, old)
    require(worker, new)
    assert check(empty, old) == []
    files(new, m0003_c="-- contract: unused since 0.2.0, schema 0002\nALTER TABLE a DROP COLUMN x")
    migrate(empty, new)
    require(worker, new)
    with pytest.raises(MigrationError, match="0003_c took away"):
        require(worker, old)
    with pytest.raises(MigrationError, match="0003_c took away"):
        check(empty, old)


def test_a_schema_that_a_migrator_of_before_made_is_taken_on(empty: str, tmp_path: Path) -> None:
    """Its table has no `serves_from`, and its processes' roles may not see it."""
    files(tmp_path, m0001_a="CREATE TABLE a ()")
    migrate(empty, tmp_path)
    with psycopg.connect(empty) as conn:
        conn.execute("ALTER TABLE schema_migrations DROP COLUMN serves_from")
        conn.execute("REVOKE SELECT ON schema_migrations FROM portcullis_worker")
    worker = empty.replace("portcullis_owner", "portcullis_worker")
    assert check(empty, tmp_path) == []
    with pytest.raises(MigrationError, match="run `portcullis migrate` first"):
        require(worker, tmp_path)
    assert migrate(empty, tmp_path) == []
    require(worker, tmp_path)


def test_a_check_writes_nothing(empty: str) -> None:
    assert check(empty)
    with psycopg.connect(empty) as conn:
        assert conn.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)


def test_every_table_has_forced_row_level_security(database: Database) -> None:
    with psycopg.connect(database.superuser) as conn:
        open_tables = conn.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = 'public'::regnamespace AND relname <> 'schema_migrations'"
            " AND NOT (relrowsecurity AND relforcerowsecurity)"
        ).fetchall()
        count = conn.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone()
    assert open_tables == []
    assert count is not None
    assert count[0] > 15


def test_the_files_are_where_the_package_ships_them() -> None:
    assert (DIRECTORY / "0001_ground.sql").exists()
