"""The console's routes on the management listener, and the steps that are the same for each page.

1. A form has to come from a page of ours (Sec-Fetch-Site, else Origin), before anything is read.
2. Who is here: the API says it. Nobody: to the sign-in page, and back here afterwards.
3. The page's handler asks the API and makes an answer.
4. What the API refuses and the handler does not handle is a page too, with the API's own words and code.
"""

from __future__ import annotations

from functools import partial
from urllib.parse import quote, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gateway.body import BodyTooLarge, BodyTooSlow, SenderLeft
from gateway.console.asking import Api, Refused
from gateway.console.files import give, give_worker
from gateway.console.headers import GUARDED
from gateway.console.page import Handler, Page
from gateway.console.pages import PAGES
from gateway.console.view import View

log = structlog.get_logger()

SIGN_IN = "/console/sign-in"
ENROL = "/console/me/second-factor"
MENU = tuple(page for page in PAGES if page.menu)
NOT_SIGNED_IN = frozenset({"session_over", "bad_key"})


def console_routes(api: ASGIApp) -> list[BaseRoute]:
    """The routes. `api`: the application that answers /v1/…, which may be the one they are put into."""
    return [
        Route("/", _home),
        Route("/console", _home),
        Route("/console/static/{name}", give),
        Route("/console/worker.js", give_worker),
        *(_route(page, api) for page in PAGES),
    ]


async def _home(request: Request) -> Response:
    """An invitation's token is in the fragment, which the browser keeps and we never see."""
    return RedirectResponse("/console/", 302, headers=GUARDED)


def _route(page: Page, api: ASGIApp) -> Route:
    handlers = {"GET": page.get or partial(_above, page), "POST": page.post}
    methods = [method for method, handler in handlers.items() if handler is not None]

    async def answer(request: Request) -> Response:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        assert handler is not None
        return await _answered(page, handler, request, View(request, Api(api, request), MENU))

    return Route("/console" + page.path, answer, methods=methods)


async def _above(page: Page, view: View) -> Response:
    """Whoever comes to a form's own address (reloads, comes back after signing in) wants the page it was on."""
    depths = [
        one.path.strip("/").count("/") + 1
        for one in PAGES
        if one.get is not None and one.path != "/" and page.path.startswith(f"{one.path}/")
    ]
    parts = view.request.scope["path"].split("/")
    return view.go("/".join(parts[: 2 + max(depths)]) if depths else "/console/")


async def _answered(page: Page, handler: Handler, request: Request, view: View) -> Response:
    try:
        if request.method == "POST":
            if not from_here(request):
                return view.page("stray.html", status=403)
            await view.read_form()
        if not page.open:
            await view.recognise()
        return await handler(view)
    except Refused as refused:
        return _refusal(view, refused)
    except BodyTooLarge as error:
        return view.page("problem.html", status=413, refused=Refused(413, _said(error)))
    except BodyTooSlow as error:
        return view.page("problem.html", status=408, refused=Refused(408, _said(error)))
    except SenderLeft:
        return Response(status_code=400)  # nobody is there to read it


def _said(error: BodyTooLarge | BodyTooSlow) -> dict[str, str]:
    return {"code": error.code, "detail": str(error)}


def from_here(request: Request) -> bool:
    """Whether a page of this very origin sent the form. Browsers say so; a page cannot say it for them."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def _refusal(view: View, refused: Refused) -> Response:
    if refused.code in NOT_SIGNED_IN:
        return _elsewhere(view, f"{SIGN_IN}?next={quote(_here(view))}")
    if refused.code == "second_factor_enrolment_required":
        return _elsewhere(view, ENROL)
    if refused.status >= 500:
        log.warning("console_refused", code=refused.code, path=view.request.scope["path"])
    return view.page("problem.html", status=refused.status, refused=refused)


def _here(view: View) -> str:
    """Where to come back to: what was looked at, which for a part is the page that it is in."""
    request = view.request
    if view.partly:
        page = urlsplit(request.headers.get("hx-current-url", ""))
        return f"{page.path}?{page.query}" if page.query else page.path
    query = request.scope["query_string"].decode("latin-1")
    path: str = request.scope["path"]
    return path if request.method != "GET" or not query else f"{path}?{query}"


def _elsewhere(view: View, where: str) -> Response:
    """A whole page goes there; where htmx asked for a part, htmx has to be told to."""
    if not view.partly:
        return view.answered(RedirectResponse(where, 303))
    return view.answered(Response(status_code=204, headers={"hx-redirect": where}))
