"""What waits for a person: orders of signals by signal, and changes that want a second pair of eyes."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.console.asking import Refused
from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.view import View

ASKED_MOST = 100
SHOWN = 50


async def _list(view: View) -> Response:
    return view.page("approvals.html", **await _waiting(view))


async def _part(view: View) -> Response:
    return view.page("parts/approvals.html", **await _waiting(view))


async def _waiting(view: View) -> dict[str, Any]:
    proposals = await view.api.some("/v1/proposals", limit=SHOWN)
    waits = [one for one in proposals if one["state"] in ("open", "approved")]
    return {
        "signals": await _signals(view) if view.may("signals:read") else [],
        "proposals": waits,
        "decided": [one for one in proposals if one not in waits][:10],
    }


async def _signals(view: View) -> list[dict[str, Any]]:
    """One for each signal that anything of waits, the newest first; the counts are of the whole signal."""
    page = await view.api.get("/v1/approvals", state="pending", limit=ASKED_MOST)
    found: dict[str, dict[str, Any]] = {}
    for one in page["items"]:
        group = found.setdefault(one["signal_id"], {**one, "asked": []})
        group["asked"].append(one)
        group["expires_at"] = min(group["expires_at"], one["expires_at"])
    for group in found.values():
        group["waiting"] = len(group["asked"])
    if (
        page.get("next") and found
    ):  # what was cut off is of the last one, or of signals that are not shown
        last = list(found)[-1]
        outcome = await view.api.get(f"/v1/signals/{last}/outcome")
        found[last]["waiting"] = max(found[last]["waiting"], outcome["states"].get("asked", 0))
    return list(found.values())


async def show_signal(view: View, status: int = 200) -> Response:
    """Every question of one signal, what waits first, with what became of the others."""
    signal = view.at("signal_id")
    page = await view.api.get(
        "/v1/approvals", signal_id=signal, limit=SHOWN, cursor=view.asked("cursor")
    )
    if not page["items"] and not view.asked("cursor"):
        raise Refused(
            404, {"code": "not_found", "detail": f"nobody was asked about signal {signal}"}
        )
    outcome = await view.api.get(f"/v1/signals/{signal}/outcome")
    return view.page(
        "approval.html", status=status, asked=page["items"], next=page.get("next"), signal_id=signal,
        waiting=outcome["states"].get("asked", 0),
    )  # fmt: skip


async def _show(view: View) -> Response:
    return await show_signal(view)


async def _answer(view: View) -> Response:
    """Yes or no, to one account or to all that still waits."""
    signal, account = view.at("signal_id"), view.sent["account_id"]
    verb = "approve" if view.sent["verb"] == "approve" else "reject"
    path = f"/v1/approvals/{signal}/{account}/{verb}" if account else f"/v1/signals/{signal}/{verb}"
    try:
        await view.change("POST", path, {"comment": view.sent["reason"]})
    except Refused as no:
        view.problem = no
        return await show_signal(view, no.status)
    return view.go(f"/console/approvals/{signal}", said="answered")


PAGES = (
    Page(
        path="/approvals",
        get=_list,
        menu=mark("Approvals"),
        icon="approvals",
        action="proposals:read",
    ),
    Page(path="/parts/approvals", get=_part),
    Page(path="/approvals/{signal_id:uuid}", get=_show, post=_answer),
)
