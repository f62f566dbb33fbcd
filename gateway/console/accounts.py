"""Accounts: all of them a page at a time, and one with everything that is known of it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.console.gauges import gauges
from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.view import View

SHOWN = 50
FILTERS = ("name", "broker", "state", "group_id", "credential", "drifts")


async def _list(view: View) -> Response:
    return view.page("accounts.html", groups=await view.api.all("/v1/groups"), **await _found(view))


async def _part(view: View) -> Response:
    return view.page("parts/accounts.html", **await _found(view))


async def _found(view: View) -> dict[str, Any]:
    wanted = {name: view.asked(name) for name in FILTERS}
    page = await view.api.get(
        "/v1/accounts/overview", limit=SHOWN, cursor=view.asked("cursor"), **wanted
    )
    return {
        "accounts": page["items"], "next": page.get("next"), "wanted": wanted,
        "first": not view.asked("cursor"),
    }  # fmt: skip


async def show_account(view: View, status: int = 200) -> Response:
    """The account's page; `view.problem` says what a form on it was refused for."""
    account = view.at("account_id")
    own = await view.api.get(f"/v1/accounts/{account}")
    found = await _now(view)
    history = []
    if view.may("revisions:read"):
        history = await view.api.some(f"/v1/accounts/{account}/revisions", limit=10)
    group = None
    if own["group_id"] is not None:
        group = await view.api.get(f"/v1/groups/{own['group_id']}")
    return view.page(
        "account.html", status=status, account=own, group=group, history=history,
        credential=await view.api.get(f"/v1/accounts/{account}/credential"),
        subscriptions=await view.api.some("/v1/subscriptions", account_id=account, limit=100), **found,
    )  # fmt: skip


async def _show(view: View) -> Response:
    return await show_account(view)


async def _now_part(view: View) -> Response:
    account = view.at("account_id")
    return view.page(
        "parts/account_now.html",
        account=await view.api.get(f"/v1/accounts/{account}"),
        **await _now(view),
    )


async def _now(view: View) -> dict[str, Any]:
    """What changes while somebody looks: money, positions, limits used, drifts."""
    account = view.at("account_id")
    usage = await view.api.get(f"/v1/accounts/{account}/usage")
    balances = await view.api.some("/v1/balances", account_id=account)
    compared = await view.api.some("/v1/reconciliations", account_id=account)
    strategies = await view.api.all("/v1/strategies", archived="true")
    return {
        "usage": usage,
        "gauges": gauges(usage),
        "balance": balances[0] if balances else None,
        "reconciliation": compared[0] if compared else None,
        "drifts": await view.api.some("/v1/drifts", account_id=account, state="open", limit=20),
        "positions": await view.api.some("/v1/positions", account_id=account, limit=100),
        "halts": await _halts(view, account),
        "strategies": {one["strategy_id"]: one["name"] for one in strategies},
    }


async def _halts(view: View, account: str) -> list[dict[str, Any]]:
    """The account's own state with who set it and why; nothing while it is active."""
    halts = await view.api.get("/v1/halts")
    return [one for one in halts["items"] if one["object_id"] == account]


PAGES = (
    Page(
        path="/accounts", get=_list, menu=mark("Accounts"), icon="accounts", action="accounts:read"
    ),
    Page(path="/parts/accounts", get=_part),
    Page(path="/accounts/{account_id:uuid}", get=_show),
    Page(path="/accounts/{account_id:uuid}/now", get=_now_part),
)
