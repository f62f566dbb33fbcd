"""The rules of migration, without a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.migrate import Applied, Migration, MigrationError, pending, read_migrations

ONE = Migration(1, "one", b"SELECT 1")
TWO = Migration(2, "two", b"SELECT 2")


def applied(migration: Migration) -> Applied:
    return Applied(migration.number, migration.name, migration.sha256)


def test_what_is_not_applied_is_pending_in_order() -> None:
    assert pending([ONE, TWO], []) == [ONE, TWO]
    assert pending([ONE, TWO], [applied(ONE)]) == [TWO]


def test_a_file_changed_after_it_was_applied_is_refused() -> None:
    with pytest.raises(MigrationError, match="0001_one was changed"):
        pending([Migration(1, "one", b"SELECT 3"), TWO], [applied(ONE)])


def test_a_database_ahead_of_this_code_is_refused() -> None:
    with pytest.raises(MigrationError, match="0002_two, which this version does not know"):
        pending([ONE], [applied(ONE), applied(TWO)])


def test_a_hole_in_what_was_applied_is_refused() -> None:
    with pytest.raises(MigrationError, match="gap"):
        pending([ONE, TWO], [applied(TWO)])


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["0001_one.sql", "0003_three.sql"], "gap"),
        (["0001_one.sql", "0001_other.sql"], "double"),
        (["0001_One.sql"], "named"),
        (["1_one.sql"], "named"),
    ],
)
def test_files_with_a_gap_a_double_or_a_strange_name_are_refused(
    tmp_path: Path, names: list[str], why: str
) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=why):
        read_migrations(tmp_path)
