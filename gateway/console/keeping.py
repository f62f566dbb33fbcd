"""Evidence that is taken away, held, kept and erased: exports, holds, retention, erasures."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from audit.record import Kind
from gateway.console.asking import Got, Refused
from gateway.console.evidence import instant
from gateway.console.page import Page
from gateway.console.view import View

FORMATS = ("csv", "parquet", "html")
REGIMES = ("sec-17a-4", "finra", "mifid", "mifid-7", "twse")
CLASSES = ("trade", "admin")
HERE = "/console/evidence"


def _times(view: View, *names: str) -> dict[str, str]:
    """What was typed as times, as the API takes them."""
    return {name: instant(text, view.zone) for name, text in view.sent.only(*names).items()}


def _said(view: View, where: str, got: Got, otherwise: str = "saved") -> Response:
    return view.go(where, said="proposed" if got.status == 202 else otherwise)


async def _exports(view: View) -> Response:
    return await _shown_exports(view)


async def _shown_exports(view: View, *, status: int = 200) -> Response:
    return view.page(
        "exports.html", status=status, formats=FORMATS, regimes=REGIMES,
        kinds=sorted(kind.value for kind in Kind), typed=view.sent, **await _asked_for(view),
        strategies=await view.api.all("/v1/strategies") if view.may("strategies:read") else [],
    )  # fmt: skip


async def _exports_part(view: View) -> Response:
    return view.page("parts/exports.html", **await _asked_for(view))


async def _asked_for(view: View) -> dict[str, Any]:
    page = await view.api.get("/v1/audit/exports", cursor=view.asked("cursor"))
    return {"exports": page["items"], "next": page.get("next")}


async def _ask_export(view: View) -> Response:
    sent = view.sent
    asked: dict[str, Any] = {"reason": sent["reason"], **_times(view, "since", "until")}
    asked |= {"formats": sent.each("formats"), **sent.only("regime")}
    for name in ("strategies", "accounts", "orders", "kinds"):
        if found := [one for text in sent.each(name) for one in text.replace(",", " ").split()]:
            asked[name] = found
    if sent["sealed"]:
        asked["sealed"] = True
    try:
        got = await view.change("POST", "/v1/audit/exports", asked)
    except Refused as no:
        view.problem = no
        return await _shown_exports(view, status=no.status)
    return _said(view, f"{HERE}/exports", got, "export_asked")


async def _holds(view: View) -> Response:
    return await _shown_holds(view)


async def _shown_holds(view: View, *, status: int = 200) -> Response:
    holds = (await view.api.get("/v1/audit/holds"))["items"]
    return view.page("holds.html", status=status, holds=holds, typed=view.sent)


async def _place(view: View) -> Response:
    asked = view.sent.only("reason", "subject", "oid", "acct") | _times(view, "from_at", "to_at")
    try:
        got = await view.change("POST", "/v1/audit/holds", asked)
    except Refused as no:
        view.problem = no
        return await _shown_holds(view, status=no.status)
    return _said(view, f"{HERE}/holds", got)


async def _release(view: View) -> Response:
    hold = view.at("hold_id")
    try:
        got = await view.change("POST", f"/v1/audit/holds/{hold}/release", view.sent.only("reason"))
    except Refused as no:
        view.problem = no
        return await _shown_holds(view, status=no.status)
    return _said(view, f"{HERE}/holds", got)


async def _retention(view: View) -> Response:
    return await _shown_retention(view)


async def _shown_retention(view: View, *, status: int = 200) -> Response:
    return view.page(
        "retention.html", status=status, retention=await view.api.get("/v1/audit/retention"),
        erasures=(await view.api.get("/v1/audit/erasures"))["items"], classes=CLASSES,
        regimes=REGIMES, typed=view.sent,
    )  # fmt: skip


async def _grow(view: View) -> Response:
    asked: dict[str, Any] = view.sent.only("cls")
    asked["regimes"] = view.sent.each("regimes")
    if view.sent["years"].isdecimal():
        asked["years"] = int(view.sent["years"])
    try:
        return _said(
            view, f"{HERE}/retention", await view.change("POST", "/v1/audit/retention", asked)
        )
    except Refused as no:
        view.problem = no
        return await _shown_retention(view, status=no.status)


async def _erase(view: View) -> Response:
    subject = view.sent["subject"]
    try:
        got = await view.change(
            "POST", f"/v1/audit/subjects/{subject}/shred", view.sent.only("reason")
        )
    except Refused as no:
        view.problem = no
        return await _shown_retention(view, status=no.status)
    return _said(view, f"{HERE}/retention", got)


PAGES = (
    Page(path="/evidence/exports", get=_exports, post=_ask_export),
    Page(path="/parts/exports", get=_exports_part),
    Page(path="/evidence/holds", get=_holds, post=_place),
    Page(path="/evidence/holds/{hold_id:uuid}/release", get=_holds, post=_release),
    Page(path="/evidence/retention", get=_retention, post=_grow),
    Page(path="/evidence/erasures", get=_retention, post=_erase),
)
