"""HTTP to the broker: sends signed bytes once, and sorts failures by whether bytes may have left.

The two errors are the whole point. NotSent: there was no signature, or no connection (name, TCP, TLS); the
request provably never left. NoAnswer: it may have arrived, and nobody said what became of it.

Nothing is sent twice, but by aiohttp a GET or DELETE on a kept connection that the server closed at that
moment: a DELETE that was carried out the first time then answers *final*, and find() tells the truth.
Redirects are not followed (key and signature would travel to another host), no cookies are kept, no proxy is
taken from the environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

import aiohttp
from yarl import URL

from fanout.brokers.template import wire
from fanout.brokers.template.settings import TemplateSettings
from fanout.ports import BrokerAccount, RequestSigner
from tenancy.clock import Clock
from tenancy.errors import OutcomeUnknown, Unavailable


class NotSent(Unavailable):
    """The request provably never left this machine."""

    code = "not_sent"


class NoAnswer(OutcomeUnknown):
    """The request may have arrived; no usable answer came back."""

    code = "no_answer"


class TemplateClient:
    """One pool of connections for all accounts of this process."""

    def __init__(self, settings: TemplateSettings, signer: RequestSigner, clock: Clock) -> None:
        self._settings, self._signer, self._clock = settings, signer, clock
        self._base = settings.base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"TemplateClient({self._base}, {'closed' if self._session is None else 'open'})"

    async def open(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=self._settings.request_timeout_s,
                    connect=self._settings.connect_timeout_s,
                    ceil_threshold=86_400,  # aiohttp rounds time-outs above this up to whole seconds
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def sign(
        self, account: BrokerAccount, request: wire.Request, *, expires: datetime | None = None
    ) -> dict[str, str]:
        """The headers that make the request the account's own; `expires` is signed with it. Raises NotSent."""
        timestamp = int(self._clock.now().timestamp())
        deadline = "" if expires is None else str(int(expires.timestamp() * 1000))
        try:
            async with asyncio.timeout(self._settings.sign_timeout_s):
                signature = await self._signer.sign_request(
                    account,
                    scheme=wire.SCHEME,
                    method=request.method,
                    path=request.path,
                    query=deadline,
                    body=request.body,
                    timestamp=timestamp,
                )
        except Exception as why:  # whatever went wrong, it was before the first byte left
            raise NotSent(f"not signed: {getattr(why, 'code', type(why).__name__)}: {why}") from why
        return {
            "X-Key": account.api_key or "",
            "X-Time": str(timestamp),
            "X-Expires": deadline,
            "X-Sign": signature,
        }

    async def send(self, request: wire.Request, headers: Mapping[str, str]) -> wire.Answer:
        """Send once; any HTTP status is an answer. Raises NotSent or NoAnswer."""
        session = self._session
        if session is None:
            raise NotSent("the connection pool is not open")
        try:
            async with session.request(
                request.method,
                URL(self._base + request.path, encoded=True),
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                return _answer(response.status, await response.read(), response.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as why:
            raise NotSent(f"{type(why).__name__}: {why}") from why
        except (aiohttp.ClientError, TimeoutError, OSError) as why:
            raise NoAnswer(f"{type(why).__name__}: {why}".rstrip(": ")) from why

    async def ask(self, account: BrokerAccount, request: wire.Request) -> wire.Answer:
        """Sign and send a question. Raises NotSent or NoAnswer."""
        return await self.send(request, await self.sign(account, request))


def _answer(status: int, body: bytes, headers: Mapping[str, str]) -> wire.Answer:
    try:
        now = wire.moment(int(headers["X-Now"]))
    except (KeyError, ValueError, wire.Unreadable):
        now = None
    try:
        pause = max(0.05, float(headers.get("Retry-After", "1")))
    except ValueError:
        pause = 1.0
    return wire.Answer(status, body, now, pause)
