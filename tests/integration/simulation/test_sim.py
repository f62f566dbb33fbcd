"""The simulation itself: clean seeds, the same history each time, and an auditor that finds what is broken."""

from __future__ import annotations

import json

import psycopg
import pytest

from ops.sim.mutants import MUTANTS
from ops.sim.postgres import InMemory
from ops.sim.run import Kept, run, summed
from tenancy.errors import ConfigurationError

pytestmark = pytest.mark.stack

SEEDS = (13, 11)
"""The second renews keys all the time: sessions wait for each other's rows."""
QUICK = {"checks-no-lease": 42}
"""Mutants with a seed that finds them. `python -m ops.sim.mutants` tries all of them."""


def test_seeds_end_without_a_finding_and_tell_the_same_history_twice() -> None:
    """In another order, in another process, after other seeds: what a seed does depends on it alone."""
    first = {result["seed"]: result for result in run(SEEDS, jobs=1)}
    total = summed(first.values())
    assert [first[seed]["findings"] for seed in SEEDS] == [[]] * len(SEEDS)
    assert total["seeds"] == len(SEEDS)
    assert total["orders"] > 5
    assert total["faults"] > 5
    for result in run(SEEDS[::-1], jobs=1):
        assert result["history"] == first[result["seed"]]["history"], result["seed"]


@pytest.mark.parametrize("name", QUICK)
def test_the_auditor_finds_what_was_broken(name: str) -> None:
    [result] = run([QUICK[name]], jobs=1, mutant=name)
    assert result["findings"], MUTANTS[name].words


def test_a_time_that_is_not_simulated_is_seen_wherever_it_hides() -> None:
    with InMemory() as postgres:
        assert postgres.escapes() == []
        with psycopg.connect(postgres.superuser(), autocommit=True) as conn:
            conn.execute("CREATE TABLE one (at timestamptz DEFAULT pg_catalog.now())")
            conn.execute("CREATE VIEW two AS SELECT CURRENT_TIMESTAMP AS at")
            conn.execute(
                "CREATE FUNCTION three() RETURNS int LANGUAGE sql SET search_path = public"
                " AS 'SELECT 1'"
            )
        places = [line.partition(":")[0] for line in postgres.escapes()]
        assert sorted(places) == ["default of one", "search path of three", "view two"]
        with psycopg.connect(postgres.conninfo("worker")) as conn:
            for time in ("now()", "clock_timestamp()"):
                with pytest.raises(psycopg.errors.UndefinedObject), conn.transaction():
                    conn.execute(f"SELECT {time}".encode())


def test_a_run_goes_on_where_it_stopped_and_not_with_another_versions_results(tmp_path) -> None:
    kept = Kept(tmp_path / "results")
    assert kept.read() == []
    kept.add({"seed": 1})
    kept.add({"seed": 2})
    with (tmp_path / "results").open("a") as file:
        file.write('{"seed": 3')  # stopped while it wrote
    assert [result["seed"] for result in kept.read()] == [1, 2]
    kept.add({"seed": 3})
    assert [result["seed"] for result in kept.read()] == [1, 2, 3]
    _, *lines = (tmp_path / "results").read_text().splitlines(keepends=True)
    (tmp_path / "results").write_text(json.dumps({"version": "another"}) + "\n" + "".join(lines))
    with pytest.raises(ConfigurationError, match="another version"):
        kept.read()
