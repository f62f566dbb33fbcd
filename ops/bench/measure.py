"""One figure: the median of its runs, beside the median of its floor's runs.

Floor and subject take turns, run by run, so that whatever else the machine does in a bad minute
falls on both. The ratio is value / floor: of two times it says how many floors ours takes, of two
rates what part of the floor's rate ours is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil
from statistics import median
from typing import Any

import msgspec

from ops.bench.profile import Profiler


class Effort(msgspec.Struct, frozen=True):
    """How much to do: `quick` is a smoke run, whose figures are worth little."""

    runs: int = 5
    quick: bool = False
    orders: int | None = None
    """How long the history of `pages` is; None: a length that a suite can wait for."""

    seconds: float | None = None
    """How long each run of `audit` appends records; None: 3."""

    profiler: Profiler | None = None
    """Who looks, after the runs, where the time goes; None: nobody."""

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0.1 <= self.seconds <= 3600:
            raise ValueError(f"seconds must be 0.1 to 3600, got {self.seconds}")
        if self.orders is not None and not 2_000 <= self.orders <= 100_000_000:
            raise ValueError(f"orders must be 2,000 to 100,000,000, got {self.orders}")
        if self.runs < 1:
            raise ValueError(f"runs must be 1 or more, got {self.runs}")


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `runs` holds each run's own value: how many there were, and their spread."""

    name: str
    value: float
    unit: str
    floor: float
    ratio: float
    runs: tuple[float, ...]


def measured(name: str, unit: str, values: Sequence[float], floors: Sequence[float]) -> Measurement:
    """The figure of these runs. Raises ValueError without a run, or where the floor is not above 0."""
    if not values or not floors:
        raise ValueError(f"{name}: no run, no figure")
    value, floor = median(values), median(floors)
    if floor <= 0:
        raise ValueError(f"{name}: a floor of {floor:g} {unit} was not measured")
    return Measurement(
        name=name, value=value, unit=unit, floor=floor, ratio=value / floor, runs=tuple(values)
    )


def machine(now: datetime) -> str:
    """When, on what, how busy."""
    return (
        f"{now:%Y-%m-%d %H:%M} UTC · {os.cpu_count()} cores · load {os.getloadavg()[0]:.1f} ·"
        f" Python {sys.version.split()[0]}"
    )


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that `percent` per cent of all do not exceed (nearest rank)."""
    if not samples:
        raise ValueError("no samples")
    ranked = sorted(samples)
    return ranked[max(0, ceil(len(ranked) * percent / 100) - 1)]


class Series:
    """Values and floors of several figures, as the runs bring them."""

    def __init__(self, units: Mapping[str, str]) -> None:
        self._units = units
        self._values: dict[str, list[float]] = {name: [] for name in units}
        self._floors: dict[str, list[float]] = {name: [] for name in units}

    def value(self, **figures: float) -> None:
        for name, value in figures.items():
            self._values[name].append(value)

    def floor(self, **figures: float) -> None:
        for name, floor in figures.items():
            self._floors[name].append(floor)

    def measurements(self) -> list[Measurement]:
        return [
            measured(name, unit, self._values[name], self._floors[name])
            for name, unit in self._units.items()
        ]


def to_json(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Plain objects, rounded to what a measurement can mean: five significant digits."""
    rows: list[dict[str, Any]] = msgspec.to_builtins(measurements)
    for row in rows:
        for key in ("value", "floor", "ratio"):
            row[key] = _five_digits(row[key])
        row["runs"] = [_five_digits(run) for run in row["runs"]]
    return rows


def _five_digits(number: float) -> float:
    return float(f"{number:.5g}")
