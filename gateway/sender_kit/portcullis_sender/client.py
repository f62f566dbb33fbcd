"""Send signals and wait for the answer, with the standard library alone.

Each attempt has a connection of its own: nothing is kept that a server may have closed meanwhile.
Redirects are not followed and no proxy is taken from the environment. `Policy.timeout_s` bounds
each silence; an answer that arrives byte by byte may take longer in all.
"""

from __future__ import annotations

import http.client
import random
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import uuid4

from .address import hook_address
from .delivery import ANSWER_BYTES_MOST, Again, Answer, Delivery, Lost, Policy, Receipt
from .signal import Signal
from .signing import Key, read_key


class Sender:
    """Sends to one hook. May be used by several threads at once."""

    def __init__(
        self,
        url: str,
        *keys: str | Key,
        policy: Policy | None = None,
        trust: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`url`: the hook's address. `keys`: `whsec_…` or `whsk_…`; each of them signs.

        `trust`: instead of the system's certificate authorities. Raises ValueError.
        """
        self._parts = hook_address(url)
        self._keys = made_keys(keys)
        self._policy = policy or Policy()
        self._trust = trust or ssl.create_default_context()
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"Sender({self._parts.geturl()!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is kept open between signals."""

    def send(
        self, signal: Signal | bytes, *, message_id: str | None = None, wait_s: int | None = None
    ) -> Receipt:
        """Send until it is accepted or refused, at most for the policy's time.

        `signal`: a Signal, or the JSON bytes of one. `message_id`: to repeat a signal under its own
        id. `wait_s`: ask the gateway to answer only when the orders are done, at most so long.
        Raises Refused and what is under it, NotDelivered, ValueError, TypeError.
        """
        delivery = Delivery(
            signal.body() if isinstance(signal, Signal) else signal,
            message_id or new_message_id(),
            self._keys,
            self._policy,
            wait_s=wait_s,
            begun_s=time.monotonic(),
        )
        while True:
            result = self._attempt(delivery)
            chance = random.random()  # noqa: S311 - it only spreads out the attempts
            verdict = delivery.judge(
                result, now_s=time.monotonic(), unix_s=time.time(), chance=chance
            )
            if not isinstance(verdict, Again):
                return verdict
            self._sleep(verdict.after_s)

    def _attempt(self, delivery: Delivery) -> Answer | Lost:
        headers = delivery.headers(time.time())
        connection = self._connection(delivery.timeout_s)
        try:
            try:
                connection.connect()
            except ssl.SSLCertVerificationError as error:
                return Lost(f"not trusted: {error!r}", sent=False, hopeless=True)
            except (OSError, http.client.HTTPException) as error:
                return Lost(f"no connection: {error!r}", sent=False)
            try:
                return self._exchange(connection, delivery.body, headers)
            except (OSError, http.client.HTTPException) as error:
                return Lost(f"no answer: {error!r}", sent=True)
        finally:
            connection.close()

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]
    ) -> Answer:
        target = self._parts.path or "/"
        if self._parts.query:
            target += "?" + self._parts.query
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read(ANSWER_BYTES_MOST))

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._trust)
        return http.client.HTTPConnection(host, port, timeout=timeout_s)


def made_keys(keys: tuple[str | Key, ...]) -> tuple[Key, ...]:
    """Raises ValueError where there is none, or one cannot be read."""
    if not keys:
        raise ValueError("a sender needs at least one key")
    return tuple(read_key(key) if isinstance(key, str) else key for key in keys)


def new_message_id() -> str:
    """One signal's name for ever: keep it where a signal may have to be repeated after a crash."""
    return f"msg_{uuid4().hex}"
