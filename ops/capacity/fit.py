"""What a signal, an order, an account, a tenant and the mere running cost: fitted to the steps of recorded runs.

For each kind of process the cores that it kept busy in a step are taken as

    rest + accounts × a + tenants × t + signals/s × s + orders/s × o

with no term below nothing, by least squares. Steps of a run are brought to one host's speed by the CPU time
of the plain loop of orders, which every run measures for itself (ops/load/floors.py): of two runs, one in a
bad hour of the machine, the costs in floors are compared. What did not differ between the runs cannot be told
from the rest and has no term; `Costs.unknown` names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ops.capacity.runs import Run

Term = Literal["rest", "accounts", "tenants", "signals", "orders"]
TERMS: tuple[Term, ...] = ("rest", "accounts", "tenants", "signals", "orders")
ALIKE = 0.02
"""Columns whose values lie within such a part of their largest say nothing."""
FLOOR_CORES = 0.05
"""Below so many cores a difference is noise, not a part of the whole."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an installation. Rates a second."""

    signals: float
    orders: float
    accounts: float
    tenants: float

    def column(self, term: Term) -> float:
        return 1.0 if term == "rest" else float(getattr(self, term))


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Of each kind of process (`cores`) its coefficients, in cores of the reference host; of each its own
    memory in MB by the same terms, of which only rest and accounts count (`memory_mb`).

    `orders_cpu_s`: the floor of the reference host, to which all of it refers. `runs`, `steps`: how many it is
    made of. `unknown`: what did not differ between them.
    """

    cores: dict[str, dict[Term, float]]
    memory_mb: dict[str, dict[Term, float]]
    orders_cpu_s: float
    runs: int
    steps: int
    unknown: tuple[Term, ...]

    def at(self, load: Load) -> dict[str, float]:
        """Cores by kind of process, on the reference host."""
        return {group: _sum(terms, load) for group, terms in self.cores.items()}

    def memory_at(self, load: Load) -> dict[str, float]:
        """MB by kind of process."""
        return {group: _sum(terms, load) for group, terms in self.memory_mb.items()}


def fit(runs: Sequence[Run]) -> Costs:
    """Raises ValueError where there is no step to fit to."""
    rows = [
        (load_of(run, step.accepted_per_s, step.orders_per_s), run, step)
        for run in runs
        for step in run.steps
    ]
    if not rows:
        raise ValueError("no step of any run")
    reference = median(run.floors.orders_cpu_s for run in runs)
    loads = [load for load, _, _ in rows]
    terms = [term for term in TERMS if term == "rest" or _differs(loads, term)]
    standing = [term for term in terms if term in ("rest", "accounts")]
    groups = sorted({group for _, _, step in rows for group in step.cpu_cores})
    return Costs(
        cores={
            group: least_squares(
                loads,
                [
                    step.cpu_cores.get(group, 0.0) * reference / run.floors.orders_cpu_s
                    for _, run, step in rows
                ],
                terms,
            )
            for group in groups
        },
        memory_mb={
            group: least_squares(
                loads, [step.memory_mb.get(group, 0.0) for *_, step in rows], standing
            )
            for group in groups
        },
        orders_cpu_s=reference,
        runs=len(runs),
        steps=len(rows),
        unknown=tuple(term for term in TERMS if term not in terms),
    )


def load_of(run: Run, signals: float, orders: float) -> Load:
    """These rates on that run's installation."""
    return Load(signals=signals, orders=orders, accounts=run.accounts, tenants=run.settings.tenants)


def least_squares(
    loads: Sequence[Load], wanted: Sequence[float], terms: Sequence[Term]
) -> dict[Term, float]:
    """The coefficients, none below 0, whose relative errors' squares sum to the least.

    With five terms all choices of those that are above 0 are tried: thirty-two small problems.
    """
    weight = 1 / (np.array(wanted) + FLOOR_CORES)
    target = np.array(wanted) * weight
    columns = {term: np.array([load.column(term) for load in loads]) * weight for term in terms}
    best: dict[Term, float] = dict.fromkeys(terms, 0.0)
    least = float(target @ target)
    for count in range(1, len(terms) + 1):
        for chosen in combinations(terms, count):
            matrix: NDArray[np.float64] = np.stack([columns[term] for term in chosen], axis=1)
            found, *_ = np.linalg.lstsq(matrix, target, rcond=None)
            error = float(np.square(matrix @ found - target).sum())
            if (found >= 0).all() and error < least:
                least = error
                best = dict.fromkeys(terms, 0.0) | dict(zip(chosen, map(float, found), strict=True))
    return best


def _sum(terms: Mapping[Term, float], load: Load) -> float:
    return sum(cost * load.column(term) for term, cost in terms.items())


def _differs(loads: Sequence[Load], term: Term) -> bool:
    values = [load.column(term) for load in loads]
    return max(values) - min(values) > ALIKE * max(values)
