"""Panels as Grafana (10 and later) reads them. Pure: a panel is a value, its place is ops/dashboards/board.py's.

What every panel must have (a title, a sentence that says how to read it, a unit) has no default here,
and the data source is the dashboard's variable. Panels that an alert watches name it: the link leads to
its runbook.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GOOD, WARN, BAD, PLAIN = "green", "orange", "red", "text"

Steps = Sequence[tuple[float, str]]
"""From which value on which colour; below the first it is good."""


class Query(msgspec.Struct, frozen=True):
    """One line or number: PromQL, and what its legend says."""

    expr: str
    legend: str = ""


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One panel. `width` of 24 and `height` in Grafana's units; `alerts`: those that watch it."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "heatmap", "table"]
    width: int
    height: int
    alerts: tuple[str, ...] = ()
    defaults: dict[str, Any]
    options: dict[str, Any]
    extra: dict[str, Any] = {}


def lines(
    title: str, description: str, unit: str, *queries: tuple[str, str], width: int = 8,
    height: int = 8, steps: Steps = (), alerts: Sequence[str] = (), stacked: bool = False,
    top: float | None = None,
) -> Panel:  # fmt: skip
    """Values over time. `steps`: thresholds, drawn as dashed lines; `top`: the axis' end."""
    custom: dict[str, Any] = {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if stacked else 8,
        "showPoints": "never", "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }  # fmt: skip
    defaults: dict[str, Any] = {
        "color": {"mode": "palette-classic"}, "custom": custom, "min": 0, "unit": unit,
        "thresholds": _thresholds(steps),
    }  # fmt: skip
    if top is not None:
        defaults["max"] = top
    options = {
        "legend": {
            "displayMode": "table", "placement": "bottom", "showLegend": True,
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }  # fmt: skip
    return Panel(
        title=title, description=description, unit=unit, kind="timeseries", width=width,
        height=height, queries=tuple(Query(*query) for query in queries), alerts=tuple(alerts),
        defaults=defaults, options=options,
    )  # fmt: skip


def number(
    title: str, description: str, unit: str, expr: str, *, steps: Steps = (), width: int = 4,
    height: int = 4, alerts: Sequence[str] = (), words: dict[str, str] | None = None,
    legend: str = "", decimals: int | None = None, base: str = GOOD,
) -> Panel:  # fmt: skip
    """How it is now, coloured by `steps`, below the first in `base`; `words` say what a value means."""
    defaults: dict[str, Any] = {
        "color": {"mode": "thresholds"}, "unit": unit, "thresholds": _thresholds(steps, base),
        "mappings": _mappings(words or {}), "noValue": "nothing",
    }  # fmt: skip
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "colorMode": "background" if steps else "value", "graphMode": "none" if words else "area",
        "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }  # fmt: skip
    return Panel(
        title=title, description=description, unit=unit, kind="stat", width=width, height=height,
        queries=(Query(expr, legend),), alerts=tuple(alerts), defaults=defaults, options=options,
    )  # fmt: skip


def heat(
    title: str, description: str, unit: str, buckets: str, *, width: int = 12, height: int = 8,
    alerts: Sequence[str] = (),
) -> Panel:  # fmt: skip
    """How a latency is spread over time; `buckets`: the sum of a histogram's, by le."""
    options = {
        "calculate": False, "cellGap": 1, "showValue": "never",
        "cellValues": {"unit": "short"},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
        "filterValues": {"le": 1e-9}, "legend": {"show": True}, "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False}, "yAxis": {"axisPlacement": "left", "unit": unit},
    }  # fmt: skip
    return Panel(
        title=title, description=description, unit=unit, kind="heatmap", width=width, height=height,
        queries=(Query(buckets, "{{le}}"),), alerts=tuple(alerts),
        defaults={"custom": {"scaleDistribution": {"type": "linear"}}, "unit": unit}, options=options,
    )  # fmt: skip


def listing(
    title: str, description: str, unit: str, expr: str, *, hidden: Sequence[str] = (),
    width: int = 12, height: int = 8, steps: Steps = (), alerts: Sequence[str] = (), base: str = GOOD,
) -> Panel:  # fmt: skip
    """One row for each series, as it is now; the columns named in `hidden` are left out."""
    defaults = {
        "unit": unit, "color": {"mode": "thresholds"}, "thresholds": _thresholds(steps, base),
        "custom": {"align": "auto", "cellOptions": {"type": "color-text" if steps else "auto"}},
    }  # fmt: skip
    without = dict.fromkeys(("Time", "__name__", "job", *hidden), True)
    organize = {
        "id": "organize",
        "options": {"excludeByName": without, "indexByName": {}, "renameByName": {}},
    }
    return Panel(
        title=title, description=description, unit=unit, kind="table", width=width, height=height,
        queries=(Query(expr),), alerts=tuple(alerts), defaults=defaults,
        options={"cellHeight": "sm", "showHeader": True, "footer": {"show": False}},
        extra={"transformations": [organize]},
    )  # fmt: skip


def rate(counter: str, chosen: str, by: str = "") -> str:
    """How often a second. `chosen`: label matchers; `by`: labels, with commas."""
    return _over("sum", f"rate({counter}{{{chosen}}}[$__rate_interval])", by)


def increase(counter: str, chosen: str, by: str = "") -> str:
    """How often in one step of the picture."""
    return _over("sum", f"increase({counter}{{{chosen}}}[$__rate_interval])", by)


def total(gauge: str, chosen: str, by: str = "") -> str:
    """All processes together."""
    return _over("sum", f"{gauge}{{{chosen}}}", by)


def most(gauge: str, chosen: str, by: str = "") -> str:
    """The process that has most."""
    return _over("max", f"{gauge}{{{chosen}}}", by)


def least(gauge: str, chosen: str, by: str = "") -> str:
    """The process that has least."""
    return _over("min", f"{gauge}{{{chosen}}}", by)


def mean(gauge: str, chosen: str, by: str = "") -> str:
    """The mean of all processes."""
    return _over("avg", f"{gauge}{{{chosen}}}", by)


def quantile(q: float, histogram: str, chosen: str, *by: str) -> str:
    """A histogram's quantile over all processes together."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', chosen, ', '.join(('le', *by)))})"


def quantiles(histogram: str, chosen: str, *by: str, of: Sequence[float]) -> list[tuple[str, str]]:
    """Quantiles and their legends."""
    named = " ".join(f"{{{{{label}}}}}" for label in by)
    return [(quantile(q, histogram, chosen, *by), f"{named} p{q * 100:g}") for q in of]


def _over(what: str, of: str, by: str) -> str:
    return f"{what} by ({by}) ({of})" if by else f"{what}({of})"


def _thresholds(steps: Steps, base: str = GOOD) -> dict[str, Any]:
    first = {"color": base if steps else PLAIN, "value": None}
    return {
        "mode": "absolute",
        "steps": [first, *({"color": color, "value": value} for value, color in steps)],
    }


def _mappings(words: dict[str, str]) -> list[dict[str, Any]]:
    if not words:
        return []
    options = {value: {"text": text, "index": at} for at, (value, text) in enumerate(words.items())}
    return [{"type": "value", "options": options}]
