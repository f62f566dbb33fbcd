"""The clients of signer and enroller: one connection, many requests in flight.

Requests made in one turn of the loop leave in one write. When the connection breaks, what was in
flight is asked again on a new one, twice at most and within its time-out: signing the same thing
twice gives the same signature, so nothing can go wrong by it. After that, SignerUnavailable.

A sealed row is sent once per connection; afterwards its 16-byte name is enough, until the daemon
says that it does not hold the key any more.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

from hsm import metrics, protocol
from hsm.envelope import name_of
from hsm.errors import BY_CODE, MalformedRequest, SignerUnavailable, UnknownKey
from tenancy.errors import PortcullisError
from tenancy.secrecy import Plain

CONNECT_BACKOFF_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
AGAIN_AFTER_S = (0.0, 0.02, 0.1)
"""Before each try. A dying daemon's connections end before its listening socket does: whoever comes
back at once meets the dead one again."""
SWEEP_S = 0.1


class _Broken(Exception):
    """The connection ended with this request in flight."""


class _Connection(asyncio.Protocol):
    """One connection's life. Never used again once it broke."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = protocol.FrameReader()
        self._waiting: dict[int, tuple[asyncio.Future[protocol.Answer], float]] = {}
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.known: set[bytes] = set()
        """Names of the sealed rows that went over this connection."""

    @property
    def alive(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: protocol.Request, deadline: float) -> asyncio.Future[protocol.Answer]:
        """Send; the future raises _Broken, or TimeoutError at `deadline` (loop time)."""
        future: asyncio.Future[protocol.Answer] = self._loop.create_future()
        if not self.alive:
            future.set_exception(_Broken())
            return future
        body = protocol.frame(request)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(body)
        self._waiting[request.id] = (future, deadline)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        return future

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own

    def data_received(self, data: bytes) -> None:
        try:
            answers = [protocol.read_answer(body) for body in self._reader.feed(data)]
        except MalformedRequest:
            self.close()
            return
        for answer in answers:
            waiting = self._waiting.pop(answer.id, None)
            if waiting is not None and not waiting[0].done():
                waiting[0].set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(_Broken())

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._transport is not None:
            self._transport.write(b"".join(outgoing))

    def _sweep(self) -> None:
        """Fail what is past its deadline. One timer for all instead of one each."""
        now = self._loop.time()
        for request_id, (future, deadline) in list(self._waiting.items()):
            if now >= deadline:
                del self._waiting[request_id]
                if not future.done():
                    future.set_exception(TimeoutError())
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep) if self._waiting else None


class _Client:
    """What both clients share: the connection, kept or made again, and errors by code."""

    def __init__(self, socket_path: Path | str, *, timeout_s: float = 2.0) -> None:
        """Nothing connects before the first request. `timeout_s` covers a whole request."""
        self._path = str(socket_path)
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "connected" if self._connection and self._connection.alive else "not connected"
        return f"<{type(self).__name__} {self._path} {state}>"

    async def status(self) -> dict[str, Any]:
        """The daemon's figures. Raises SignerUnavailable."""
        answer = await self._ask("status", lambda number, _: protocol.Status(number))
        assert isinstance(answer, protocol.Figures)
        return answer.figures

    async def close(self) -> None:
        """Close the connection; what is in flight raises SignerUnavailable or asks again."""
        if self._connection is not None:
            self._connection.close()

    async def _value(
        self, kind: str, make: Callable[[int, _Connection], protocol.Request]
    ) -> bytes:
        answer = await self._ask(kind, make)
        if isinstance(answer, protocol.Done):
            return answer.value
        raise SignerUnavailable("the daemon answered with another kind of message")

    async def _ask(
        self, kind: str, make: Callable[[int, _Connection], protocol.Request]
    ) -> protocol.Answer:
        started = time.perf_counter()
        try:
            answer = await self._ask_again(make)
        except SignerUnavailable:
            metrics.failed(kind, SignerUnavailable.code)
            raise
        metrics.answered(kind, time.perf_counter() - started)
        if isinstance(answer, protocol.Refused):
            metrics.failed(kind, answer.code)
            raise error_of(answer)
        return answer

    async def _ask_again(
        self, make: Callable[[int, _Connection], protocol.Request]
    ) -> protocol.Answer:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        for pause in AGAIN_AFTER_S:
            if pause:
                await asyncio.sleep(pause)
            connection = self._connection
            if connection is None or not connection.alive:
                connection = await self._connect(deadline)
            try:
                return await connection.ask(make(next(self._ids), connection), deadline)
            except _Broken:
                continue
            except TimeoutError:
                raise SignerUnavailable(f"no answer within {self._timeout_s:g} s") from None
        raise SignerUnavailable(f"the connection broke {len(AGAIN_AFTER_S)} times")

    async def _connect(self, deadline: float) -> _Connection:
        """The connection, made anew if need be, until `deadline`. Raises SignerUnavailable."""
        loop = asyncio.get_running_loop()
        async with self._connecting:
            if self._connection is not None and self._connection.alive:
                return self._connection
            for attempt in itertools.count():
                try:
                    _, self._connection = await loop.create_unix_connection(_Connection, self._path)
                    return self._connection
                except OSError as error:
                    pause = CONNECT_BACKOFF_S[min(attempt, len(CONNECT_BACKOFF_S) - 1)]
                    if loop.time() + pause >= deadline:
                        raise SignerUnavailable(
                            f"nothing answers at {self._path} ({error.strerror}): is it running?"
                        ) from None
                    await asyncio.sleep(pause)
        raise AssertionError("unreachable")


class SignerClient(_Client):
    """Ask the signer. Raises, everywhere: SignerUnavailable, SignerBusy, TokenLost (all Unavailable)."""

    async def sign_request(
        self,
        sealed: bytes,
        *,
        tenant_id: UUID,
        account_id: UUID,
        scheme: str,
        method: str,
        path: str,
        query: str,
        body: bytes,
        timestamp: int,
    ) -> str:
        """The broker's signature, lower-case hex. Raises SigningRefused, SealBroken, KeyMissing."""
        name = name_of(sealed)

        def make(number: int, connection: _Connection) -> protocol.Request:
            known = name in connection.known
            connection.known.add(name)
            return protocol.SignRequest(
                number, name, None if known else sealed, tenant_id, account_id,
                scheme, method, path, query, body, timestamp,
            )  # fmt: skip

        try:
            value = await self._value("sign_request", make)
        except UnknownKey:
            if self._connection is not None:
                self._connection.known.discard(name)
            value = await self._value("sign_request", make)
        return value.hex()

    async def sign_note(self, label: str, text: bytes) -> bytes:
        """Ed25519 over a checkpoint body, 64 bytes. Raises SigningRefused, KeyMissing."""
        return await self._value("sign_note", lambda n, _: protocol.SignNote(n, label, text))

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> Plain:
        """The secret of a SealedSecret row. Raises SigningRefused, SealBroken, KeyMissing."""
        return Plain(
            await self._value(
                "open_secret", lambda n, _: protocol.OpenSecret(n, sealed, tenant_id, subject)
            )
        )

    async def public_key(self, label: str) -> bytes:
        """The 32-byte Ed25519 public key of a log. Raises KeyMissing."""
        return await self._value("public_key", lambda n, _: protocol.PublicKey(n, label))


class EnrollerClient(_Client):
    """Ask the enroller. Raises, everywhere: SignerUnavailable, SignerBusy, TokenLost (all Unavailable)."""

    async def public_key_pem(self) -> bytes:
        """The RSA key for hsm.enrol.encrypt_key() and encrypt_secret()."""
        return await self._value("enrol_key", lambda n, _: protocol.EnrolKey(n))

    async def seal_key(
        self, tenant_id: UUID, account_id: UUID, broker: str, ciphertext: bytes
    ) -> bytes:
        """The row for `credentials.sealed`. Raises MalformedRequest, KeyMissing."""
        return await self._value(
            "seal_key", lambda n, _: protocol.SealKey(n, tenant_id, account_id, broker, ciphertext)
        )

    async def seal_secret(
        self, tenant_id: UUID, subject: str, purpose: str, ciphertext: bytes
    ) -> bytes:
        """The row for `hook_secrets.sealed`. Raises MalformedRequest, KeyMissing."""
        return await self._value(
            "seal_secret",
            lambda n, _: protocol.SealSecret(n, tenant_id, subject, purpose, ciphertext),
        )


def error_of(refused: protocol.Refused) -> PortcullisError:
    """The exception that the daemon's code names."""
    return BY_CODE.get(refused.code, SignerUnavailable)(refused.text)
