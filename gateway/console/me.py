"""Oneself: second factors, recovery codes, password, sessions."""

from __future__ import annotations

import base64
import io
from typing import Any

import msgspec
import segno
from markupsafe import Markup
from starlette.responses import Response

from gateway.console.asking import Refused
from gateway.console.page import Page
from gateway.console.view import View


async def _show(view: View) -> Response:
    factors = await view.api.get("/v1/me/factors")
    if view.me is not None and view.me["must_enrol"]:
        return view.page("enrol.html", factors=factors)
    sessions = (await view.api.get("/v1/sessions"))["items"]
    return view.page("me.html", factors=factors, sessions=sessions)


async def _enrol(view: View) -> Response:
    return view.page("enrol.html", factors=await view.api.get("/v1/me/factors"))


async def _totp(view: View) -> Response:
    """Begin: the secret is shown once, as a picture and as text."""
    begun = await view.change("POST", "/v1/me/factors/totp", {"label": view.sent["label"]})
    return _confirmation(view, begun.content)


def _confirmation(view: View, begun: dict[str, Any], status: int = 200) -> Response:
    uri = begun.get("uri")
    return view.page(
        "confirm_totp.html", status=status, factor_id=begun["factor_id"],
        secret=begun.get("secret"), uri=uri, picture=picture(uri) if uri else None,
    )  # fmt: skip


async def _confirm(view: View) -> Response:
    factor = view.at("factor_id")
    shown: dict[str, Any] = {"code": view.sent["code"]}
    if view.sent["credential"]:
        shown = {"credential": msgspec.json.decode(view.sent["credential"])}
    try:
        got = await view.change("POST", f"/v1/me/factors/{factor}/confirm", shown)
    except Refused as no:
        if no.code != "second_factor_failed":
            raise
        view.problem = no
        return _confirmation(view, {"factor_id": factor}, no.status)
    codes = (got.content or {}).get("codes")
    if codes:
        return view.page("recovery_codes.html", codes=codes)
    return view.go("/console/me", said="factor_added")


async def _codes(view: View) -> Response:
    got = await view.change("POST", "/v1/me/recovery-codes")
    return view.page("recovery_codes.html", codes=got.content["codes"])


async def _remove(view: View) -> Response:
    await view.change("DELETE", f"/v1/me/factors/{view.at('factor_id')}")
    return view.go("/console/me", said="factor_removed")


async def _password(view: View) -> Response:
    await view.change(
        "PUT", "/v1/me/password",
        {"current_password": view.sent.raw("current"), "password": view.sent.raw("password")},
    )  # fmt: skip
    return view.go("/console/me", said="saved")


async def _end_session(view: View) -> Response:
    await view.change("DELETE", f"/v1/sessions/{view.at('session_id')}")
    return view.go("/console/me", said="saved")


def picture(text: str) -> Markup:
    """A QR code as a data address, which the content security policy lets an image have."""
    out = io.BytesIO()
    segno.make(text, error="m").save(out, kind="png", scale=5, border=3)
    return Markup("data:image/png;base64,") + base64.b64encode(out.getvalue()).decode()


PAGES = (
    Page(path="/me", get=_show),
    Page(path="/me/second-factor", get=_enrol),
    Page(path="/me/factors/totp", post=_totp),
    Page(path="/me/factors/{factor_id:uuid}/confirm", post=_confirm),
    Page(path="/me/factors/{factor_id:uuid}/remove", post=_remove),
    Page(path="/me/recovery-codes", post=_codes),
    Page(path="/me/password", post=_password),
    Page(path="/me/sessions/{session_id:uuid}/end", post=_end_session),
)
