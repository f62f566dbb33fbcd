"""HTTP to Gate.io: sends signed bytes once, and sorts failures by whether bytes may have left.

The two errors are the whole point. NotSent: no connection was made (name, TCP, TLS, no free
connection in time) or no signature was had; the request provably never left. NoAnswer: it may
have arrived, and nobody said what became of it.

Nothing is sent twice, with one exception that is aiohttp's: a GET, PUT or DELETE on a kept connection
which the server closed at that moment is sent once more on a new one. For a GET that is harmless, and for
an amendment (PUT), which says what is to stand and not what to add.
A DELETE that Gate did carry out the first time then answers *not found* or *finished*, which the
adapter reports as too late, and find() tells the truth. A POST is never repeated.

Redirects are not followed (key and signature would travel to another host), no cookies are kept,
no proxy is taken from the environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import aiohttp
from opentelemetry.trace import SpanKind
from yarl import URL

from fanout.brokers.gate import request as wire
from fanout.brokers.gate import stream_wire
from fanout.brokers.gate.reading import Answer, server_time_ms
from fanout.brokers.gate.settings import GateSettings
from fanout.brokers.gate.stream_wire import Auth
from fanout.brokers.gate.venue_time import ClockError as ClockError
from fanout.brokers.gate.venue_time import VenueTime
from fanout.ports import BrokerAccount, RequestSigner
from fanout.trace import inside, say
from tenancy.clock import Clock
from tenancy.errors import OutcomeUnknown, Unavailable

PUBLIC: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    # Without it Gate cuts every size to whole contracts, so that 1.7 held looks like 1.
    "X-Gate-Size-Decimal": "1",
}


class NotSent(Unavailable):
    """The request provably never left this machine."""

    code = "not_sent"


class NoAnswer(OutcomeUnknown):
    """The request may have arrived; no usable answer came back."""

    code = "no_answer"


class GateClient:
    """One pool of connections to Gate.io for all accounts of this process."""

    def __init__(self, settings: GateSettings, signer: RequestSigner, clock: Clock) -> None:
        self._settings = settings
        self._signer = signer
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self.time = VenueTime(
            self._ask_time,
            clock,
            exptime_ms=settings.exptime_ms,
            clock_error_ms=settings.clock_error_ms,
        )
        base = settings.base_url.rstrip("/")
        # The same few targets come again for every order, and parsing a URL costs as much as signing it.
        self._url = lru_cache(maxsize=256)(lambda target: URL(base + target, encoded=True))

    def __repr__(self) -> str:
        word = "closed" if self._session is None else "open"
        return f"GateClient({self._settings.base_url}, {word})"

    async def open(self) -> None:
        """Open the pool, warm it, compare the clocks. Raises NotSent, NoAnswer, ClockError or TimeUnknown."""
        if self._session is not None:
            return
        limit = self._settings.connections
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limit, limit_per_host=limit, keepalive_timeout=self._settings.keepalive_s
            ),
            timeout=aiohttp.ClientTimeout(
                total=self._settings.request_timeout_s,
                connect=self._settings.connect_timeout_s,
                # aiohttp rounds time-outs above this up to whole seconds; leases count on ours exactly.
                ceil_threshold=86_400,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
            trust_env=False,
        )
        try:
            await self._warm()
        except BaseException:
            await self.close()
            raise

    async def _warm(self) -> None:
        """One connection, on which the clocks are compared: the sooner the answer, the narrower what is
        known. Then the others at once: each question finds no idle connection and opens its own.

        What Gate says to those does not matter. It counts 200 in 10 s from one address, of all workers
        together; who asked for the time only after them would never be told it again.
        """
        await self._ask_time()
        await self.time.compare()
        asked = [self._ask_time() for _ in range(self._settings.connections_warm)]
        for result in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _ask_time(self) -> int | None:
        """Gate's clock, Unix ms; None where this host does not say, or counts one question too many."""
        return server_time_ms(await self.send(wire.server_time(), PUBLIC))

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def sign(self, account: BrokerAccount, request: wire.Request) -> dict[str, str]:
        """The headers that make the request the account's own. Raises NotSent, whatever went wrong."""
        timestamp, signature = await self._signature(account, wire.SCHEME, request)
        return {
            **PUBLIC,
            "Content-Type": "application/json",
            "KEY": account.api_key or "",
            "Timestamp": str(timestamp),
            "SIGN": signature,
        }

    async def sign_subscription(self, account: BrokerAccount, channel: str, event: str) -> Auth:
        """What makes a WebSocket subscription the account's own. Raises NotSent, whatever went wrong."""
        said = wire.Request(event, channel)
        timestamp, signature = await self._signature(account, stream_wire.SCHEME, said)
        return Auth(account.api_key or "", signature, timestamp)

    async def _signature(
        self, account: BrokerAccount, scheme: str, request: wire.Request
    ) -> tuple[int, str]:
        timestamp = int(self._clock.now_ns() // 1_000_000_000)
        try:
            async with asyncio.timeout(self._settings.sign_timeout_s):
                return timestamp, await self._signer.sign_request(
                    account,
                    scheme=scheme,
                    method=request.method,
                    path=request.path,
                    query=request.query,
                    body=request.body,
                    timestamp=timestamp,
                )
        except TimeoutError:
            raise NotSent(f"no signature within {self._settings.sign_timeout_s} s") from None
        except Exception as why:
            # Any failure of the signer, foreseen or not, comes before the first byte leaves.
            code = getattr(why, "code", type(why).__name__)
            raise NotSent(f"not signed: {code}: {why}") from why

    async def send(self, request: wire.Request, headers: Mapping[str, str]) -> Answer:
        """Send once; any HTTP status is an answer. Raises NotSent or NoAnswer."""
        session = self._session
        if session is None or session.closed:
            raise NotSent("the connection pool is not open")
        try:
            with inside("broker.request", {"method": request.method}, kind=SpanKind.CLIENT) as span:
                async with session.request(
                    request.method,
                    self._url(request.target),
                    data=request.body or None,
                    headers=headers,
                    allow_redirects=False,
                ) as response:
                    say(span, {"http.response.status_code": response.status})
                    return Answer(response.status, await response.read(), response.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as why:
            # Both are raised before a request is written: name, TCP, TLS, or no free connection.
            raise NotSent(f"{type(why).__name__}: {why}") from why
        except (aiohttp.ClientError, TimeoutError, OSError) as why:
            raise NoAnswer(f"{type(why).__name__}: {why}".rstrip(": ")) from why

    async def ask(self, account: BrokerAccount, request: wire.Request) -> Answer:
        """Sign and send a question. Raises NotSent or NoAnswer."""
        return await self.send(request, await self.sign(account, request))
