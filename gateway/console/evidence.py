"""Evidence: the audit log searched, one record with its proof, and an order's records in their order.

What is verified is verified by static/verify.js in the reader's browser; what this page says of a record is what
the API tells the visitor of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec
from starlette.responses import Response

from audit.record import Kind
from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.view import View

SHOWN = 50
NAMES = ("kind", "group", "since", "until", "order_id", "account_id", "signal_id")
GROUPS = ("signal", "order", "change", "alert")


async def _show(view: View) -> Response:
    wanted = {name: view.asked(name).strip() for name in NAMES}
    page = await view.api.get(
        "/v1/audit/records", limit=SHOWN, cursor=view.asked("cursor"),
        **{**wanted, "since": instant(wanted["since"], view.zone), "until": instant(wanted["until"], view.zone)},
    )  # fmt: skip
    filled = urlencode({name: value for name, value in wanted.items() if value})
    return view.page(
        "evidence.html", records=page["items"], next=page.get("next"), wanted=wanted, groups=GROUPS,
        kinds=sorted(kind.value for kind in Kind), base=f"?{filled}&" if filled else "?",
    )  # fmt: skip


def instant(typed: str, zone: ZoneInfo) -> str:
    """A day or a time as a reader types it, in their zone, as the API takes it; what is no time stays as it is."""
    try:
        at = datetime.fromisoformat(typed)
    except ValueError:
        return typed
    return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).isoformat()


async def _record(view: View) -> Response:
    found = await view.api.get(f"/v1/audit/records/{view.at('index')}")
    return view.page("record.html", record=found, leaf=readable(found["leaf"]))


def readable(text: str) -> str:
    """JSON with its members one to a line; anything else as it is."""
    try:
        return msgspec.json.format(text.encode(), indent=2).decode()
    except (msgspec.DecodeError, UnicodeError):
        return text


async def _order(view: View) -> Response:
    """An order's records, oldest first: what was asked of the broker, and what it answered."""
    order = view.at("order_id")
    page = await view.api.get("/v1/audit/records", order_id=order, limit=100)
    records: list[dict[str, Any]] = page["items"][::-1]
    template = "parts/order_records.html" if view.partly else "order_records.html"
    return view.page(template, order_id=order, records=records, more=page.get("next") is not None)


PAGES = (
    Page(path="/evidence", get=_show, menu=mark("Evidence"), icon="evidence", action="events:read"),
    Page(path="/evidence/records/{index:int}", get=_record),
    Page(path="/evidence/orders/{order_id}", get=_order),
)
