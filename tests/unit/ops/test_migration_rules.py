"""A migration takes nothing away that the release before still uses, unless it says since when nobody does."""

from __future__ import annotations

import pytest

from ops.migrate import read_migrations
from ops.migration_rules import FIRST_RULED, breaches, contract_of, statements

MIGRATIONS = read_migrations()
TEXTS = [migration.sql.decode() for migration in MIGRATIONS]
RULED = [migration for migration in MIGRATIONS if migration.number >= FIRST_RULED]


def test_no_migration_breaks_the_release_before() -> None:
    found = {
        f"{one.number:04}_{one.name}": said
        for one in RULED
        if (said := breaches(one.number, one.sql.decode(), TEXTS[: one.number - 1]))
    }
    assert found == {}


def test_the_rules_see_what_the_unreleased_history_did() -> None:
    """Held against real files, of which nobody ran two releases side by side."""
    said = "\n".join(breaches(2, TEXTS[1], TEXTS[:1]))
    assert "drops ALTER TABLE strategies DROP COLUMN defaults" in said
    assert "drops DROP FUNCTION strategy_changed()" in said
    assert breaches(13, TEXTS[12], TEXTS[:12]) == []  # widens signals.state by 'canceled'


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE a;",
        "ALTER TABLE a DROP COLUMN b;",
        "ALTER TABLE a RENAME COLUMN b TO c;",
        "ALTER TABLE a RENAME TO b;",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint;",
        "ALTER TABLE a ALTER COLUMN b SET NOT NULL;",
        "ALTER TABLE a ALTER COLUMN b DROP DEFAULT;",
        "ALTER TABLE a ADD COLUMN b text NOT NULL;",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0);",
        "ALTER TABLE a ADD UNIQUE (b);",
        "CREATE UNIQUE INDEX i ON a (b);",
        "DROP FUNCTION f(text);",
        "DROP POLICY p ON a;",
        "CREATE POLICY p ON a AS RESTRICTIVE FOR INSERT TO w WITH CHECK (true);",
        "REVOKE INSERT ON a FROM portcullis_worker;",
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY;",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE a DROP COLUMN b'; END $$;",
        "TRUNCATE a;",
        "-- DROP is only a word here\nALTER TABLE a\n    DROP COLUMN b, ADD COLUMN c text;",
    ],
)
def test_what_takes_something_away_is_refused_and_may_be_marked(sql: str) -> None:
    assert len(breaches(40, sql, [])) == 1, sql
    assert breaches(40, f"-- contract: unused since 0.2.0, schema 0039\n{sql}", []) == []
    assert breaches(40, sql.replace("\n", " ") if "--" not in sql else sql, []) != []
    assert breaches(40, f"-- safe: nobody ever wrote to it\n{sql}", []) == []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE a (b text NOT NULL UNIQUE); ALTER TABLE a ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE a (b text); CREATE UNIQUE INDEX i ON a (b);",
        "ALTER TABLE a ADD COLUMN b text;",
        "ALTER TABLE a ADD COLUMN b text NOT NULL DEFAULT '' CHECK (length(b) < 9);",
        "CREATE INDEX i ON a (b);",
        "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM a; DROP TABLE b $$;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION f() FROM PUBLIC;",
        "GRANT CREATE ON SCHEMA public TO x; REVOKE CREATE ON SCHEMA public FROM x;",
        "-- DROP TABLE a;\nSELECT 1;",
        "INSERT INTO a VALUES ('DROP TABLE b; RENAME');",
    ],
)
def test_what_only_adds_is_fine(sql: str) -> None:
    assert breaches(40, sql, []) == []


BEFORE = "CREATE TABLE a (b text NOT NULL CHECK (b IN ('x', 'y')), c int);"
SWAP = "ALTER TABLE a DROP CONSTRAINT a_b_check; ALTER TABLE a ADD CONSTRAINT a_b_check CHECK (b IN ({}));"


@pytest.mark.parametrize(
    ("before", "values", "narrower"),
    [
        ([BEFORE], "'x', 'y', 'z'", False),
        ([BEFORE], "'x', 'z'", True),
        ([BEFORE, SWAP.format("'x', 'y', 'z'")], "'x', 'y'", True),
        ([], "'x', 'y', 'z'", True),
    ],
)
def test_a_check_may_be_replaced_by_a_wider_one_only(
    before: list[str], values: str, narrower: bool
) -> None:
    assert bool(breaches(40, SWAP.format(values), before)) is narrower


def test_what_is_contracted_must_have_been_unused_by_an_earlier_schema() -> None:
    sql = "-- contract: unused since 0.2.0, schema 0040\nDROP TABLE a;"
    assert breaches(40, sql, []) == [
        "0040 contracts what schema 0040 stopped using: not yet"
    ]  # fmt: skip


def test_a_misspelt_mark_is_no_mark() -> None:
    with pytest.raises(ValueError, match="unused since"):
        contract_of("-- contract: since 0.2\nDROP TABLE a;")


def test_semicolons_in_bodies_and_strings_end_no_statement() -> None:
    sql = "DO $x$ BEGIN a; END $x$; SELECT ';'; -- safe: said on its own line\nSELECT 2;"
    assert [one.text for one in statements(sql)] == [
        "DO $x$ BEGIN a; END $x$", "SELECT ';'", "SELECT 2",
    ]  # fmt: skip
