"""The arithmetic and the words of the benchmark; no claim here depends on a clock."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops.bench import pages
from ops.bench.__main__ import main
from ops.bench.catalogue import BENCHES, UnknownBench, chosen
from ops.bench.figures import FIGURES, cost, figure
from ops.bench.history import HISTORY, Entry, keep, last, read
from ops.bench.measure import Effort, Series, measured, percentile, to_json
from ops.bench.pages_data import ids
from ops.bench.picture import draw
from ops.bench.plain_loop import spread
from ops.bench.profile import MOST_PARTS, OF_OTHERS, Profile, Profiler, summary
from ops.bench.show import history_table, number, table
from tenancy.errors import ConfigurationError, Unavailable


def test_value_and_floor_are_medians_and_not_means():
    one = measured("accept_p50_ms", "ms", [1.0, 100.0, 3.0], [2.0, 1.0, 50.0])
    assert (one.value, one.floor, one.ratio) == (3.0, 2.0, 1.5)


def test_ratio_is_value_through_floor_whichever_way_is_better():
    """A rate at half of its floor has the ratio 0.5, a time at twice its floor 2."""
    assert measured("dispatch_throughput", "orders/s", [500.0], [1000.0]).ratio == 0.5
    assert measured("accept_p99_ms", "ms", [10.0], [5.0]).ratio == 2.0


def test_cost_is_above_one_for_what_is_worse_than_its_floor():
    assert cost("dispatch_throughput", 500, 1000) == 2
    assert cost("accept_p99_ms", 10, 5) == 2


@pytest.mark.parametrize(("values", "floors"), [([], [1.0]), ([1.0], []), ([1.0], [0.0])])
def test_no_figure_without_a_run_or_a_floor(values: list[float], floors: list[float]):
    with pytest.raises(ValueError):
        measured("x", "ms", values, floors)


def test_json_has_exactly_the_promised_keys_and_every_run():
    rows = to_json([measured("x", "ms", [1.23456789, 2.0, 3.0], [1.0])])
    assert [list(row) for row in rows] == [["name", "value", "unit", "floor", "ratio", "runs"]]
    assert json.loads(json.dumps(rows))[0]["runs"] == [1.2346, 2.0, 3.0]


def test_series_gives_its_figures_in_the_order_of_its_names():
    series = Series({"a": "ms", "b": "1/s"})
    series.floor(a=1, b=10)
    series.value(b=5, a=3)
    series.floor(a=1, b=20)
    series.value(b=7, a=4)
    got = series.measurements()
    assert [(m.name, m.unit, m.value, m.floor, m.runs) for m in got] == [
        ("a", "ms", 3.5, 1, (3, 4)),
        ("b", "1/s", 6, 15, (5, 7)),
    ]


def test_percentile_is_a_sample_by_nearest_rank():
    samples = [float(n) for n in range(100, 0, -1)]
    assert [percentile(samples, p) for p in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7
    with pytest.raises(ValueError):
        percentile([], 50)


def test_spread_counts_the_rate_between_first_and_last():
    """Three arrivals have two gaps: 2 in 20 ms are 100 a second."""
    first, last, rate = spread(100.0, [100.03, 100.01, 100.02])
    assert (round(first, 6), round(last, 6), round(rate, 6)) == (10, 30, 100)
    assert math.isnan(spread(0.0, [1.0])[2])


def test_unknown_name_is_refused_and_told_what_there_is(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UnknownBench, match=r"'fan-out'.*fanout"):
        chosen(["fan-out"])
    assert main(["fan-out"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert all(name in said.err for name in BENCHES)


def test_no_names_means_all_of_them():
    assert list(chosen([])) == list(BENCHES)


@pytest.mark.parametrize("runs", ["0", "-1"])
def test_fewer_runs_than_one_are_refused(runs: str, capsys: pytest.CaptureFixture[str]):
    assert main(["fanout", "--runs", runs]) == 2
    assert "runs must be 1 or more" in capsys.readouterr().err
    with pytest.raises(ValueError):
        Effort(runs=0)


def test_every_figure_says_what_it_is_and_what_its_floor_is():
    for words in FIGURES.values():
        assert words.what
        assert words.floor
    assert figure("something_new_per_s").more_is_better


def test_numbers_are_shown_without_exponent():
    assert [number(n) for n in (0.01234, 1.5, 99.94, 12345.6)] == [
        "0.0123",
        "1.5",
        "99.9",
        "12,346",
    ]


def test_picture_is_a_png_with_a_row_for_each_figure(tmp_path: Path):
    rows = [
        measured("accept_p50_ms", "ms", [3.0, 4.0], [2.0]),
        measured("dispatch_throughput", "orders/s", [1500.0], [9000.0]),
    ]
    draw(rows, tmp_path / "new" / "bench.png", "under what conditions")
    assert (tmp_path / "new" / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_every_question_about_pages_has_its_words():
    assert set(pages.UNITS) <= set(FIGURES)


def test_the_bench_names_accounts_as_its_history_does():
    """Both sides derive them: the server by MD5 in SQL, the questions here."""
    assert str(ids("account", 0)).startswith("018bcfe5-6800-7")
    assert ids("account", 0) != ids("account", 0, tenant=1)


@pytest.mark.parametrize("orders", [0, 1_999, 100_000_001])
def test_a_history_of_no_sensible_length_is_refused(orders: int):
    with pytest.raises(ValueError):
        Effort(orders=orders)


NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)


def kept(hours: int, **costs: float) -> Entry:
    """A run in which these figures cost so many floors."""
    return Entry(
        at=NOW + timedelta(hours=hours), commit=f"abc000{hours}", conditions="made up",
        measurements=tuple(measured(name, "ms", [cost], [1.0]) for name, cost in costs.items()),
    )  # fmt: skip


def test_what_is_kept_is_read_again_in_the_order_of_time(tmp_path: Path):
    later, earlier = kept(2, accept_p99_ms=2.5), kept(1, accept_p99_ms=3.0)
    assert [keep(one, tmp_path).name for one in (later, earlier)] == [
        "20261123T080000Z-abc0002.json",
        "20261123T070000Z-abc0001.json",
    ]
    assert read(tmp_path) == [earlier, later]


def test_a_file_that_is_no_run_is_named(tmp_path: Path):
    (tmp_path / "20261123.json").write_text('{"at": 3}')
    with pytest.raises(ConfigurationError, match=r"20261123\.json: .*at"):
        read(tmp_path)


def test_beside_a_figure_stands_what_it_cost_when_it_was_last_kept():
    history = [kept(1, accept_p50_ms=4.0, accept_p99_ms=9.0), kept(2, accept_p99_ms=7.0)]
    found = last(history, "accept_p50_ms")
    assert found is not None
    assert (found[0].commit, found[1]) == ("abc0001", 4.0)
    assert last(history, "plan_20_ms") is None
    shown = table([measured("accept_p99_ms", "ms", [6.0], [2.0])], history)
    assert [list(column.cells) for column in shown.columns[-2:]] == [["3"], ["7 (abc0002)"]]
    costs = history_table(history)
    assert [list(column.cells) for column in costs.columns] == [
        ["accept_p50_ms", "accept_p99_ms"],
        ["4", "9"],
        ["", "7"],
    ]


def test_what_is_in_the_repository_can_be_read():
    for entry in read(HISTORY):
        assert entry.measurements
        assert "quick" not in entry.conditions


def test_a_quick_run_is_not_kept(capsys: pytest.CaptureFixture[str]):
    assert main(["accept", "--quick", "--keep"]) == 2
    assert "it is not kept" in capsys.readouterr().err


STACKS = """\
<module> (ops/run.py:99);run (asyncio/base.py:1);plan (fanout/plan.py:12);dumps (json/__init__.py:3) 6
<module> (ops/run.py:99);run (asyncio/base.py:1);plan (fanout/plan.py:40) 1
<module> (ops/run.py:99);run (asyncio/base.py:1);select (selectors.py:9) 3
"""


def test_a_profile_counts_each_stack_for_the_innermost_file_of_ours():
    """With what that called of others'; the loop's own stand for themselves."""
    seen = summary("first_order", "worker-0", STACKS)
    assert (seen.samples, seen.parts) == (10, {"fanout/plan.py": 0.7, "selectors.py": 0.3})


def test_a_profile_names_what_is_left_so_that_its_parts_are_the_whole():
    stacks = "".join(f"f (gateway/a{n}.py:1) 1\n" for n in range(MOST_PARTS + 8))
    seen = summary("accept", "hypercorn", stacks)
    assert len(seen.parts) == MOST_PARTS + 1
    assert seen.parts[OF_OTHERS] == 0.4
    assert sum(seen.parts.values()) == pytest.approx(1)


def test_a_process_that_did_nothing_has_no_parts():
    assert summary("accept", "clock-0", "").parts == {}


def test_kept_profiles_are_read_again(tmp_path: Path):
    one = Profile(section="accept", process="hypercorn", samples=4, parts={"gateway/body.py": 1.0})
    entry = Entry(
        at=datetime(2026, 11, 24, tzinfo=UTC),
        commit="1",
        conditions="-",
        measurements=(),
        profiles=(one,),
    )
    keep(entry, tmp_path)
    assert read(tmp_path) == [entry]


SPINS = "while True: sum(range(1000))"


async def test_a_process_is_looked_at_and_its_stacks_are_kept(tmp_path: Path):
    profiler = Profiler(tmp_path)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SPINS)
    try:
        async with profiler.of("spin", {process.pid: "child"}):
            await asyncio.sleep(1)
    except Unavailable as error:
        if "not permitted" in str(error) or "denied" in str(error):
            pytest.skip(f"nobody may look into processes here: {error}")
        raise
    finally:
        process.kill()
        await process.wait()
    (seen,) = profiler.profiles
    assert (seen.section, seen.process) == ("spin", "child")
    assert seen.samples > 10
    assert "<string>" in seen.parts
    assert "<module>" in (tmp_path / "profile-spin-child.txt").read_text()


async def test_who_cannot_be_looked_at_is_named(tmp_path: Path):
    with pytest.raises(Unavailable, match="py-spy cannot look at nobody"):
        async with Profiler(tmp_path).of("accept", {2**22 + 1: "nobody"}):
            pass
