"""The kill switch: one large button for each scope that says what it would do, a second step, and what it stopped.

1. The page of a level: each scope with its counts of this moment.
2. Its own page to confirm: the same in words, and a reason. No script is needed for any of it.
3. One POST. What it stopped is shown as it goes on; its address is the intervention's.

Letting go is a page of its own, with a reason; where the tenant wants it, a second person agrees first.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.console.after import after
from gateway.console.asking import Refused
from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.view import View

LEVELS = ("no_open", "cancel_open", "flatten", "block_all")
USUAL = "cancel_open"
WHOLE = ("platform", "tenant")
NAMED = ("broker", "symbol")
"""What an instrument is called by, in place of an id: it has none before somebody halts it."""
SHOWN = 20


async def _show(view: View) -> Response:
    reach = await view.api.get("/v1/halts/reach")
    acts = await view.api.get("/v1/interventions", limit=SHOWN, cursor=view.asked("cursor"))
    return view.page(
        "kill_switch.html", reach=reach["items"], truncated=reach["truncated"], level=_level(view),
        levels=LEVELS, acts=acts["items"], next=acts.get("next"), **await _halts(view),
    )  # fmt: skip


async def _part(view: View) -> Response:
    return view.page("parts/halts.html", **await _halts(view))


async def _halts(view: View) -> dict[str, Any]:
    return {"halts": await view.api.get("/v1/halts")}


def _level(view: View) -> str:
    wanted = view.sent["level"] or view.asked("level")
    return wanted if wanted in LEVELS else USUAL


async def _confirm(view: View, status: int = 200) -> Response:
    """Step 2, for the object in the address, or the instrument that is named there."""
    names = NAMED if view.sent["broker"] or view.asked("broker") else ("object_id",)
    which = {name: view.sent[name] or view.asked(name).strip() for name in names}
    if not all(which.values()):
        raise Refused(404, {"code": "not_found", "detail": f"say which: {' and '.join(names)}"})
    (one,) = (await view.api.get("/v1/halts/reach", **which))["items"]
    return view.page(
        "kill_confirm.html", status=status, one=one, level=_level(view), levels=LEVELS, which=which
    )


async def _throw(view: View) -> Response:
    """Step 3."""
    body = {"scope": view.sent["scope"], "level": view.sent["level"], "reason": view.sent["reason"]}
    if body["scope"] not in WHOLE:
        body |= view.sent.only("object_id", *NAMED)
    try:
        got = await view.change("POST", "/v1/halts", body)
    except Refused as no:
        view.problem = no
        return await _confirm(view, no.status)
    act = got.content["intervention_id"]
    where = f"/console/kill-switch/acts/{act}" if act else "/console/kill-switch"
    return view.go(where, said="halted")


async def _release(view: View, status: int = 200) -> Response:
    object_id = view.sent["object_id"] or view.asked("object_id")
    halts = (await view.api.get("/v1/halts"))["items"]
    one = next((halt for halt in halts if halt["object_id"] == object_id), None)
    if one is None:
        return view.go("/console/kill-switch")
    return view.page("kill_release.html", status=status, one=one)


async def _let_go(view: View) -> Response:
    scope = view.sent["scope"]
    body = {"scope": scope, "state": view.sent["state"] or "active", "reason": view.sent["reason"]}
    if scope == "instrument":
        body["broker"], _, body["symbol"] = view.sent["name"].partition(" ")
    elif scope not in WHOLE:
        body["object_id"] = view.sent["object_id"]
    try:
        got = await view.change("POST", "/v1/halts/release", body)
    except Refused as no:
        view.problem = no
        return await _release(view, no.status)
    said = "released" if body["state"] == "active" else "eased"
    return after(view, got, "/console/kill-switch", said=said)


async def _act(view: View) -> Response:
    return view.page("intervention.html", **await _stopped(view))


async def _act_part(view: View) -> Response:
    return view.page("parts/intervention.html", **await _stopped(view))


async def _stopped(view: View) -> dict[str, Any]:
    act = view.at("intervention_id")
    one = await view.api.get(f"/v1/interventions/{act}")
    orders: list[dict[str, Any]] = []
    if view.may("orders:read"):
        orders = await view.api.some(f"/v1/interventions/{act}/orders", limit=100)
    halts = (await view.api.get("/v1/halts"))["items"]
    standing = next((halt for halt in halts if halt["object_id"] == one["object_id"]), None)
    return {"act": one, "orders": orders, "standing": standing}


PAGES = (
    Page(
        path="/kill-switch", get=_show, menu=mark("Kill switch"), icon="kill", action="halts:write"
    ),
    Page(path="/parts/halts", get=_part),
    Page(path="/kill-switch/throw", get=_confirm, post=_throw),
    Page(path="/kill-switch/release", get=_release, post=_let_go),
    Page(path="/kill-switch/acts/{intervention_id:uuid}", get=_act),
    Page(path="/kill-switch/acts/{intervention_id:uuid}/now", get=_act_part),
)
