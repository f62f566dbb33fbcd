"""Reports with pictures: how a strategy's accounts fare against each other, and what trading cost.

The numbers are the API's. The bars beside them are on one scale for the page, so that rows can be compared by eye;
the whole picture is the API's own, and the file to take away its CSV.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from gateway.console.asking import Refused
from gateway.console.evidence import instant
from gateway.console.page import Page
from gateway.console.view import View

WIDTH = 1000
DAYS = 30
KINDS = ("fairness", "execution")


class Drawn(NamedTuple):
    """An interval with its mean in units of the drawing; `zero`: where nothing is."""

    low: float
    high: float
    at: float
    zero: float


def drawn(estimates: Sequence[dict[str, Any]]) -> list[Drawn | None]:
    """Each estimate's interval on one scale that holds them all, and zero. Pure. None where there is no mean."""
    known = [one for one in estimates if one["mean"] is not None]
    ends = [v for one in known for v in (one["low"], one["high"], one["mean"]) if v is not None]
    least, most = min([0.0, *ends]), max([0.0, *ends])
    span = (most - least) or 1.0

    def place(value: float) -> float:
        return round((value - least) / span * WIDTH, 2)

    return [
        None
        if one["mean"] is None
        else Drawn(
            place(one["mean"] if one["low"] is None else one["low"]),
            place(one["mean"] if one["high"] is None else one["high"]),
            place(one["mean"]),
            place(0.0),
        )
        for one in estimates
    ]


async def _show(view: View) -> Response:
    strategies = await view.api.all("/v1/strategies")
    kind = view.asked("kind", "fairness")
    wanted = {
        "kind": kind if kind in KINDS else "fairness",
        "strategy_id": view.asked("strategy_id") or (strategies[0]["strategy_id"] if strategies else ""),
        "since": view.asked("since") or f"{view.now.astimezone(view.zone) - timedelta(days=DAYS):%Y-%m-%d}",
        "until": view.asked("until"),
    }  # fmt: skip
    given: dict[str, Any] = {
        "strategies": strategies,
        "wanted": wanted,
        "report": None,
        "query": "",
    }
    if not wanted["strategy_id"]:
        return view.page("reports.html", **given)
    asked = {
        "strategy_id": wanted["strategy_id"], "since": instant(wanted["since"], view.zone),
        "until": instant(wanted["until"], view.zone) if wanted["until"] else "",
    }  # fmt: skip
    asked = {name: value for name, value in asked.items() if value}
    try:
        report = await view.api.get(f"/v1/reports/{wanted['kind']}", **asked)
    except Refused as no:
        if no.status not in (400, 404, 422):
            raise
        view.problem = no
        return view.page("reports.html", status=no.status, **given)
    given |= {"report": report, "query": urlencode(asked)}
    if wanted["kind"] == "fairness":
        rows = report["accounts"]
        given["prices"] = drawn([one["price_bps"] for one in rows])
        given["delays"] = drawn([one["send_ms"] for one in rows])
    else:
        spans = [one["arrival"] for one in report["rows"]]
        given["costs"] = drawn([{"mean": s["mean"], "low": None, "high": s["p95"]} for s in spans])
    return view.page("reports.html", **given)


PAGES = (Page(path="/reports", get=_show),)
