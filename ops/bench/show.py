"""A table for people, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ops.bench.figures import figure
from ops.bench.measure import Measurement


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(measurements: Sequence[Measurement]) -> Table:
    """One row per figure."""
    shown = Table(title="Figures beside this machine's floors", title_justify="left")
    for column in ("figure", "what it is", "value", "runs", "floor", "ratio", "the floor is"):
        right = column in ("value", "runs", "floor", "ratio")
        shown.add_column(column, justify="right" if right else "left", no_wrap=right)
    for one in measurements:
        words = figure(one.name)
        shown.add_row(
            one.name,
            words.what,
            f"{number(one.value)} {one.unit}",
            f"{number(min(one.runs))} to {number(max(one.runs))}",
            f"{number(one.floor)} {one.unit}",
            number(one.ratio),
            words.floor,
        )
    return shown


def print_table(measurements: Sequence[Measurement]) -> None:
    Console(width=None).print(table(measurements))
