"""Operators: how the installation is, on one page: processes, queues, HSM, brokers, clock, certificates, tenants.

The numbers are the processes' own metrics, as GET /v1/platform/state gathers them; here they are sorted under the
words of who looks at three in the morning. What is not known is said, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.responses import Response

from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.view import View

CERTIFICATE_SOON_DAYS = 30
DISK_LOW = 0.10
AUDIT_OLD_S = 10.0


class Row(NamedTuple):
    """One figure for people. `worst`: of several processes the largest is shown, else their sum; `s`: a duration.
    `bad_over`: above it the figure is marked. `silent`: it is told only where there is something: nothing is 0."""

    metric: str
    label: str
    worst: bool = False
    unit: str = ""
    bad_over: float | None = None
    silent: bool = False


INBOX, UNPUBLISHED = (
    "portcullis_audit_inbox_age_seconds",
    "portcullis_audit_unpublished_age_seconds",
)

QUEUES = (
    Row("portcullis_keep_queue_depth", mark("Signals that wait to be kept")),
    Row("portcullis_orders_waiting", mark("Orders that wait for their broker"), silent=True),
    Row("portcullis_lanes_busy", mark("Lanes with an order on its way")),
    Row("portcullis_held_orders", mark("Orders held for their price")),
    Row("portcullis_orders_in_doubt", mark("Orders in doubt"), bad_over=0),
    Row("portcullis_doubt_oldest_seconds", mark("Oldest doubt"), worst=True, unit="s", bad_over=60),
    Row("portcullis_drifts_open", mark("Drifts that are open"), bad_over=0, silent=True),
    Row("portcullis_spill_lines", mark("Records spilled to the local disk"), bad_over=0),
    Row(INBOX, mark("Oldest record in the audit inbox"), True, "s", AUDIT_OLD_S),
    Row(UNPUBLISHED, mark("Oldest record without a checkpoint"), True, "s", AUDIT_OLD_S),
    Row("portcullis_audit_check_differences", mark("Differences that the audit check found"), bad_over=0),
    Row("portcullis_audit_halted_logs", mark("Audit logs that are halted"), bad_over=0),
    Row("portcullis_switch_age_seconds", mark("Age of what the workers know of the kill switch"), True, "s", 5),
    Row("portcullis_event_streams", mark("Browsers and clients that listen")),
)  # fmt: skip
HSM = (
    Row("portcullis_hsm_up", mark("Answers"), unit="yes"),
    Row("portcullis_hsm_sessions", mark("Sessions")),
    Row("portcullis_hsm_canary_age_seconds", mark("Last proof that it signs"), True, "s", 30),
    Row("portcullis_hsm_epoch", mark("Started so often"), worst=True),
)
CLOCK = (
    Row("portcullis_clock_error_bound_seconds", mark("Error at most"), True, "s", 0.05),
    Row("portcullis_clock_offset_seconds", mark("Offset"), True, "s"),
)


class Shown(NamedTuple):
    """A figure as the page shows it; `value` None: nobody told."""

    label: str
    value: float | None
    unit: str
    bad: bool


def shown(figures: Iterable[Mapping[str, Any]], rows: Sequence[Row]) -> list[Shown]:
    """Each row's figure over all processes. Pure."""
    found: list[Shown] = []
    every = list(figures)
    for row in rows:
        values = [one["value"] for one in every if one["metric"] == row.metric]
        if row.silent and not values and every:
            values = [0.0]
        value = None if not values else max(values) if row.worst else sum(values)
        bad = value is not None and row.bad_over is not None and value > row.bad_over
        found.append(Shown(row.label, value, row.unit, bad))
    return found


def by_label(
    figures: Iterable[Mapping[str, Any]], label: str, rows: Sequence[Row]
) -> dict[str, list[Shown]]:
    """The same for each value of a label: each broker, each daemon. Pure."""
    of = [one for one in figures if label in one["labels"]]
    names = sorted(
        {one["labels"][label] for one in of if one["metric"] in {r.metric for r in rows}}
    )
    return {name: shown((f for f in of if f["labels"][label] == name), rows) for name in names}


BROKERS = (
    Row("portcullis_broker_up", mark("Workers that reach it")),
    Row("portcullis_breakers_open", mark("Breakers open"), bad_over=0, silent=True),
    Row("portcullis_budget_waiting", mark("Requests that wait for its budget"), silent=True),
)


def clock_state(figures: Iterable[Mapping[str, Any]]) -> str | None:
    """ok, degraded or unknown, as the clock's process says; None: nobody told. Pure."""
    for one in figures:
        if one["metric"] == "portcullis_clock_state" and one["value"] == 1:
            return str(one["labels"].get("state"))
    return None


async def _show(view: View) -> Response:
    keys = await view.api.some("/v1/platform/keys", limit=100)
    tenants = await view.api.some("/v1/tenants", limit=100)
    return view.page("operators.html", keys=keys, tenants=tenants, **await _state(view))


async def _part(view: View) -> Response:
    return view.page("parts/operators.html", **await _state(view))


async def _state(view: View) -> dict[str, Any]:
    state = await view.api.get("/v1/platform/state")
    figures = state["figures"]
    host = state["host"]
    return {
        "state": state, "host": host, "queues": shown(figures, QUEUES),
        "hsm": by_label(figures, "daemon", HSM), "brokers": by_label(figures, "broker", BROKERS),
        "clock": shown(figures, CLOCK), "clock_state": clock_state(figures),
        "soon": CERTIFICATE_SOON_DAYS,
        "capacity": [
            (mark("Memory"), host["memory_bytes"] - host["memory_available_bytes"], host["memory_bytes"], "B"),
            (mark("Disk"), host["disk_bytes"] - host["disk_free_bytes"], host["disk_bytes"], "B"),
            (mark("Processor"), host["load"], host["cores"], ""),
        ],
    }  # fmt: skip


PAGES = (
    Page(
        path="/operators", get=_show, menu=mark("Operators"), icon="operators",
        action="tenants:read",
    ),
    Page(path="/parts/operators", get=_part),
)  # fmt: skip
