"""One signal: what came, how far it is, and the story of each account.

The first answer shows the summary and the first accounts of the fan-out, whatever their number: what is counted is
counted by the database, and further accounts come a page at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.console.asking import Refused
from gateway.console.now import shares
from gateway.console.page import Page
from gateway.console.view import View
from gateway.console.waterfall import Bar, waterfall

SHOWN = 50


async def _show(view: View) -> Response:
    signal = view.at("signal_id")
    story = await view.api.get(f"/v1/signals/{signal}")
    return view.page(
        "signal.html", signal=story, body=_readable(story["body"]), **await _summary(view, signal),
        **await _accounts(view, signal),
    )  # fmt: skip


async def _summary_part(view: View) -> Response:
    return view.page("parts/signal_summary.html", **await _summary(view, view.at("signal_id")))


async def _accounts_part(view: View) -> Response:
    signal = view.at("signal_id")
    found = await _accounts(view, signal)
    template = "signal_rows.html" if view.asked("cursor") else "signal_accounts.html"
    return view.page(f"parts/{template}", signal={"signal_id": signal}, **found)


async def _summary(view: View, signal: str) -> dict[str, Any]:
    outcome = await view.api.get(f"/v1/signals/{signal}/outcome")
    doubts = 0
    if outcome["state"] not in ("done", "refused", "canceled"):
        cursor = await view.api.get("/v1/orders", signal_id=signal, status="in_doubt", limit=100)
        doubts = len({order["account_id"] for order in cursor["items"]})
    return {"outcome": outcome, "shares": shares({**outcome, "in_doubt": doubts})}


async def _accounts(view: View, signal: str) -> dict[str, Any]:
    wanted = {"state": view.asked("state"), "reason": view.asked("reason")}
    page = await view.api.get(
        f"/v1/signals/{signal}/outcome/accounts", limit=SHOWN, cursor=view.asked("cursor"), **wanted
    )
    return {"accounts": page["items"], "next": page.get("next"), "wanted": wanted}


async def _account(view: View) -> Response:
    """One account's story, and the orders that it led to."""
    signal, account = view.at("signal_id"), view.at("account_id")
    page = await view.api.get(f"/v1/signals/{signal}/outcome/accounts", account_id=account)
    if not page["items"]:
        raise Refused(
            404, {"code": "not_found", "detail": "this account is not in the signal's plan"}
        )
    one = page["items"][0]
    story = await view.api.get(f"/v1/signals/{signal}")
    return view.page(
        "account_story.html", signal=story, one=one, steps=_steps(story, one), places=_places(one)
    )


def _steps(signal: Mapping[str, Any], one: Mapping[str, Any]) -> Any:
    """The waterfall of the account's orders, by our own clock: from the signal's receipt to the last fill."""
    start = _at(signal["received_at"])
    assert start is not None
    bars = [Bar("planned", start, _at(signal["planned_at"]), "plan")]
    for order in one["orders"]:
        intent, sent = _at(order["intent_at"]), _at(order["sent_at"])
        acked, done = _at(order["acked_at"]), _at(order["done_at"])
        name = f"{order['side']} {order['symbol']} {order['leg']}.{order['attempt']}"
        bars += [
            Bar("written", _at(signal["planned_at"]), intent, name),
            Bar("on its way", intent, sent, name),
            Bar("acknowledged", sent, acked, name),
            Bar("worked", acked, done, name),
        ]
    return waterfall(start, bars)


def _places(one: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Each parameter of the plan: its name, what it came to in the first order, and the layer that said it."""
    leg = one["planned"]["legs"][0] if one["planned"]["legs"] else {}
    return [
        (name, leg.get(name), layer) for name, layer in sorted(one["planned"]["source"].items())
    ]


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _readable(body: str) -> str:
    """The signal as it came, with its members one to a line where it is JSON."""
    try:
        return msgspec.json.format(body.encode(), indent=2).decode()
    except (msgspec.DecodeError, UnicodeError):
        return body


async def _cancel(view: View) -> Response:
    signal = view.at("signal_id")
    await view.change("POST", f"/v1/signals/{signal}/cancel", {"reason": view.sent["reason"]})
    return view.go(f"/console/signals/{signal}", said="signal_canceled")


PAGES = (
    Page(path="/signals/{signal_id:uuid}", get=_show),
    Page(path="/signals/{signal_id:uuid}/summary", get=_summary_part),
    Page(path="/signals/{signal_id:uuid}/accounts", get=_accounts_part),
    Page(path="/signals/{signal_id:uuid}/accounts/{account_id:uuid}", get=_account),
    Page(path="/signals/{signal_id:uuid}/cancel", post=_cancel),
)
