"""Strategies: what each sends through, who follows it, and its commonest settings as a form."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.setting_fields import STRATEGY_FIELDS
from gateway.console.setting_forms import edit_page
from gateway.console.view import View

SHOWN = 50
FOLLOWERS = 50


async def _list(view: View) -> Response:
    page = await view.api.get("/v1/strategies", limit=SHOWN, cursor=view.asked("cursor"))
    touched = {}
    if view.may("halts:read"):
        reach = await view.api.get("/v1/halts/reach")
        touched = {one["object_id"]: one for one in reach["items"]}
    return view.page(
        "strategies.html", strategies=page["items"], next=page.get("next"), touched=touched
    )


async def _show(view: View) -> Response:
    strategy = await view.api.get(_path(view))
    history = (
        await view.api.some(f"{_path(view)}/revisions", limit=10)
        if view.may("revisions:read")
        else []
    )
    return view.page("strategy.html", strategy=strategy, history=history, **await _followers(view))


async def _followers(view: View) -> dict[str, Any]:
    strategy = view.at("strategy_id")
    page = await view.api.get(
        "/v1/subscriptions", strategy_id=strategy, limit=FOLLOWERS, cursor=view.asked("cursor")
    )
    return {
        "hooks": await view.api.all("/v1/hooks", strategy_id=strategy),
        "subscriptions": page["items"], "next": page.get("next"),
    }  # fmt: skip


def _path(view: View) -> str:
    return f"/v1/strategies/{view.at('strategy_id')}"


PAGES = (
    Page(
        path="/strategies",
        get=_list,
        menu=mark("Strategies"),
        icon="strategies",
        action="strategies:read",
    ),
    Page(path="/strategies/{strategy_id:uuid}", get=_show),
    edit_page("strategy", "strategies", STRATEGY_FIELDS),
)
