"""Where the time went, as bars on one scale. Pure: times in, numbers for an SVG out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

WIDTH = 1000
"""Of the drawing, in its own units."""
LEAST = 3
"""A bar that took no time is seen all the same."""


class Bar(NamedTuple):
    """A step of something named `of`; one without both ends did not happen, and is not drawn."""

    step: str
    begin: datetime | None
    end: datetime | None
    of: str


class Drawn(NamedTuple):
    """A bar in place: `x` and `width` in units of the drawing, `ms` as it was measured."""

    step: str
    of: str
    x: float
    width: float
    ms: float


class Waterfall(NamedTuple):
    bars: list[Drawn]
    total_ms: float


def waterfall(start: datetime, bars: Sequence[Bar]) -> Waterfall:
    """All on one scale, from `start` to the last end."""
    whole = [bar for bar in bars if bar.begin is not None and bar.end is not None]
    total = max((_ms(start, bar.end) for bar in whole), default=0.0)
    scale = WIDTH / total if total > 0 else 0.0
    drawn = []
    for bar in whole:
        ms = max(0.0, _ms(bar.begin, bar.end))
        width = max(LEAST, ms * scale)
        x = min(max(0.0, _ms(start, bar.begin) * scale), WIDTH - width)
        drawn.append(Drawn(bar.step, bar.of, round(x, 2), round(width, 2), ms))
    return Waterfall(drawn, total)


def _ms(begin: datetime | None, end: datetime | None) -> float:
    assert begin is not None
    assert end is not None
    return (end - begin).total_seconds() * 1000
