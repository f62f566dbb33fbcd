"""`portcullis capacity`: how many signals, orders and accounts a host will carry, and what ends it.

From recorded runs of `./appliance load` and this host's own floor; nothing of an installation need run. The
floor is measured here, which takes some seconds, unless it is given.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from ops.capacity.fit import Costs, fit
from ops.capacity.predict import (
    HOST,
    Layout,
    Prediction,
    Room,
    most_accounts,
    predict,
    predicted_of,
    room,
)
from ops.capacity.runs import Run, read, recorded
from ops.cli.output import json_option, print_json, print_table
from ops.tls import create_dev_certificates
from tenancy.errors import ConfigurationError

FOLLOWERS = (1, 10, 100, 1000)
FILLED = 0.75
"""Of the memory: the rest is the page cache's, which the database lives by."""


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded run's knee, and what all the runs together say of it."""

    command: str
    measured_per_s: float
    found: bool
    predicted_per_s: float
    limit: str


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What the command says, as JSON. `floor_ratio`: CPU time here for the same, against the recorded host."""

    layout: Layout
    floor_ratio: float
    accounts: int
    tenants: int
    memory_mb: float
    predictions: list[Prediction]
    most_accounts: int | None
    costs: Costs
    room: Room
    runs: list[Beside]


@click.command()
@click.argument(
    "files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False), metavar="[REPORT]..."
)
@click.option("--followers", multiple=True, type=click.IntRange(1, 100_000), metavar="N",
              help="Accounts that follow each signal's strategy. Again for another row.")  # fmt: skip
@click.option("--accounts", type=click.IntRange(0), default=1000, show_default=True,
              help="Accounts of the installation.")  # fmt: skip
@click.option("--tenants", type=click.IntRange(1), default=2, show_default=True)
@click.option("--cores", type=click.IntRange(1, 1024), help="Of the host; without it, this one's.")
@click.option("--workers", type=click.IntRange(1), help="Processes; without it, one for each core.")
@click.option("--ingress", type=click.IntRange(1), default=1, show_default=True)
@click.option("--memory-mb", type=click.IntRange(1), help="Of the host; without it, this one's.")
@click.option("--floor", type=click.FloatRange(0, min_open=True), metavar="S",
              help="CPU seconds of 1,000 plain orders there; without it they are measured here, now.")  # fmt: skip
@json_option
def capacity(
    files: Sequence[Path], followers: Sequence[int], accounts: int, tenants: int, cores: int | None,
    workers: int | None, ingress: int, memory_mb: int | None, floor: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Say how many signals, orders and accounts a host carries, and which part is the limit.

    REPORT: report.json of `./appliance load`; without any, those that came with this release.
    """
    runs = read(files) if files else recorded()
    if not runs:
        raise ConfigurationError("no recorded run: give report.json of `./appliance load`")
    costs, free = fit(runs), _room(runs)
    cores = cores or len(os.sched_getaffinity(0))
    processes = {"worker": workers or cores, "ingress": ingress}
    here = Layout(
        cores=cores, processes=processes, orders_cpu_s=floor or _floor(processes["worker"])
    )
    memory = float(memory_mb or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6)
    said = Capacity(
        layout=here,
        floor_ratio=here.orders_cpu_s / costs.orders_cpu_s,
        accounts=accounts,
        tenants=tenants,
        memory_mb=memory,
        predictions=[
            predict(costs, free, here, followers=each, accounts=accounts, tenants=tenants)
            for each in followers or FOLLOWERS
        ],
        most_accounts=most_accounts(costs, memory * FILLED, tenants),
        costs=costs,
        room=free,
        runs=[_beside(run, costs, free) for run in runs],
    )
    if as_json:
        print_json(said)
    else:
        _show(said)


def _room(runs: Sequence[Run]) -> Room:
    try:
        return room(runs)
    except ValueError as error:
        raise ConfigurationError(f"{error}: nothing tells how full a host may be") from error


def _beside(run: Run, costs: Costs, free: Room) -> Beside:
    said = predicted_of(run, costs, free)
    return Beside(
        command=run.command,
        measured_per_s=run.knee.signals_per_s,
        found=run.knee.found,
        predicted_per_s=said.signals_per_s,
        limit=said.limit,
    )


def _floor(workers: int) -> float:
    """This host's own, now."""
    from ops.load.floors import floors  # the simulators, which no other command needs

    click.echo("the floor of this host", err=True)
    with tempfile.TemporaryDirectory(prefix="pc-capacity-") as name:
        create_dev_certificates(Path(name) / "tls", datetime.now(UTC))
        return asyncio.run(floors(Path(name) / "tls", Path(name), workers)).orders_cpu_s


def _show(said: Capacity) -> None:
    layout = said.layout
    click.echo(
        f"{layout.cores} cores, {layout.processes['worker']} workers, {said.accounts:,} accounts of"
        f" {said.tenants} tenants; 1,000 plain orders cost {layout.orders_cpu_s:.3f} s of CPU here,"
        f" {said.floor_ratio:.2f} times what they cost where {said.costs.runs} runs were recorded"
    )
    print_table(
        ("followers", "signals/s", "orders/s", "limit", "cores of it"),
        [_row(one, said) for one in said.predictions],
    )
    if said.most_accounts is not None:
        click.echo(f"memory of {said.memory_mb:,.0f} MB: about {said.most_accounts:,} accounts")
    if said.costs.unknown:
        click.echo(f"the same in all runs, and so in no cost: {', '.join(said.costs.unknown)}")
    print_table(
        ("run", "knee found, signals/s", "the same by these costs", "limit"),
        [
            (
                one.command,
                f"{'' if one.found else 'at least '}{one.measured_per_s:,.1f}",
                f"{one.predicted_per_s:,.1f}",
                one.limit,
            )
            for one in said.runs
        ],
    )


def _row(one: Prediction, said: Capacity) -> tuple[str, ...]:
    largest = sorted(one.cores.items(), key=lambda each: -each[1])[:3]
    what = f"all {said.layout.cores} cores" if one.limit == HOST else one.limit
    return (
        f"{one.followers:,}",
        f"{one.signals_per_s:,.1f}",
        f"{one.orders_per_s:,.0f}",
        f"{what}, {one.full[one.limit]:.0%} full",
        ", ".join(f"{kind} {busy:.2f}" for kind, busy in largest),
    )
