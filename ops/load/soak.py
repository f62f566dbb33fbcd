"""Did anything grow while the same was asked for all the time? Pure.

The first quarter of the windows is left to caches, pools and plans that fill once. Through each count of
the others goes the line whose slope is the median of all slopes between two of them (Theil and Sen), so
that one odd window does not tilt it. A count has grown where that line rises by more than its allowance
from the first of these windows to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from statistics import median

import msgspec

from ops.load.figures import StepFigures
from ops.load.usage import OUTSIDE

WARM_UP = 0.25
"""Part of the windows."""
ALLOWED_SHARE = 0.05


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """One count of one group of processes. `first`, `last`: where the line is at the first and at the last of
    the windows that count."""

    count: str
    group: str
    first: float
    last: float
    allowed: float

    @property
    def grew(self) -> bool:
        return self.last - self.first > self.allowed


COUNTS: Mapping[str, tuple[Callable[[StepFigures], Mapping[str, float]], float]] = {
    "MB of its own": (lambda step: step.memory_mb, 8.0),
    "open files": (lambda step: step.files, 4.0),
    "threads": (lambda step: step.threads, 2.0),
}
"""What is looked at, and by how much it may differ at the least."""


def growths(windows: Sequence[StepFigures]) -> list[Growth]:
    """Of each count and each group of the product, those that grew first. Raises ValueError below 3 windows."""
    counted = windows[int(len(windows) * WARM_UP) :]
    if len(counted) < 3:
        raise ValueError(f"windows: 3 or more, not {len(windows)}")
    found = []
    for count, (pick, least) in COUNTS.items():
        for group in sorted({group for step in counted for group in pick(step)} - OUTSIDE):
            values = [float(pick(step).get(group, 0)) for step in counted]
            first, last = line(values)
            allowed = max(least, ALLOWED_SHARE * first)
            found.append(Growth(count=count, group=group, first=first, last=last, allowed=allowed))
    return sorted(found, key=lambda one: not one.grew)


def line(values: Sequence[float]) -> tuple[float, float]:
    """Where the Theil-Sen line is at the first and at the last of these, which are as far from each other."""
    slope = median(
        (values[other] - values[one]) / (other - one)
        for one, other in combinations(range(len(values)), 2)
    )
    start = median(value - slope * place for place, value in enumerate(values))
    return start, start + slope * (len(values) - 1)
