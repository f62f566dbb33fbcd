"""Coming in and going: password, second factor, invitation, language.

Each form is one request to the API's own sign-in, with its counting of guesses. What goes on between password
and second factor is the half-session, in a hidden field of the form: it opens nothing alone, for five minutes.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from gateway.console.asking import Refused
from gateway.console.language import COOKIE, NAMES
from gateway.console.page import Page
from gateway.console.view import View, next_of

YEAR_S = 365 * 86400


async def _show(view: View) -> Response:
    providers = (await view.api.get("/v1/oidc"))["items"]
    return view.page("sign_in.html", providers=providers, next=next_of(view.request.query_params))


async def _password(view: View) -> Response:
    asked = {
        "tenant": view.sent["tenant"],
        "email": view.sent["email"],
        "password": view.sent.raw("password"),
    }
    where = next_of({"next": view.sent["next"]})
    try:
        await view.api.ask("POST", "/v1/sessions", body=asked)
    except Refused as no:
        if no.code == "second_factor_required":
            return view.page(
                "second_factor.html", half=no.body["half_session"], methods=no.body["methods"],
                next=where,
            )  # fmt: skip
        view.problem = no
        providers = (await view.api.get("/v1/oidc"))["items"]
        return view.page("sign_in.html", status=no.status, providers=providers, next=where)
    return view.go(where)


async def _second(view: View) -> Response:
    """A code, or what the authenticator said: the page's script put it into the form."""
    half, where = view.sent["half_session"], next_of({"next": view.sent["next"]})
    shown: dict[str, object] = {"half_session": half}
    if view.sent["credential"]:
        try:
            shown["credential"] = msgspec.json.decode(view.sent["credential"])
        except msgspec.DecodeError:
            shown["credential"] = {}
    else:
        shown["code"] = view.sent["code"]
    try:
        await view.api.ask("POST", "/v1/sessions/second-factor", body=shown)
    except Refused as no:
        if no.code == "session_over":
            return view.go("/console/sign-in")
        view.problem = no
        methods = view.sent.each("methods")
        return view.page(
            "second_factor.html", status=no.status, half=half, methods=methods, next=where
        )
    return view.go(where)


async def _join(view: View) -> Response:
    return view.page("join.html", invitation="")


async def _joined(view: View) -> Response:
    asked = {"invitation": view.sent["invitation"], "password": view.sent.raw("password")}
    if view.sent.raw("password") != view.sent.raw("again"):
        return view.page("join.html", status=422, invitation=view.sent["invitation"], differ=True)
    try:
        await view.api.ask("POST", "/v1/invitations", body=asked)
    except Refused as no:
        view.problem = no
        return view.page("join.html", status=no.status, invitation=view.sent["invitation"])
    return view.go("/console/sign-in", said="joined")


async def _out(view: View) -> Response:
    await view.change("DELETE", "/v1/sessions/current")
    return view.go("/console/sign-in", said="signed_out")


async def _language(view: View) -> Response:
    tongue = view.sent["language"]
    response = view.go(next_of({"next": view.sent["next"]}))
    if tongue in NAMES:
        response.set_cookie(
            COOKIE, tongue, max_age=YEAR_S, path="/console", secure=True, samesite="strict"
        )
    return response


PAGES = (
    Page(path="/sign-in", get=_show, post=_password, open=True),
    Page(path="/sign-in/second-factor", post=_second, open=True),
    Page(path="/join", get=_join, post=_joined, open=True),
    Page(path="/sign-out", post=_out),
    Page(path="/language", post=_language, open=True),
)
