"""What `portcullis capacity` makes of runs: costs that are there are found, and so is the part that ends it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from ops.capacity.fit import Costs, Load, fit, least_squares
from ops.capacity.predict import (
    HOST,
    Layout,
    layout_of,
    most_accounts,
    predict,
    predicted_of,
    room,
)
from ops.capacity.runs import Run, read
from ops.cli.main import cli
from ops.load.figures import StepFigures
from ops.load.floors import Floors
from ops.load.report import Knee
from ops.load.settings import Settings
from tenancy.errors import ConfigurationError

TRUE = {
    "worker": {"rest": 0.05, "accounts": 1e-4, "signals": 4e-3, "orders": 5e-4},
    "postgres": {"rest": 0.1, "accounts": 0.0, "signals": 5e-3, "orders": 3e-4},
    "recorder": {"rest": 0.02, "accounts": 0.0, "signals": 5e-4, "orders": 2e-4},
    "locust": {"rest": 0.2, "accounts": 0.0, "signals": 1e-3, "orders": 0.0},
}
"""Cores of a made-up product, on a host whose floor is 0.1 s."""
WORKER_MB, ACCOUNT_MB = 90.0, 0.004
RATES = (2.0, 4.0, 8.0, 16.0)


def made(followers: int, strategies: int, *, slower: float = 1.0, broke_from: float = 1e9) -> Run:
    """A run of the made-up product on a host so many times slower."""
    accounts = 2 * strategies * followers
    steps = [_step(rate, followers, accounts, slower, broke_from) for rate in RATES]
    held = [rate for rate in RATES if rate < broke_from] or [0.0]
    return Run(
        command=f"./appliance load --followers {followers}",
        conditions="made up",
        cores=4,
        settings=Settings(strategies=strategies, followers=followers, start_per_s=2.0),
        floors=Floors(
            bare_per_s=1000, bare_p50_ms=5, bare_p99_ms=9, orders_per_s=4000,
            orders_cpu_s=0.1 * slower,
        ),
        knee=Knee(
            signals_per_s=held[-1], orders_per_s=held[-1] * followers, found=len(held) < len(RATES),
            of_bare_202=None, of_plain_orders=None, cost_in_floors=None,
        ),
        steps=steps,
    )  # fmt: skip


def _step(
    rate: float, followers: int, accounts: int, slower: float, broke_from: float
) -> StepFigures:
    load = {"rest": 1.0, "accounts": accounts, "signals": rate, "orders": rate * followers}
    return StepFigures(
        senders=int(rate), asked_per_s=rate, accepted_per_s=rate, orders_per_s=rate * followers,
        failed=0, broke="p99" if rate >= broke_from else "", lag_s=0, answer=None, first_order=None,
        last_order=None, skew=None,
        cpu_cores={
            kind: slower * sum(cost * load[term] for term, cost in terms.items())
            for kind, terms in TRUE.items()
        },
        memory_mb={"worker": WORKER_MB + ACCOUNT_MB * accounts}, files={}, threads={},
        cpu_s_per_1000_orders={},
    )  # fmt: skip


RUNS = [made(1, 32), made(10, 16), made(50, 16, slower=1.5), made(10, 100)]


def test_costs_that_are_there_are_found_though_one_host_was_slower():
    costs = fit(RUNS)
    assert costs.unknown == ("tenants",)
    for kind, terms in TRUE.items():
        for term, cost in terms.items():
            assert costs.cores[kind][term] == pytest.approx(cost, rel=1e-6, abs=1e-9), (kind, term)
    assert costs.memory_mb["worker"] == pytest.approx({"rest": WORKER_MB, "accounts": ACCOUNT_MB})


def test_what_did_not_differ_between_runs_has_no_cost_and_is_named():
    costs = fit([made(10, 16)])
    assert costs.unknown == ("accounts", "tenants")
    assert "accounts" not in costs.cores["worker"]
    assert most_accounts(costs, 1000, 2) is None


def test_no_cost_is_below_nothing():
    loads = [Load(signals=n, orders=10 - n, accounts=1, tenants=1) for n in range(1, 6)]
    found = least_squares(loads, [5.0, 4.0, 3.0, 2.0, 1.0], ["rest", "signals", "orders"])
    assert all(cost >= 0 for cost in found.values())
    assert found["orders"] > 0


def test_a_host_ends_where_its_cores_do():
    costs, free = fit(RUNS), room(RUNS)
    alone = Layout(cores=2, processes={"worker": 4}, orders_cpu_s=0.1)
    said = predict(costs, free, alone, followers=1, accounts=0, tenants=2)
    rest = 0.05 + 0.1 + 0.02
    each = 4e-3 + 5e-3 + 5e-4 + 5e-4 + 3e-4 + 2e-4
    assert said.limit == HOST
    assert said.signals_per_s == pytest.approx((free.host * 2 - rest) / each)
    assert "locust" not in said.cores
    assert said.full[HOST] == pytest.approx(free.host)


def test_with_cores_to_spare_one_process_ends_it():
    alone = Layout(cores=64, processes={"worker": 1}, orders_cpu_s=0.1)
    said = predict(fit(RUNS), room(RUNS), alone, followers=100, accounts=0, tenants=2)
    assert said.limit == "worker"
    wide = Layout(cores=64, processes={"worker": 64}, orders_cpu_s=0.1)
    assert (
        predict(fit(RUNS), room(RUNS), wide, followers=100, accounts=0, tenants=2).limit
        == "recorder"
    )


def test_a_host_twice_as_slow_carries_less_than_half():
    costs, free = fit(RUNS), room(RUNS)
    fast, slow = (
        predict(
            costs, free, Layout(cores=2, processes={"worker": 2}, orders_cpu_s=floor),
            followers=10, accounts=1000, tenants=2,
        )
        for floor in (0.1, 0.2)
    )  # fmt: skip
    assert slow.signals_per_s < fast.signals_per_s / 2


def test_accounts_at_rest_take_their_part():
    costs, free = fit(RUNS), room(RUNS)
    layout = Layout(cores=2, processes={"worker": 2}, orders_cpu_s=0.1)
    few, many = (
        predict(costs, free, layout, followers=10, accounts=n, tenants=2) for n in (0, 10_000)
    )
    assert many.cores["worker"] - few.cores["worker"] == pytest.approx(
        10_000 * 1e-4 - (few.signals_per_s - many.signals_per_s) * (4e-3 + 10 * 5e-4)
    )


def test_how_full_is_what_was_seen_to_hold():
    broken = made(10, 16, broke_from=8.0)
    free = room([broken])
    held = broken.steps[1]
    assert free.host == pytest.approx(sum(held.cpu_cores.values()) / 4)
    with pytest.raises(ValueError, match="no rate of any run held"):
        room([made(10, 16, broke_from=1.0)])


def test_memory_tells_how_many_accounts():
    costs = fit(RUNS)
    assert most_accounts(costs, 490, 2) == pytest.approx(100_000, abs=1)
    assert most_accounts(costs, 10, 2) == 0


def test_a_runs_own_knee_is_predicted_with_generators_beside():
    runs = [made(1, 32), made(50, 16), made(10, 100), made(10, 16, broke_from=16.0)]
    costs = fit(runs)
    said = predicted_of(runs[3], costs, room([runs[3]]))
    assert layout_of(runs[3]).beside
    assert said.signals_per_s == pytest.approx(8.0)


def test_a_file_that_is_no_report_is_named_with_what_is_wrong(tmp_path: Path):
    file = tmp_path / "report.json"
    with pytest.raises(ConfigurationError, match=r"report\.json: No such file"):
        read([file])
    file.write_text('{"command": 1}')
    with pytest.raises(ConfigurationError, match=r"Expected `str`.*wanted: report\.json of"):
        read([file])
    run = msgspec.structs.replace(RUNS[0], settings=Settings(scenario="overload"))
    file.write_bytes(msgspec.json.encode(run))
    with pytest.raises(ConfigurationError, match="scenario overload"):
        read([file])


def test_the_command_says_rate_limit_and_what_was_measured(tmp_path: Path):
    files = []
    for number, run in enumerate(RUNS):
        files.append(str(tmp_path / f"{number}.json"))
        Path(files[-1]).write_bytes(msgspec.json.encode(run))
    asked = ["--floor", "0.1", "--cores", "2", "--followers", "10", "--memory-mb", "1000"]
    done = CliRunner().invoke(cli, ["capacity", *files, *asked])
    assert done.exit_code == 0, done.output
    assert "all 2 cores" in done.output
    assert "at least 16.0" in done.output
    assert "the same in all runs, and so in no cost: tenants" in done.output
    as_json = CliRunner().invoke(cli, ["capacity", *files, *asked, "--json"])
    said = msgspec.json.decode(as_json.output)
    assert said["predictions"][0]["limit"] == HOST
    assert msgspec.convert(said["costs"], Costs) == fit(RUNS)
