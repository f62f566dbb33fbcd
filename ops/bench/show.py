"""A table for people, on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ops.bench.figures import cost, figure
from ops.bench.history import Entry, last, names
from ops.bench.measure import Measurement
from ops.bench.profile import Profile


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(measurements: Sequence[Measurement], history: Sequence[Entry] = ()) -> Table:
    """One row per figure. The last column: its cost in floors as it was last kept, and by which commit."""
    shown = Table(title="Figures beside this machine's floors", title_justify="left")
    for column in ("figure", "value", "runs", "floor", "ratio", "cost", "cost before"):
        shown.add_column(column, justify="left" if column == "figure" else "right", no_wrap=True)
    for one in measurements:
        before = last(history, one.name)
        shown.add_row(
            one.name,
            f"{number(one.value)} {one.unit}",
            f"{number(min(one.runs))} to {number(max(one.runs))}",
            f"{number(one.floor)} {one.unit}",
            number(one.ratio),
            number(cost(one.name, one.value, one.floor)),
            "" if before is None else f"{number(before[1])} ({before[0].commit})",
        )
    return shown


def history_table(history: Sequence[Entry]) -> Table:
    """What each figure cost, in floors, from the oldest entry to the newest."""
    shown = Table(title="Costs in floors; less is better", title_justify="left")
    shown.add_column("figure", no_wrap=True)
    for entry in history:
        shown.add_column(f"{entry.commit}\n{entry.at:%m-%d %H:%M}", justify="right", no_wrap=True)
    for name in names(history):
        costs = (entry.cost(name) for entry in history)
        shown.add_row(name, *("" if each is None else number(each) for each in costs))
    return shown


def legend(measurements: Sequence[Measurement]) -> list[str]:
    """What each figure is, and beside what it stands."""
    lines = []
    for one in measurements:
        words = figure(one.name)
        lines.append(f"{one.name}: {words.what}. Floor: {words.floor}.")
    return lines


def print_table(measurements: Sequence[Measurement], history: Sequence[Entry]) -> None:
    console = _console()
    console.print(table(measurements, history))
    for line in legend(measurements):
        console.print(line, highlight=False, soft_wrap=True)


def print_history(history: Sequence[Entry]) -> None:
    _console().print(history_table(history))


def profile_table(profiles: Sequence[Profile]) -> Table:
    """Where the processes' time went; a process that had less than a hundredth of its section's is left out."""
    shown = Table(title="Where the time goes: innermost files of ours", title_justify="left")
    for column in ("section", "process", "of section", "file", "of process"):
        shown.add_column(column, justify="right" if column.startswith("of ") else "left")
    of_section: Counter[str] = Counter()
    for one in profiles:
        of_section[one.section] += one.samples
    for one in profiles:
        if one.samples * 100 < of_section[one.section]:
            continue
        heads = one.section, one.process, f"{one.samples / of_section[one.section]:.0%}"
        for file, part in one.parts.items():
            shown.add_row(*heads, file, f"{part:.0%}")
            heads = "", "", ""
        shown.add_section()
    return shown


def print_profiles(profiles: Sequence[Profile]) -> None:
    _console().print(profile_table(profiles))


def _console() -> Console:
    console = Console()
    # Where the output is no terminal there is no width to keep to.
    console.width = max(console.width, 140)
    return console
