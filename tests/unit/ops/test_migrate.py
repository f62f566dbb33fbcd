"""The rules of migration, without a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.migrate import (
    Applied,
    Migration,
    MigrationError,
    pending,
    read_migrations,
    unserved,
)

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


def test_a_release_does_not_run_on_a_schema_that_is_older_than_its_own() -> None:
    assert unserved([ONE, TWO], [applied(ONE), applied(TWO)]) is None
    said = unserved([ONE, TWO], [applied(ONE)])
    assert said is not None
    assert said.startswith(
        "the schema is at 0001 and this release needs 0002: run `portcullis migrate`"
    )
    assert "the schema is at empty" in (unserved([ONE], []) or "")


def test_the_release_before_runs_beside_a_newer_schema_until_that_takes_away_what_it_uses() -> None:
    expanded = applied(TWO)
    assert unserved([ONE], [applied(ONE), expanded]) is None
    contracting = Migration(
        3, "three", b"-- contract: unused since 0.2.0, schema 0002\nDROP TABLE a"
    )
    contracted = Applied(3, "three", contracting.sha256, contracting.serves_from)
    assert contracted.serves_from == 2
    assert unserved([ONE, TWO], [applied(ONE), expanded, contracted]) is None
    said = unserved([ONE], [applied(ONE), expanded, contracted])
    assert said == (
        "0003_three took away what this release (schema 0001) uses: it is too old for this database;"
        " start one that knows 0002 at least"
    )


def test_a_release_runs_before_its_contract_was_applied_and_not_before_what_it_adds() -> None:
    contract = Migration(2, "less", b"-- contract: unused since 0.2.0, schema 0001\nDROP TABLE a")
    assert unserved([ONE, contract], [applied(ONE)]) is None
    behind = Migration(3, "more", b"SELECT 3")
    said = unserved([ONE, contract, behind], [applied(ONE)])
    assert said is not None
    assert said.startswith("the schema is at 0001 and this release needs 0003")


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
