"""Everything that a run says: one document, which is the JSON, and which the page shows."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtest.swarm.run import Sent
from ops.load.figures import StepFigures
from ops.load.floors import Floors
from ops.load.scene import Scene
from ops.load.settings import Settings
from ops.load.soak import Growth
from ops.load.usage import Sample


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Was everything that was accepted carried out, once? `acknowledged`: signals answered 202.

    The rest is the auditor's opinion (loadtest/auditor.py): of senders' notes, rows, exchange and log.
    """

    acknowledged: int
    signals: int
    orders: int
    lost: int
    doubled: int
    unexplained: int
    log: str
    findings: list[str]

    @property
    def exactly_once(self) -> bool:
        return not (self.lost or self.doubled or self.unexplained) and self.log == "unbroken"


def verdict(sent: Sequence[Sent], opinion: Mapping[str, Any]) -> Verdict:
    """The opinion beside what the senders were told."""
    acknowledged = {one.signal_id for one in sent if one.signal_id is not None}
    return msgspec.convert({"acknowledged": len(acknowledged), **opinion}, Verdict)


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request over the whole run, as Locust counted it. Times from the intended start."""

    name: str
    count: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None


def read_requests(file: Path) -> list[Requests]:
    """Of Locust's CSV; its last line is the sum of all, which says nothing here."""
    with file.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["Name"] != "Aggregated"]
    return [
        Requests(
            name=row["Name"],
            count=int(row["Request Count"]),
            failed=int(row["Failure Count"]),
            p50_ms=_number(row["50%"]),
            p99_ms=_number(row["99%"]),
        )
        for row in rows
    ]


def _number(text: str) -> float | None:
    return None if text == "N/A" else float(text)


class Knee(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rate at which every objective held. `found`: some rate above it broke one; else it is at
    least this. Beside the floors of the same run: parts of the bare 202s and of the plain loop's orders a
    second, and how many times the plain loop's CPU time an order costs. None where nothing was measured.
    """

    signals_per_s: float
    orders_per_s: float
    found: bool
    of_bare_202: float | None
    of_plain_orders: float | None
    cost_in_floors: float | None


def knee(step: StepFigures | None, floors: Floors, *, found: bool) -> Knee:
    """Of the step at the knee; None: no rate held."""
    if step is None:
        return Knee(
            signals_per_s=0, orders_per_s=0, found=found,
            of_bare_202=None, of_plain_orders=None, cost_in_floors=None,
        )  # fmt: skip
    cost = step.product_cpu_s_per_1000_orders
    return Knee(
        signals_per_s=step.asked_per_s,
        orders_per_s=step.orders_per_s,
        found=found,
        of_bare_202=step.asked_per_s / floors.bare_per_s,
        of_plain_orders=step.orders_per_s / floors.orders_per_s,
        cost_in_floors=cost / floors.orders_cpu_s if cost else None,
    )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`conditions`: when, on what, how busy it was. `cores`: of the host, on which everything ran. `scene`: of a
    scenario with loud senders. `growths`: of a soak. `samples`: of the whole run."""

    command: str
    conditions: str
    cores: int
    settings: Settings
    floors: Floors
    knee: Knee
    scene: Scene | None
    verdict: Verdict
    growths: list[Growth]
    steps: list[StepFigures]
    requests: list[Requests]
    samples: list[Sample]

    @property
    def well(self) -> bool:
        """Everything was carried out once, and nothing grew that should not."""
        return self.verdict.exactly_once and not any(one.grew for one in self.growths)
