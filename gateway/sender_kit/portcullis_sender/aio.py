"""The same Sender for asyncio, on aiohttp (`pip install portcullis-sender[async]`)."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import aiohttp

from .address import hook_address
from .client import made_keys, new_message_id
from .delivery import ANSWER_BYTES_MOST, Again, Answer, Delivery, Lost, Policy, Receipt
from .signal import Signal
from .signing import Key


class AsyncSender:
    """Sends to one hook; open inside `async with`. Many signals may be under way at once."""

    def __init__(
        self,
        url: str,
        *keys: str | Key,
        policy: Policy | None = None,
        trust: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """As Sender. Raises ValueError."""
        self._url = hook_address(url).geturl()
        self._keys = made_keys(keys)
        self._policy = policy or Policy()
        self._trust = trust or ssl.create_default_context()
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"AsyncSender({self._url!r}, {'closed' if self._session is None else 'open'})"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._trust, limit=32),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self, signal: Signal | bytes, *, message_id: str | None = None, wait_s: int | None = None
    ) -> Receipt:
        """As Sender.send. Cancelled, the signal may have been accepted: repeat it under its id."""
        delivery = Delivery(
            signal.body() if isinstance(signal, Signal) else signal,
            message_id or new_message_id(),
            self._keys,
            self._policy,
            wait_s=wait_s,
            begun_s=time.monotonic(),
        )
        while True:
            result = await self._attempt(delivery)
            chance = random.random()  # noqa: S311 - it only spreads out the attempts
            verdict = delivery.judge(
                result, now_s=time.monotonic(), unix_s=time.time(), chance=chance
            )
            if not isinstance(verdict, Again):
                return verdict
            await self._sleep(verdict.after_s)

    async def _attempt(self, delivery: Delivery) -> Answer | Lost:
        if self._session is None:
            raise RuntimeError("AsyncSender is used inside `async with`")
        headers = delivery.headers(time.time())
        timeout = aiohttp.ClientTimeout(total=delivery.timeout_s)
        try:
            async with self._session.post(
                self._url,
                data=delivery.body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                found = {name.lower(): value for name, value in response.headers.items()}
                body = await response.content.read(ANSWER_BYTES_MOST)
                while len(body) < ANSWER_BYTES_MOST and not response.content.at_eof():
                    body += await response.content.read(ANSWER_BYTES_MOST - len(body))
                return Answer(response.status, found, body)
        except aiohttp.ClientConnectorCertificateError as error:
            return Lost(f"not trusted: {error!r}", sent=False, hopeless=True)
        except aiohttp.ClientConnectorError as error:
            return Lost(f"no connection: {error!r}", sent=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Lost(f"no answer: {error!r}", sent=True)
