"""What people do with one account: pause and resume it, decide a drift, change its settings, its credential.

A credential's secret is sealed in the browser (static/credential.js) and goes to the API from there: no form of
ours ever carries it, so there is nothing of it here.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.console.accounts import show_account
from gateway.console.after import after
from gateway.console.asking import Refused
from gateway.console.page import Page
from gateway.console.setting_fields import ACCOUNT_FIELDS
from gateway.console.setting_forms import edit_page
from gateway.console.view import View


async def _asked(view: View, path: str, body: Any, *, said: str) -> Response:
    """The change, and back to the account; refused, the account's page with what was typed."""
    try:
        got = await view.change("POST", path, body)
    except Refused as no:
        view.problem = no
        return await show_account(view, no.status)
    return after(view, got, f"/console/accounts/{view.at('account_id')}", said=said)


async def _pause(view: View) -> Response:
    body = {
        "scope": "account", "object_id": view.at("account_id"), "level": view.sent["level"],
        "reason": view.sent["reason"],
    }  # fmt: skip
    return await _asked(view, "/v1/halts", body, said="halted")


async def _resume(view: View) -> Response:
    body = {
        "scope": "account", "object_id": view.at("account_id"), "state": "active",
        "reason": view.sent["reason"],
    }  # fmt: skip
    return await _asked(view, "/v1/halts/release", body, said="released")


async def _decide(view: View) -> Response:
    body = {
        "decision": view.sent["decision"],
        "reason": view.sent["reason"],
        **view.sent.only("strategy_id"),
    }
    return await _asked(
        view, f"/v1/drifts/{view.at('drift_id')}/decision", body, said="drift_decided"
    )


async def _credential(view: View) -> Response:
    account = view.at("account_id")
    return view.page(
        "credential.html", account=await view.api.get(f"/v1/accounts/{account}"),
        credential=await view.api.get(f"/v1/accounts/{account}/credential"),
    )  # fmt: skip


async def _revoke(view: View) -> Response:
    account = view.at("account_id")
    await view.change("DELETE", f"/v1/accounts/{account}/credential")
    return view.go(f"/console/accounts/{account}", said="credential_revoked")


async def _groups(view: View) -> dict[str, Any]:
    return {"groups": await view.api.all("/v1/groups")}


_ONE = "/accounts/{account_id:uuid}"

PAGES = (
    Page(path=f"{_ONE}/pause", post=_pause),
    Page(path=f"{_ONE}/resume", post=_resume),
    Page(path=f"{_ONE}/drifts/{{drift_id:uuid}}", post=_decide),
    Page(path=f"{_ONE}/credential", get=_credential),
    Page(path=f"{_ONE}/credential/revoke", post=_revoke),
    edit_page("account", "accounts", ACCOUNT_FIELDS, _groups),
)
