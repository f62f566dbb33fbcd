"""The figures of each step, from what senders noted, what the exchange executed and what processes cost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from loadtest.swarm.course import Step
from loadtest.swarm.run import Sent
from ops.bench.measure import percentile
from ops.load.usage import OUTSIDE, Sample, cpu_between, most


class Spread(msgspec.Struct, frozen=True):
    """Of a time, in milliseconds. None where nothing was measured."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, samples_s: Iterable[float]) -> Spread | None:
        ms = [sample * 1000 for sample in samples_s]
        return cls(percentile(ms, 50), percentile(ms, 99)) if ms else None


class StepFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the search.

    `answer`, `first_order`, `last_order`: from a signal's intended start to its answer, to the arrival of its
    first and of its last order at the exchange. `skew`: between these two. Of each group of processes:
    `cpu_cores`, how many it kept busy; `memory_mb` of its own, `files` open and `threads`, the most at any
    look; `cpu_s_per_1000_orders`, of each thousand that arrived.
    """

    senders: int
    asked_per_s: float
    accepted_per_s: float
    orders_per_s: float
    failed: int
    broke: str
    lag_s: float
    answer: Spread | None
    first_order: Spread | None
    last_order: Spread | None
    skew: Spread | None
    cpu_cores: dict[str, float]
    memory_mb: dict[str, float]
    files: dict[str, int]
    threads: dict[str, int]
    cpu_s_per_1000_orders: dict[str, float]

    @property
    def product_cpu_s_per_1000_orders(self) -> float:
        return sum(
            spent for group, spent in self.cpu_s_per_1000_orders.items() if group not in OUTSIDE
        )


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a run. `arrivals`: signal's id → when its orders arrived at the exchange (Unix s)."""

    sent: Sequence[Sent]
    arrivals: Mapping[str, Sequence[float]]
    samples: Sequence[Sample]


def step_figures(step: Step, evidence: Evidence, pace_per_s: float) -> StepFigures:
    """Of the signals that were meant to leave within the step, whenever they were answered."""
    began, ended = step.began_s, step.ended_s
    seconds = ended - began
    sent = [one for one in evidence.sent if began <= one.intended_at < ended]
    accepted = [one for one in sent if one.signal_id is not None]
    traded = [
        (one.intended_at, arrived)
        for one in accepted
        if (arrived := evidence.arrivals.get(one.signal_id or ""))
    ]
    orders = sum(began <= at < ended for arrived in evidence.arrivals.values() for at in arrived)
    cpu = cpu_between(evidence.samples, began, ended)
    within = [one for one in evidence.samples if began <= one.at_s <= ended]
    return StepFigures(
        senders=step.senders,
        asked_per_s=step.senders * pace_per_s,
        accepted_per_s=len(accepted) / seconds,
        orders_per_s=orders / seconds,
        failed=len(sent) - len(accepted),
        broke=step.broke,
        lag_s=step.seen.lag_s,
        answer=Spread.of(one.took_s for one in sent),
        first_order=Spread.of(min(arrived) - at for at, arrived in traded),
        last_order=Spread.of(max(arrived) - at for at, arrived in traded),
        skew=Spread.of(max(arrived) - min(arrived) for _, arrived in traded),
        cpu_cores={group: spent / seconds for group, spent in cpu.items()},
        memory_mb={
            group: found / 1e6 for group, found in most([one.memory for one in within]).items()
        },
        files=most([one.files for one in within]),
        threads=most([one.threads for one in within]),
        cpu_s_per_1000_orders={
            group: spent * 1000 / orders for group, spent in cpu.items() if orders
        },
    )


def at_the_knee(steps: Sequence[StepFigures], good: int) -> StepFigures | None:
    """The last step at the highest rate at which all objectives held; None where there is no such rate."""
    held = [step for step in steps if step.senders == good and not step.broke]
    return held[-1] if held else None
