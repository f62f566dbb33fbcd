"""The figures as a picture: how far each stands from its floor, on one axis.

Times and rates share the axis as *cost*: 1 is the floor, 4 is four times its time or a quarter of
its rate. Left is better. Dots are the single runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ops.bench.figures import cost, figure
from ops.bench.measure import Measurement
from ops.bench.show import number

OURS, BETTER, FLOOR, FAINT, TEXT = "#1f6f8b", "#3c8d5a", "#b5651d", "#c9d6dc", "#22303a"


def draw(measurements: Sequence[Measurement], path: Path, subtitle: str) -> None:
    """Write the PNG to `path`. Raises ImportError where matplotlib is not installed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = list(measurements)
    canvas, axes = pyplot.subplots(figsize=(11.5, 1.7 + 0.62 * len(rows)), dpi=150)
    for place, one in enumerate(rows):
        _row(axes, place, one)
    _frame(axes, rows)
    canvas.suptitle(
        "Portcullis beside this machine's floors", x=0.012, ha="left", size=14, weight="bold",
        color=TEXT,
    )  # fmt: skip
    canvas.text(0.012, 1 - 0.5 / canvas.get_figheight(), subtitle, size=9, color="#5c6b75")
    canvas.tight_layout(rect=(0, 0, 1, 1 - 0.3 / canvas.get_figheight()))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path)
    pyplot.close(canvas)


def _row(axes: Any, place: int, one: Measurement) -> None:
    at = cost(one.name, one.value, one.floor)
    colour = OURS if at >= 1 else BETTER
    axes.plot([1, at], [place, place], color=colour, linewidth=7, solid_capstyle="butt", alpha=0.85)
    runs = [cost(one.name, run, one.floor) for run in one.runs]
    axes.scatter(runs, [place] * len(runs), s=14, color="white", edgecolor=colour, zorder=3)
    axes.annotate(
        f"{number(one.value)} {one.unit}", (max(at, *runs, 1), place), xytext=(9, 0),
        textcoords="offset points", va="center", size=9, weight="bold", color=TEXT,
    )  # fmt: skip
    axes.annotate(
        f"{number(one.floor)} {one.unit}", (min(at, *runs, 1), place), xytext=(-9, 0),
        textcoords="offset points", va="center", ha="right", size=9, color=FLOOR,
    )  # fmt: skip


def _frame(axes: Any, rows: Sequence[Measurement]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    costs = [cost(one.name, run, one.floor) for one in rows for run in (*one.runs, one.value)]
    axes.set_xscale("log")
    axes.set_xlim(min(1.0, *costs) / 2.6, max(2.0, *costs) * 2.6)
    axes.set_ylim(len(rows) - 0.4, -0.75)
    axes.axvline(1, color=FLOOR, linewidth=1.6, zorder=0)
    axes.set_yticks(
        range(len(rows)), [f"{one.name}\n{figure(one.name).floor}" for one in rows], size=8.5
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.annotate(
        "the floor", (1, 0), xytext=(0, 20), textcoords="offset points", ha="center", size=9,
        color=FLOOR, style="italic",
    )  # fmt: skip
    axes.set_xlabel("cost, in floors (1 = the floor; further left is better)", color=TEXT)
    axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=0)
    axes.tick_params(colors=TEXT, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
