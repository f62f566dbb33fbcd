"""The management API from outside: one class, which the command line, the demo and the tests share.

What it does by itself, so that no caller forgets it:

- every POST carries an Idempotency-Key, and a POST whose answer was lost is sent once more under the
  same key: the server does it once. A lost answer of any other request is told, not repeated;
- a rate that is used up (429) is waited for, as long as the server says, for a minute in all;
- a problem document becomes `Refused`, with its code, field and remedy.

A key is read from a file of mode 0600 and is in no `repr`, error or argument.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode
from uuid import uuid4

import aiohttp
import msgspec

from tenancy.errors import UNREADABLE, ConfigurationError, PortcullisError, Retry

TIMEOUT = aiohttp.ClientTimeout(total=120.0, connect=5.0)
WAIT_MOST_S = 60.0
MERGE_PATCH = "application/merge-patch+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What we read of a problem document (RFC 9457)."""

    status: int = 0
    title: str = ""
    detail: str = ""
    code: str = "internal"
    field: str = ""
    trace_id: str = ""


class Refused(PortcullisError):
    """The API said no. `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title or f"status {problem.status}")
        self.problem = problem
        self.code = problem.code  # type: ignore[misc]  # the server's, not this class'


class Unreachable(PortcullisError):
    """Nobody answered. `sent`: what was asked may have been done all the same."""

    code = "unreachable"

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.retry = Retry.AFTER_RECONCILING if sent else Retry.SAFELY  # type: ignore[misc]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A 2xx answer. `content` is decoded JSON, None where there was no body."""

    status: int
    content: Any = None
    etag: str = ""
    location: str = ""

    def __repr__(self) -> str:
        """Without the content: it may be a secret that is shown this once."""
        return f"<Reply {self.status} of {type(self.content).__name__}>"

    @property
    def proposal(self) -> str | None:
        """The proposal that waits for a second person in place of the change."""
        waits = self.status == 202 and isinstance(self.content, dict)
        return self.content.get("proposal_id") if waits else None


class Api:
    """One key at one management listener. Use as an async context."""

    def __init__(self, url: str, key: str, trust: ssl.SSLContext | None) -> None:
        """`trust` None: as the system does."""
        self.url = url.rstrip("/")
        self._key = key
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"Api({self.url!r}, key=…)"

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._trust or True, limit=16)
        self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET. Raises Refused, Unreachable."""
        return (await self.ask("GET", path, query=query)).content

    async def make(self, path: str, body: Any = None, *, why: str = "") -> Any:
        """The JSON of a POST."""
        return (await self.ask("POST", path, body, why=why)).content

    async def change(
        self, path: str, patch: Mapping[str, Any], *, if_match: str = "*", why: str = ""
    ) -> Reply:
        """A JSON Merge Patch."""
        return await self.ask("PATCH", path, patch, if_match=if_match, why=why)

    async def items(self, path: str, **query: Any) -> AsyncIterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = await self.get(path, **query, limit=100, cursor=cursor)
            for item in page["items"]:
                yield item
            cursor = page.get("next")
            if cursor is None:
                return

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        if_match: str = "",
        why: str = "",
    ) -> Reply:
        """One request, whatever it is. Raises Refused, Unreachable."""
        asked = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        address = f"{self.url}{path}" + (f"?{urlencode(asked)}" if asked else "")
        headers = self._headers(method, if_match, why)
        content = b""
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
            content = msgspec.json.encode(body)
        waited = 0.0
        while True:
            status, answer, data = await self._sent(method, address, headers, content)
            pause = float(answer.get("Retry-After", 1)) if status == 429 else 0.0
            if status != 429 or waited + pause > WAIT_MOST_S:
                return _reply(status, answer, data)
            waited += pause
            await asyncio.sleep(pause)

    async def lines(self, path: str, **query: Any) -> AsyncIterator[str]:
        """The lines of an event stream, until somebody ends it. Raises Refused, Unreachable."""
        session = self._open()
        asked = {name: _text(value) for name, value in query.items() if value is not None}
        headers = self._headers("GET", "", "")
        endless = aiohttp.ClientTimeout(total=None, connect=5.0)
        try:
            async with session.get(
                f"{self.url}{path}", params=asked, headers=headers, timeout=endless
            ) as answer:
                if answer.status != 200:
                    _reply(answer.status, answer.headers, await answer.read())
                async for line in answer.content:
                    yield line.decode().rstrip("\n")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._away(error, sent=False) from None

    def _headers(self, method: str, if_match: str, why: str) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        if method == "POST":
            headers["Idempotency-Key"] = uuid4().hex
        if if_match:
            headers["If-Match"] = if_match
        if why:
            headers["Portcullis-Reason"] = why  # aiohttp writes UTF-8, which the server reads
        return headers

    async def _sent(
        self, method: str, address: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        session = self._open()
        for last in (False, True):
            try:
                async with session.request(
                    method, address, data=content or None, headers=headers, allow_redirects=False
                ) as answer:
                    return answer.status, answer.headers, await answer.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                away = isinstance(error, aiohttp.ClientConnectorError)
                if last or away or method not in ("GET", "POST"):
                    raise self._away(error, sent=not away and method != "GET") from None
        raise AssertionError("one of the two tries answers or raises")

    def _open(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use it as an async context"
        return self._session

    def _away(self, error: BaseException, *, sent: bool) -> Unreachable:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Unreachable(
                f"{self.url} shows a certificate that is not trusted here: name its authority with"
                f" --ca or PORTCULLIS_CA ({error.certificate_error})",
                sent=False,
            )
        what = str(error) or type(error).__name__
        return Unreachable(f"{self.url} does not answer: {what}", sent=sent)


@asynccontextmanager
async def connected(url: str, key_file: Path | None, ca: Path | None) -> AsyncIterator[Api]:
    """An Api whose key is in `key_file` (None: none) and that trusts `ca` (None: the system's)."""
    key = read_key(key_file) if key_file is not None else ""
    async with Api(url, key, trust(ca)) as api:
        yield api


def trust(ca: Path | None) -> ssl.SSLContext | None:
    """Raises ConfigurationError where `ca` is no file of certificates."""
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca))
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"{ca} cannot be read as certificates: {error}") from None


def read_key(path: Path) -> str:
    """The key in a file that nobody else may read. Raises ConfigurationError."""
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file {path} holds no key: it is not text") from None
    if mode & 0o077:
        raise ConfigurationError(f"the key file {path} may be read by others: chmod 0600 it")
    if not text.startswith(("pck_", "pcs_")) or len(text.split()) != 1:
        raise ConfigurationError(
            f"{path} holds neither a service key nor a session: one line pck_… is needed"
        )
    return text


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reply(status: int, headers: Mapping[str, str], data: bytes) -> Reply:
    if not 200 <= status < 300:
        try:
            problem = msgspec.json.decode(data, type=Problem)
        except UNREADABLE:
            problem = Problem(status=status, detail=f"status {status}, and no problem document")
        raise Refused(problem)
    json = "json" in headers.get("Content-Type", "")
    content = msgspec.json.decode(data) if json and data else (data.decode() if data else None)
    return Reply(
        status=status, content=content, etag=headers.get("ETag", ""),
        location=headers.get("Location", ""),
    )  # fmt: skip
