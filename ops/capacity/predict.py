"""The highest rate at which every part of a host has room, and which part is the first that has none.

A part is the host's cores together, or the processes of one kind, each of which uses one core at most. How
full a part may be is not assumed: it is the fullest that it was in a recorded step in which every objective
held (`Room`). A kind of process that was never near its limit there is given USUAL of it.

The floor brings it to another host: the CPU time of the plain loop there, against the reference host's.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ops.capacity.fit import Costs, Load, load_of
from ops.capacity.runs import Run
from ops.load.usage import OUTSIDE

HOST = "host"
USUAL = 0.8
"""Of a core, for a kind of process that was never seen to be the limit."""
MANY = frozenset({"postgres"})
"""Kinds that use as many cores as there are: a process for each connection."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A host: its cores, how many processes of some kinds (others have one), and its floor: CPU seconds of
    1,000 orders by the plain loop. `beside`: generators and exchange are on it as well, as in a run."""

    cores: int
    processes: dict[str, int]
    orders_cpu_s: float
    beside: bool = False


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How full each part was at most in a step that held: the host of its cores, a kind of its processes."""

    host: float
    kinds: dict[str, float]

    def of(self, kind: str) -> float:
        return max(USUAL, self.kinds.get(kind, 0.0))


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """`limit`: the part that has no more room. `cores`: by kind of process at that rate; `full`: of each part
    how much of it, 1 is all."""

    followers: int
    signals_per_s: float
    orders_per_s: float
    limit: str
    cores: dict[str, float]
    full: dict[str, float]


def layout_of(run: Run) -> Layout:
    """The host of a recorded run, with generators and exchange beside the product."""
    return Layout(
        cores=run.cores,
        processes={"worker": run.settings.workers, "ingress": run.settings.ingress},
        orders_cpu_s=run.floors.orders_cpu_s,
        beside=True,
    )


def room(runs: Sequence[Run]) -> Room:
    """Of the steps that held. Raises ValueError where none did."""
    host, kinds = 0.0, dict[str, float]()
    for run in runs:
        processes = layout_of(run).processes
        for step in run.steps:
            if step.broke:
                continue
            host = max(host, sum(step.cpu_cores.values()) / run.cores)
            for kind, busy in step.cpu_cores.items():
                if kind not in MANY:
                    kinds[kind] = max(kinds.get(kind, 0.0), busy / processes.get(kind, 1))
    if not host:
        raise ValueError("no rate of any run held")
    return Room(host=host, kinds=kinds)


def predict(
    costs: Costs, free: Room, layout: Layout, *, followers: int, accounts: int, tenants: int
) -> Prediction:
    """For signals that are each followed by so many accounts."""
    faster = layout.orders_cpu_s / costs.orders_cpu_s

    def cores(signals: float) -> dict[str, float]:
        load = Load(signals=signals, orders=signals * followers, accounts=accounts, tenants=tenants)
        return {
            kind: busy * faster
            for kind, busy in costs.at(load).items()
            if layout.beside or kind not in OUTSIDE
        }

    rest, more = cores(0.0), cores(1.0)
    ends = {
        HOST: _rate(
            free.host * layout.cores, sum(rest.values()), sum(more.values()) - sum(rest.values())
        )
    }
    for kind in rest:
        if kind not in MANY and kind not in OUTSIDE:
            most = free.of(kind) * layout.processes.get(kind, 1)
            ends[kind] = _rate(most, rest[kind], more[kind] - rest[kind])
    limit = min(ends, key=ends.__getitem__)
    at = cores(ends[limit])
    return Prediction(
        followers=followers,
        signals_per_s=ends[limit],
        orders_per_s=ends[limit] * followers,
        limit=limit,
        cores=at,
        full={HOST: sum(at.values()) / layout.cores}
        | {
            kind: busy / layout.processes.get(kind, 1)
            for kind, busy in at.items()
            if kind not in MANY
        },
    )


def predicted_of(run: Run, costs: Costs, free: Room) -> Prediction:
    """What these costs say of a run's own knee, to be held against what it found."""
    asked = load_of(run, 0, 0)
    return predict(
        costs, free, layout_of(run), followers=run.settings.followers,
        accounts=int(asked.accounts), tenants=int(asked.tenants),
    )  # fmt: skip


def most_accounts(costs: Costs, memory_mb: float, tenants: int) -> int | None:
    """How many accounts fit into so much memory; None where no run tells what one takes."""
    each = sum(terms.get("accounts", 0.0) for terms in costs.memory_mb.values())
    if not each:
        return None
    rest = sum(costs.memory_at(Load(signals=0, orders=0, accounts=0, tenants=tenants)).values())
    return max(0, int((memory_mb - rest) / each))


def _rate(most: float, rest: float, each: float) -> float:
    """The rate at which `rest + rate × each` is `most`."""
    return max(0.0, (most - rest) / each) if each > 0 else float("inf")
