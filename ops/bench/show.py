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
    for column in ("figure", "value", "runs", "floor", "ratio"):
        shown.add_column(column, justify="left" if column == "figure" else "right", no_wrap=True)
    for one in measurements:
        shown.add_row(
            one.name,
            f"{number(one.value)} {one.unit}",
            f"{number(min(one.runs))} to {number(max(one.runs))}",
            f"{number(one.floor)} {one.unit}",
            number(one.ratio),
        )
    return shown


def legend(measurements: Sequence[Measurement]) -> list[str]:
    """What each figure is, and beside what it stands."""
    lines = []
    for one in measurements:
        words = figure(one.name)
        lines.append(f"{one.name}: {words.what}. Floor: {words.floor}.")
    return lines


def print_table(measurements: Sequence[Measurement]) -> None:
    console = Console()
    # Where the output is no terminal there is no width to keep to.
    console.width = max(console.width, 100)
    console.print(table(measurements))
    for line in legend(measurements):
        console.print(line, highlight=False, soft_wrap=True)
