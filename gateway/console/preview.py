"""Preview: what a signal would do at every account now, as a table and a chart, before anybody sends it.

A question, so its form is in the address: it can be kept, sent to a colleague and asked again. Nothing is written.
"""

from __future__ import annotations

from typing import Any, get_args

from starlette.responses import Response

from fanout.signal import Action
from gateway.console.asking import Refused
from gateway.console.page import Page
from gateway.console.preview_chart import chart, size
from gateway.console.view import View
from tenancy.parameters import OrdType, QuantityType

SHOWN = 200
TEXTS = (
    "ticker",
    "action",
    "quantity",
    "quantityType",
    "orderType",
    "signalPrice",
    "limitPrice",
    "stopPrice",
)
CHOICES = {
    "action": get_args(Action), "quantityType": get_args(QuantityType), "orderType": get_args(OrdType),
}  # fmt: skip
DECISIONS = ("order", "asked", "nothing")


async def _show(view: View) -> Response:
    strategy = await view.api.get(f"/v1/strategies/{view.at('strategy_id')}")
    signal = {name: view.asked(name).strip() for name in TEXTS if view.asked(name).strip()}
    given: dict[str, Any] = {
        "strategy": strategy,
        "signal": signal,
        "choices": CHOICES,
        "made": None,
    }
    if "ticker" not in signal:
        return view.page("preview.html", **given)
    try:
        made = await _asked(view, signal)
    except Refused as no:
        view.problem = no
        return view.page("preview.html", status=no.status, **given)
    return view.page("preview.html", **given | {"made": made} | _page(view, made))


async def _asked(view: View, signal: dict[str, str]) -> dict[str, Any]:
    got = await view.api.ask(
        "POST", f"/v1/strategies/{view.at('strategy_id')}/preview", body={"signal": signal},
        headers={"portcullis-csrf": view.csrf},
    )  # fmt: skip
    made: dict[str, Any] = got.content
    return made


def _page(view: View, made: dict[str, Any]) -> dict[str, Any]:
    """The entries that are shown of those that fit the filter, and the picture of all."""
    entries = made["entries"]
    wanted = view.asked("decision")
    fits = [one for one in entries if wanted in ("", one["decision"])]
    begin = (
        int(view.asked("from"))
        if view.asked("from").isascii() and view.asked("from").isdigit()
        else 0
    )
    counts = {name: sum(one["decision"] == name for one in entries) for name in DECISIONS}
    return {
        "chart": chart(entries),
        "rows": [{**one, "lots": size(one)} for one in fits[begin : begin + SHOWN]],
        "shares": [
            ("done", counts["order"]),
            ("open", counts["asked"]),
            ("skipped", counts["nothing"]),
        ],
        "counts": counts,
        "decision": wanted,
        "begin": begin,
        "shown": len(fits),
        "more": begin + SHOWN if begin + SHOWN < len(fits) else None,
    }


PAGES = (Page(path="/strategies/{strategy_id:uuid}/preview", get=_show),)
