"""A dashboard: rows of panels laid out on Grafana's grid of 24, its variables and links, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from ops.dashboards.panels import SOURCE, Panel

WIDTH = 24
SCHEMA_VERSION = 38
"""Grafana 10.0's. A later Grafana brings it up to its own when it reads it; an older one says that it cannot."""
DOCS = "https://portcullis.example/docs"
"""Stands in the variable `docs` until the operator says where these pages are served."""


class Variable(msgspec.Struct, frozen=True):
    """A choice at the top: the values of a label. `many`: several at once, and all."""

    name: str
    label: str
    query: str
    many: bool = True
    default: str = ""


class Row(msgspec.Struct, frozen=True):
    """A line of the dashboard with a title, under which panels flow from left to right."""

    title: str
    panels: tuple[Panel, ...]


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """One dashboard. `uid` is for ever: links and bookmarks name it. `page`: which of our pages explains it."""

    uid: str
    title: str
    description: str
    page: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    refresh: Literal["10s", "30s", "1m"] = "10s"


OURS = (
    Variable("job", "Job", "label_values(portcullis_clock_state, job)", many=False, default="portcullis"),
    Variable("instance", "Host", 'label_values(up{job="$job"}, instance)'),
)  # fmt: skip
CHOSEN = 'job="$job", instance=~"$instance"'
"""What the panels of a board with OURS look at."""


def rendered(board: Board) -> dict[str, Any]:
    """As Grafana imports it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": ["portcullis"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": board.refresh,
        "annotations": {"list": [_alerts_fired()]},
        "links": _links(board),
        "templating": {"list": [_source(), *map(_variable, board.variables), _docs()]},
        "panels": list(_placed(board.rows)),
    }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Rows and panels with their places: from left to right, and on below where a line is full."""
    y, number = 0, 1
    for row in rows:
        yield {
            "id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
        }  # fmt: skip
        y, number, x, height = y + 1, number + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            x, height, number = x + panel.width, max(height, panel.height), number + 1
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    made = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": [_target(panel, at) for at in range(len(panel.queries))],
        "fieldConfig": {"defaults": panel.defaults, "overrides": []},
        "options": panel.options,
        "links": [_runbook(alert) for alert in panel.alerts],
    }
    return made | panel.extra


def _target(panel: Panel, at: int) -> dict[str, Any]:
    query, now = panel.queries[at], panel.kind == "table"
    shape = {"table": "table", "heatmap": "heatmap"}.get(panel.kind, "time_series")
    return {
        "refId": chr(ord("A") + at), "datasource": SOURCE, "editorMode": "code", "expr": query.expr,
        "legendFormat": query.legend or "__auto", "format": shape, "instant": now, "range": not now,
    }  # fmt: skip


def _runbook(alert: str) -> dict[str, Any]:
    return {
        "title": f"Runbook: {alert}",
        "url": f"${{docs}}/operating/alerts/{alert}.md",
        "targetBlank": True,
    }


def _links(board: Board) -> list[dict[str, Any]]:
    """To the other dashboards with the same choice, and to the page that explains this one."""
    shared = {"asDropdown": False, "icon": "external link", "targetBlank": False, "tooltip": ""}
    return [
        {
            **shared, "type": "dashboards", "title": "Portcullis", "tags": ["portcullis"], "asDropdown": True,
            "includeVars": True, "keepTime": True, "url": "",
        },
        {
            **shared, "type": "link", "title": "How to read it", "icon": "doc", "tags": [],
            "includeVars": False, "keepTime": False, "targetBlank": True, "url": f"${{docs}}/{board.page}",
        },
    ]  # fmt: skip


def _alerts_fired() -> dict[str, Any]:
    return {
        "name": "Alerts of Portcullis", "datasource": SOURCE, "enable": True, "hide": False,
        "iconColor": "red", "expr": 'ALERTS{alertstate="firing", alertname=~"Portcullis.*"}',
        "titleFormat": "{{alertname}}", "step": "60s",
    }  # fmt: skip


def _source() -> dict[str, Any]:
    return {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "current": {}, "hide": 0, "includeAll": False, "multi": False, "refresh": 1, "regex": "",
    }  # fmt: skip


def _variable(variable: Variable) -> dict[str, Any]:
    everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
    one = {"selected": True, "text": variable.default, "value": variable.default}
    return {
        "name": variable.name, "label": variable.label, "type": "query", "datasource": SOURCE,
        "definition": variable.query, "query": {"query": variable.query, "refId": variable.name},
        "current": everything if variable.many else one, "includeAll": variable.many,
        "allValue": ".*" if variable.many else None, "multi": variable.many, "hide": 0, "options": [],
        "refresh": 2, "regex": "", "sort": 1,
    }  # fmt: skip


def _docs() -> dict[str, Any]:
    choice = {"selected": True, "text": DOCS, "value": DOCS}
    return {
        "name": "docs", "label": "Where the documentation is", "type": "textbox", "query": DOCS,
        "current": choice, "options": [choice], "hide": 0,
    }  # fmt: skip
