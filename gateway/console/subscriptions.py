"""One subscription: what holds for it and which layer says so, and the settings of its own as a form."""

from __future__ import annotations

from starlette.responses import Response

from gateway.console.effective_rows import limit_rows, setting_rows
from gateway.console.page import Page
from gateway.console.setting_fields import SUBSCRIPTION_FIELDS
from gateway.console.setting_forms import edit_page
from gateway.console.view import View


async def _show(view: View) -> Response:
    one = await view.api.get(_path(view))
    effective = await view.api.get(f"{_path(view)}/effective")
    strategy = await view.api.get(f"/v1/strategies/{one['strategy_id']}")
    return view.page(
        "subscription.html", subscription=one, states=effective["states"],
        rows=setting_rows(effective, strategy), limits=limit_rows(effective),
    )  # fmt: skip


def _path(view: View) -> str:
    return f"/v1/subscriptions/{view.at('subscription_id')}"


PAGES = (
    Page(path="/subscriptions/{subscription_id:uuid}", get=_show),
    edit_page("subscription", "subscriptions", SUBSCRIPTION_FIELDS),
)
