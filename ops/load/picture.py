"""The figures as pictures: latency against rate, fan-out, cost per 1,000 orders, CPU and memory by process."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from ops.bench.picture import BETTER, FAINT, FLOOR, OURS, TEXT
from ops.load.figures import Spread, StepFigures
from ops.load.scene import Scene
from ops.load.usage import OUTSIDE, Sample

BROKEN = "#b3202c"
PALETTE = (
    OURS, FLOOR, BETTER, "#7a5195", "#d1a12b", "#5c6b75", "#8c564b", "#e377c2", "#17becf", "#2f4b7c",
    "#a5b4bc",
)  # fmt: skip


def draw(steps: Sequence[StepFigures], samples: Sequence[Sample], p99_limit_ms: float) -> str:
    """One SVG. Raises ImportError where matplotlib is not installed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, places = pyplot.subplots(2, 3, figsize=(16, 8.4))
    ordered = sorted(steps, key=lambda one: one.asked_per_s)
    _answers(places[0][0], ordered, p99_limit_ms)
    _orders(places[0][1], ordered)
    _skew(places[0][2], ordered)
    _cost(places[1][0], ordered)
    _over_time(places[1][1], samples, _cores, "CPU, cores busy")
    _over_time(places[1][2], samples, _megabytes, "memory of its own, MB")
    return _finished(canvas)


def draw_scene(scene: Scene, samples: Sequence[Sample], p99_limit_ms: float) -> str:
    """The same of a scenario: what steady senders noticed, second by second."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, places = pyplot.subplots(2, 2, figsize=(16, 8.4))
    _noticed(places[0][0], scene, p99_limit_ms)
    _rates(places[0][1], scene)
    _over_time(places[1][0], samples, _cores, "CPU, cores busy")
    _over_time(places[1][1], samples, _megabytes, "memory of its own, MB")
    return _finished(canvas)


def draw_soak(steps: Sequence[StepFigures], samples: Sequence[Sample], p99_limit_ms: float) -> str:
    """The same of a soak: window by window, second by second."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, places = pyplot.subplots(2, 3, figsize=(16, 8.4))
    _windows(places[0][0], steps, p99_limit_ms)
    _window_cost(places[0][1], steps)
    _over_time(places[0][2], samples, _cores, "CPU, cores busy")
    _over_time(places[1][0], samples, _megabytes, "memory of its own, MB")
    _over_time(places[1][1], samples, _open_files, "open files")
    _over_time(places[1][2], samples, _threads, "threads")
    return _finished(canvas)


def _windows(axes: Any, steps: Sequence[StepFigures], limit_ms: float) -> None:
    for name, colour, spreads in (
        ("answer", OURS, [step.answer for step in steps]),
        ("last order", BETTER, [step.last_order for step in steps]),
    ):
        there = [(place, one) for place, one in enumerate(spreads, 1) if one is not None]
        places = [place for place, _ in there]
        axes.plot(places, [one.p50_ms for _, one in there], ":", color=colour, label=f"{name}, p50")
        axes.plot(places, [one.p99_ms for _, one in there], "-", color=colour, label=f"{name}, p99")
    axes.axhline(limit_ms, color=FLOOR, linestyle="--", linewidth=1, label="objective, p99 of 202")
    _finish(axes, "webhook to 202 and to its last order", "window", "ms", log=True)


def _window_cost(axes: Any, steps: Sequence[StepFigures]) -> None:
    spent = [step.product_cpu_s_per_1000_orders for step in steps]
    axes.plot(range(1, len(steps) + 1), spent, "o-", color=OURS)
    axes.set_ylim(bottom=0)
    _finish(axes, "CPU of 1,000 orders", "window", "CPU seconds")


def _noticed(axes: Any, scene: Scene, limit_ms: float) -> None:
    there = [one for one in scene.moments if one.slowest_ms is not None]
    axes.plot([one.second for one in there], [one.slowest_ms for one in there], color=OURS)
    axes.axhline(limit_ms, color=FLOOR, linestyle="--", linewidth=1, label="objective")
    _loud(axes, scene)
    title = "steady senders: the slowest webhook to 202 of each second"
    _finish(axes, title, "seconds since it became loud", "ms from the intended start", log=True)


def _rates(axes: Any, scene: Scene) -> None:
    seconds = [one.second for one in scene.moments]
    axes.plot(seconds, [one.accepted for one in scene.moments], color=OURS, label="accepted")
    axes.plot(seconds, [one.refused for one in scene.moments], color=BROKEN, label="not accepted")
    _loud(axes, scene)
    _finish(axes, "all senders", "seconds since it became loud", "signals/s")


def _loud(axes: Any, scene: Scene) -> None:
    axes.axvspan(0, scene.ended_s - scene.began_s, color=FAINT, alpha=0.5, label="loud")


def _finished(canvas: Any) -> str:
    """The SVG's element."""
    from matplotlib import pyplot

    canvas.tight_layout()
    text = io.StringIO()
    # Without a date the same figures are the same picture.
    canvas.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(canvas)
    return text.getvalue()[text.getvalue().index("<svg") :]


def _answers(axes: Any, steps: Sequence[StepFigures], limit_ms: float) -> None:
    """Webhook to its 202."""
    _lines(axes, steps, "answer", lambda step: step.answer)
    axes.axhline(limit_ms, color=FLOOR, linestyle="--", linewidth=1, label="objective, p99")
    _finish(axes, "webhook to 202", "signals/s", "ms from the intended start", log=True)


def _orders(axes: Any, steps: Sequence[StepFigures]) -> None:
    _lines(axes, steps, "first order", lambda step: step.first_order)
    _lines(axes, steps, "last order", lambda step: step.last_order, colour=BETTER)
    _finish(axes, "webhook to its orders", "signals/s", "ms from the intended start", log=True)


def _skew(axes: Any, steps: Sequence[StepFigures]) -> None:
    _lines(axes, steps, "first to last order", lambda step: step.skew)
    _finish(axes, "fan-out skew within a signal", "signals/s", "ms", log=True)


def _lines(
    axes: Any, steps: Sequence[StepFigures], name: str,
    pick: Callable[[StepFigures], Spread | None], colour: str = OURS,
) -> None:  # fmt: skip
    """p50 and p99; a step that broke an objective is a cross."""
    there = [(step, spread) for step in steps if (spread := pick(step)) is not None]
    rates = [step.asked_per_s for step, _ in there]
    for label, style, values in (
        ("p50", ":", [spread.p50_ms for _, spread in there]),
        ("p99", "-", [spread.p99_ms for _, spread in there]),
    ):
        axes.plot(rates, values, style, color=colour, linewidth=1.6, label=f"{name}, {label}")
        for (step, _), rate, value in zip(there, rates, values, strict=True):
            mark, edge = ("x", BROKEN) if step.broke else ("o", colour)
            axes.plot([rate], [value], mark, color=edge, markersize=5)


def _cost(axes: Any, steps: Sequence[StepFigures]) -> None:
    """Stacked; what no installation has beside it is left out."""
    held = [step for step in steps if step.cpu_s_per_1000_orders]
    labels = [f"{step.asked_per_s:g}{' ✗' if step.broke else ''}" for step in held]
    groups = sorted({group for step in held for group in step.cpu_s_per_1000_orders} - OUTSIDE)
    below = [0.0] * len(held)
    for place, group in enumerate(groups):
        spent = [step.cpu_s_per_1000_orders.get(group, 0.0) for step in held]
        colour = PALETTE[place % len(PALETTE)]
        axes.bar(range(len(held)), spent, bottom=below, color=colour, label=group)
        below = [one + other for one, other in zip(below, spent, strict=True)]
    axes.set_xticks(range(len(held)), labels, size=8)
    _finish(axes, "CPU of 1,000 orders", "signals/s, each step (✗ broke)", "CPU seconds")


def _over_time(
    axes: Any, samples: Sequence[Sample], series: Callable[[Sequence[Sample], str], list[float]], title: str
) -> None:  # fmt: skip
    later = samples[1:]
    times = [one.at_s - samples[0].at_s for one in later]
    groups = sorted({group for one in samples for group in one.cpu_s})
    for place, group in enumerate(groups):
        style = "--" if group in OUTSIDE else "-"
        colour = PALETTE[place % len(PALETTE)]
        axes.plot(times, series(samples, group), style, color=colour, linewidth=1.3, label=group)
    _finish(axes, f"{title}, by process", "seconds of the run", "")


def _cores(samples: Sequence[Sample], group: str) -> list[float]:
    return [
        (other.cpu_s.get(group, 0.0) - one.cpu_s.get(group, 0.0)) / (other.at_s - one.at_s)
        for one, other in pairwise(samples)
    ]


def _megabytes(samples: Sequence[Sample], group: str) -> list[float]:
    return [one.memory.get(group, 0) / 1e6 for one in samples[1:]]


def _open_files(samples: Sequence[Sample], group: str) -> list[float]:
    return [float(one.files.get(group, 0)) for one in samples[1:]]


def _threads(samples: Sequence[Sample], group: str) -> list[float]:
    return [float(one.threads.get(group, 0)) for one in samples[1:]]


def _finish(axes: Any, title: str, x: str, y: str, *, log: bool = False) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_title(title, loc="left", size=11, weight="bold", color=TEXT)
    axes.set_xlabel(x, size=9, color=TEXT)
    axes.set_ylabel(y, size=9, color=TEXT)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(color=FAINT, linewidth=0.6)
    axes.tick_params(colors=TEXT, labelsize=8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, framealpha=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
