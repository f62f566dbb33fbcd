"""The console's way to the admin API: the same requests that any other client sends, in process.

The visitor's cookie, address and user agent go with every question, so authentication, rates, permissions,
row-level security and audit records are the API's own. A session's token that the API replaces on the
way is taken for the questions that follow, and given to the browser with the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import quote

import httpx
import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp

from gateway.admin.auth import client_of

BASE = "https://console.invalid"
"""Where nothing is: the requests never leave the process."""
PASSED_ON = ("user-agent", "traceparent", "accept-language")
TIMEOUT_S = 30.0


class Refused(Exception):
    """The API said no. `code`, `title` and `detail` are its problem document's; `body` is all of it."""

    def __init__(self, status: int, body: dict[str, Any], retry_after: str | None = None) -> None:
        super().__init__(f"{status} {body.get('code')}: {body.get('detail')}")
        self.status = status
        self.body = body
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        return str(self.body.get("code", ""))

    @property
    def detail(self) -> str:
        return str(self.body.get("detail", ""))

    @property
    def trace_id(self) -> str:
        return str(self.body.get("trace_id", ""))


class Got(msgspec.Struct, frozen=True):
    """An answer: `content` is the decoded JSON, None where there is none; `revision` its ETag."""

    status: int
    content: Any
    revision: str | None
    headers: Mapping[str, str]


class Api:
    """The admin API as one visitor sees it, for the length of one request."""

    def __init__(self, app: ASGIApp, request: Request) -> None:
        self._transport = httpx.ASGITransport(
            app, raise_app_exceptions=False, client=(client_of(request), 0)
        )
        self._cookies = dict(request.cookies)
        self._headers = {
            name: request.headers[name] for name in PASSED_ON if name in request.headers
        }
        self.set_cookies: list[str] = []
        """`Set-Cookie` headers that the browser has to get."""

    async def get(self, path: str, **query: Any) -> Any:
        """The answer's content. Raises Refused."""
        return (await self.ask("GET", path, query=query)).content

    async def some(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The items of one page of a list. Raises Refused."""
        items: list[dict[str, Any]] = (await self.get(path, **query))["items"]
        return items

    async def all(self, path: str, most: int = 1000, **query: Any) -> list[dict[str, Any]]:
        """The items of as many pages as it takes, `most` at most. Raises Refused."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(items) < most:
            page = await self.get(path, **{**query, "limit": 100, "cursor": cursor})
            items += page["items"]
            cursor = page.get("next")
            if cursor is None:
                break
        return items[:most]

    async def ask(
        self, method: str, path: str, *, body: Any = None, query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Got:  # fmt: skip
        """One request. A query's None is left out. Raises Refused."""
        given = {k: str(v) for k, v in (query or {}).items() if v is not None and v != ""}
        sent = {**self._headers, **(headers or {})}
        if self._cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if body is not None:
            sent["content-type"] = "application/json"
        async with httpx.AsyncClient(
            transport=self._transport, base_url=BASE, timeout=TIMEOUT_S
        ) as client:
            answer = await client.request(
                method, quote(path, safe="/:{}-_.~"), params=given, headers=sent,
                content=None if body is None else msgspec.json.encode(body),
            )  # fmt: skip
        self._keep_cookies(answer)
        if answer.status_code >= 400:
            _refuse(answer)
        plain = answer.headers.get("content-type", "").startswith("application/json")
        return Got(
            answer.status_code,
            msgspec.json.decode(answer.content) if plain and answer.content else None,
            answer.headers.get("etag", "").strip('"') or None,
            answer.headers,
        )

    def _keep_cookies(self, answer: httpx.Response) -> None:
        for header in answer.headers.get_list("set-cookie"):
            self.set_cookies.append(header)
            name, _, rest = header.partition("=")
            self._cookies[name] = rest.partition(";")[0]


def _refuse(answer: httpx.Response) -> NoReturn:
    try:
        body = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    raise Refused(answer.status_code, body, answer.headers.get("retry-after"))
