"""One subscription: what holds for it and which layer says so, and the settings of its own as a form."""

from __future__ import annotations

from starlette.responses import Response

from gateway.console.after import after
from gateway.console.asking import Refused
from gateway.console.effective_rows import limit_rows, setting_rows
from gateway.console.page import Page
from gateway.console.setting_fields import SUBSCRIPTION_FIELDS, changed, filled, typed
from gateway.console.view import View


async def _show(view: View) -> Response:
    one = await view.api.get(_path(view))
    effective = await view.api.get(f"{_path(view)}/effective")
    strategy = await view.api.get(f"/v1/strategies/{one['strategy_id']}")
    return view.page(
        "subscription.html", subscription=one, states=effective["states"],
        rows=setting_rows(effective, strategy), limits=limit_rows(effective),
    )  # fmt: skip


async def _edit(view: View) -> Response:
    return await _form(view)


async def _form(view: View, status: int = 200) -> Response:
    one = await view.api.get(_path(view))
    now = filled(one, SUBSCRIPTION_FIELDS)
    return view.page(
        "subscription_edit.html", status=status, subscription=one, fields=SUBSCRIPTION_FIELDS, now=now,
        values=typed(now, SUBSCRIPTION_FIELDS, view.sent),
    )  # fmt: skip


async def _save(view: View) -> Response:
    try:
        got = await view.change("PATCH", _path(view), changed(SUBSCRIPTION_FIELDS, view.sent))
    except Refused as no:
        view.problem = no
        return await _form(view, no.status)
    return after(view, got, f"/console/subscriptions/{view.at('subscription_id')}")


def _path(view: View) -> str:
    return f"/v1/subscriptions/{view.at('subscription_id')}"


PAGES = (
    Page(path="/subscriptions/{subscription_id:uuid}", get=_show),
    Page(path="/subscriptions/{subscription_id:uuid}/edit", get=_edit, post=_save),
)
