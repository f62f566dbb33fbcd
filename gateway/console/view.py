"""One visit of one page: who is here, what the API says, and how an answer is made of a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote
from uuid import uuid4

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.admin.event_kinds import TOLD
from gateway.body import read_body
from gateway.console.asking import Api, Got, Refused
from gateway.console.formats import ZONE_COOKIE, zone_of
from gateway.console.headers import GUARDED
from gateway.console.language import COOKIE, LOCALES, Tongue, tongue_of, translations
from gateway.console.page import Page
from gateway.console.rendering import environment
from gateway.console.said import STATUSES, TITLES

LIVE_KINDS = " ".join(sorted(kind.value for kind in TOLD))
FORM_BYTES_MAX = 2 * 1024 * 1024
FORM_TIMEOUT_S = 15.0


class Sent:
    """A form as it was sent. A name may come several times; missing is empty."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def __getitem__(self, name: str) -> str:
        return next((value.strip() for key, value in self.pairs if key == name), "")

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)

    def raw(self, name: str) -> str:
        """As it was typed, spaces and all: for passwords."""
        return next((value for key, value in self.pairs if key == name), "")

    def each(self, name: str) -> list[str]:
        """Every value of that name that is not empty."""
        return [value.strip() for key, value in self.pairs if key == name and value.strip()]

    def only(self, *names: str) -> dict[str, str]:
        """Those of the names that were filled in."""
        return {name: self[name] for name in names if self[name]}


class View:
    """What a page's handler is given."""

    def __init__(self, request: Request, api: Api, menu: Sequence[Page]) -> None:
        self.request = request
        self.api = api
        self.menu = menu
        self.tongue: Tongue = tongue_of(
            request.cookies.get(COOKIE), request.headers.get("accept-language", "")
        )
        self.locale = LOCALES[self.tongue]
        self.zone = zone_of(request.cookies.get(ZONE_COOKIE))
        self.now = datetime.now(UTC)
        self.me: dict[str, Any] | None = None
        self.csrf = ""
        self.sent = Sent([])
        self.problem: Refused | None = None
        """What the API said to the form that is shown again."""

    async def recognise(self) -> None:
        """Who is here. Raises Refused where the session is not good.

        Each question counts against the visitor's quota, and a part comes anew each second: it asks for the
        session alone, which says what may be done. Name and tenant are on whole pages.
        """
        session = await self.api.get("/v1/sessions/current")
        self.csrf = session["csrf_token"]
        self.me = session if self.partly else await self.api.get("/v1/me")

    async def read_form(self) -> None:
        """Raises BodyTooLarge, BodyTooSlow, SenderLeft."""
        raw = await read_body(
            self.request.headers.raw, self.request.receive,
            most_bytes=FORM_BYTES_MAX, timeout_s=FORM_TIMEOUT_S,
        )  # fmt: skip
        text = raw.decode("utf-8", "replace")
        self.sent = Sent(parse_qsl(text, keep_blank_values=True, max_num_fields=5000))

    def may(self, action: str) -> bool:
        """Whether this person may do that: only to decide what is offered. The API decides."""
        return self.me is not None and action in self.me["actions"]

    @property
    def platform(self) -> bool:
        """Whether an operator is here."""
        return self.may("tenants:read")

    def say(self, text: str, **given: Any) -> str:
        """In the reader's language."""
        said = translations(self.tongue).gettext(text)
        return said % given if given else said

    def at(self, name: str) -> str:
        """A part of the address."""
        return str(self.request.path_params[name])

    def asked(self, name: str, otherwise: str = "") -> str:
        """A member of the query."""
        return self.request.query_params.get(name, otherwise)

    @property
    def partly(self) -> bool:
        """Whether htmx asks for a part of a page that is open."""
        return self.request.headers.get("hx-request") == "true"

    async def change(self, method: str, path: str, body: Any = None) -> Got:
        """One change, as the form says it: with its `once`, `revision` and `reason`. Raises Refused.

        A form that is sent twice has one effect: `once` was made when it was shown.
        """
        headers: dict[str, str] = {"portcullis-csrf": self.sent["csrf"]}
        if method == "POST" and self.sent["once"]:
            headers["idempotency-key"] = self.sent["once"]
        if self.sent["revision"]:
            headers["if-match"] = f'"{self.sent["revision"]}"'
        if self.sent["reason"]:
            headers["portcullis-reason"] = self.sent["reason"].encode().decode("latin-1")
        return await self.api.ask(method, path, body=body, headers=headers)

    def page(self, template: str, *, status: int = 200, **given: Any) -> Response:
        """The template with what it is given, `view` among it."""
        body = environment(self.tongue).get_template(template).render(
            view=self, me=self.me, menu=self.menu, hidden=self.hidden, refusal_title=self.title_of,
            live_kinds=LIVE_KINDS, **given,
        )  # fmt: skip
        return self.answered(Response(body, status, media_type="text/html"))

    def hidden(self, revision: str | int | None = None) -> Markup:
        """What every form carries: the session's token, a key of its own, the revision it was made for."""
        fields = {"csrf": self.csrf, "once": str(uuid4()), "revision": revision}
        return Markup("").join(
            Markup('<input type="hidden" name="{}" value="{}">').format(name, value)
            for name, value in fields.items()
            if value is not None
        )

    def title_of(self, refused: Refused) -> str:
        """What was refused, in the reader's language; what nobody translated is said as the API does."""
        known = TITLES.get(refused.code) or STATUSES.get(refused.status)
        return self.say(known) if known else str(refused.body.get("title", refused.code))

    def go(self, where: str, *, said: str = "") -> Response:
        """Elsewhere, after a change. `said`: which sentence of said.py is shown there."""
        if said:
            where += ("&" if "?" in where else "?") + f"said={quote(said)}"
        return self.answered(RedirectResponse(where, 303))

    def answered(self, response: Response) -> Response:
        """With the console's headers, and the session's cookie where it was replaced."""
        for name, value in GUARDED.items():
            response.headers.setdefault(name, value)
        for cookie in self.api.set_cookies:
            response.headers.append("set-cookie", cookie)
        return response


def next_of(query: Mapping[str, str]) -> str:
    """Where to go after signing in: an address of the console, whatever somebody put there."""
    where = query.get("next", "")
    fits = where.startswith("/console/") and "\\" not in where and "//" not in where
    return where if fits else "/console/"
