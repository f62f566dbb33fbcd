"""The clients of signer and enroller: one daemon or several, many requests in flight.

Signing the same thing twice gives the same signature, and nothing else here is worse for being asked
twice. So whatever happens to a daemon costs time, until the request's deadline, and nothing else:

- broken connection, token lost, daemon ending: asked again, of the next line at once, or of the same
  one when it is back;
- no answer for a while: asked of the next line too, where there is one;
- busy, or the tenant's rate is used up: asked again after a pause that doubles;
- anything else that the daemon says is its answer.

The first line that is ready is preferred: a daemon that comes back is used again. At the deadline
the last reason is raised, always an Unavailable: nothing was signed that anybody could use.

A sealed row is sent once per connection; afterwards its 16-byte name is enough, until the daemon
says that it does not hold the key any more.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import msgspec

from hsm import metrics, protocol
from hsm.envelope import name_of
from hsm.errors import (
    BY_CODE,
    JournalFailed,
    SignerBusy,
    SignerUnavailable,
    SigningRate,
    TokenLost,
    UnknownKey,
)
from hsm.line import Broken, Connection, Line
from hsm.refusals import Refusal, read_line
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.secrecy import Plain

PATIENCE_S = 0.25
"""How long the preferred line may say nothing before the next one is asked too."""
PAUSE_FIRST_S, PAUSE_MOST_S = 0.005, 0.25

Make = Callable[[int, Connection], protocol.Request]


class RefusalPage(msgspec.Struct, frozen=True):
    """Lines of a daemon's journal: `journal` is its own name, `last` the number of its last line."""

    journal: UUID
    last: int
    refusals: list[Refusal]


class VaultClient:
    """What both clients share: the lines, asking again, and errors by code."""

    def __init__(self, *socket_paths: Path | str, timeout_s: float = 2.0) -> None:
        """The preferred daemon's socket first. Nothing connects before the first request.

        `timeout_s` covers a whole request, however often it is asked.
        """
        if not socket_paths:
            raise ValueError("a client needs a socket")
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._ready = asyncio.Event()
        self._closed = False
        self.lines = [Line(path, self._ids, self._ready) for path in socket_paths]

    async def __aenter__(self) -> Self:
        self._closed = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.lines}>"

    async def status(self) -> dict[str, Any]:
        """The figures of the daemon that would be asked now. Raises SignerUnavailable."""
        answer = await self._ask("status", lambda number, _: protocol.Status(number))
        assert isinstance(answer, protocol.Figures)
        return answer.figures

    async def refusals(self, *, after: int, most: int) -> RefusalPage:
        """What the daemon that would be asked now refused: lines behind `after`, `most` at most.

        Whoever reads a journal has a client with its daemon's socket alone. Raises Unavailable.
        """
        answer = await self._ask("refusals", lambda n, _: protocol.Refusals(n, after, most))
        if not isinstance(answer, protocol.RefusalList):
            raise SignerUnavailable("the daemon answered with another kind of message")
        return RefusalPage(answer.journal, answer.last, [read_line(x) for x in answer.lines])

    async def close(self) -> None:
        """Close every connection; what is in flight raises SignerUnavailable."""
        self._closed = True
        self._ready.set()
        for line in self.lines:
            await line.close()

    async def _value(self, kind: str, make: Make, name: bytes = b"") -> bytes:
        answer = await self._ask(kind, make, name)
        if isinstance(answer, protocol.Done):
            return answer.value
        raise SignerUnavailable("the daemon answered with another kind of message")

    async def _ask(self, kind: str, make: Make, name: bytes = b"") -> protocol.Answer:
        started = time.perf_counter()
        try:
            answer = await self._ask_until(make, name)
        except Unavailable as error:
            metrics.failed(kind, error.code)
            raise
        metrics.answered(kind, time.perf_counter() - started)
        if isinstance(answer, protocol.Refused):
            metrics.failed(kind, answer.code)
            raise error_of(answer)
        return answer

    async def _ask_until(self, make: Make, name: bytes) -> protocol.Answer:
        """The answer, from whichever line gives one before the deadline. Raises Unavailable."""
        now = asyncio.get_running_loop().time()
        deadline = now + self._timeout_s
        pause = PAUSE_FIRST_S
        while True:
            line, connection = await self._line(deadline)
            spare = self._spare(line)
            limit = deadline if spare is None else min(deadline, now + PATIENCE_S)
            number = next(self._ids)
            try:
                answer = await connection.ask(make(number, connection), limit)
            except asyncio.CancelledError:
                connection.forget(number)
                raise
            except Broken:
                line.failed(connection, "the connection broke")
            except TimeoutError:
                if spare is None or limit == deadline:
                    raise SignerUnavailable(f"no answer within {self._timeout_s:g} s") from None
                line.failed(connection, f"{line.path} is silent")
            else:
                if not isinstance(answer, protocol.Refused):
                    return answer
                if answer.code == UnknownKey.code and name in connection.known:
                    connection.known.discard(name)
                elif answer.code in _ENDS:
                    line.failed(connection, f"{answer.code}: {answer.text}")
                elif answer.code in _WAIT:
                    if asyncio.get_running_loop().time() + pause >= deadline:
                        return answer
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                    pause = min(pause * 2, PAUSE_MOST_S)
                else:
                    return answer
            now = asyncio.get_running_loop().time()

    async def _line(self, deadline: float) -> tuple[Line, Connection]:
        """The first line that is ready, as soon as one is. Raises SignerUnavailable at the deadline."""
        while True:
            if self._closed:
                raise SignerUnavailable("the client was closed")
            first = None
            for line in self.lines:
                if line.connection is None:
                    line.mend()
                elif first is None:
                    first = line, line.connection
            if first is not None:
                return first
            self._ready.clear()
            left = deadline - asyncio.get_running_loop().time()
            if not await pause(self._ready, left):
                raise SignerUnavailable("; ".join(line.why for line in self.lines))

    def _spare(self, asked: Line) -> Line | None:
        """Another line that is ready."""
        if len(self.lines) == 1:
            return None
        return next((x for x in self.lines if x is not asked and x.connection is not None), None)


_WAIT = frozenset({SignerBusy.code, SigningRate.code})
_ENDS = frozenset({TokenLost.code, JournalFailed.code})
"""A daemon that says one of these is about to end, and another will stand in its place."""


class SignerClient(VaultClient):
    """Ask the signer. Raises, everywhere, an Unavailable at the deadline."""

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

        def make(number: int, connection: Connection) -> protocol.Request:
            known = name in connection.known
            connection.known.add(name)
            return protocol.SignRequest(
                number, name, None if known else sealed, tenant_id, account_id,
                scheme, method, path, query, body, timestamp,
            )  # fmt: skip

        return (await self._value("sign_request", make, name)).hex()

    async def sign_note(self, label: str, text: bytes) -> bytes:
        """Ed25519 over a checkpoint body, 64 bytes; by the label of a second pair ECDSA, DER.

        Raises SigningRefused, KeyMissing.
        """
        return await self._value("sign_note", lambda n, _: protocol.SignNote(n, label, text))

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> Plain:
        """The secret of a SealedSecret row. Raises SigningRefused, SealBroken, KeyMissing."""
        return Plain(
            await self._value(
                "open_secret", lambda n, _: protocol.OpenSecret(n, sealed, tenant_id, subject)
            )
        )

    async def public_key(self, label: str) -> bytes:
        """The public key of a log, 32 bytes; of a second pair SubjectPublicKeyInfo. Raises KeyMissing."""
        return await self._value("public_key", lambda n, _: protocol.PublicKey(n, label))


class EnrollerClient(VaultClient):
    """Ask the enroller. Raises, everywhere, an Unavailable at the deadline."""

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
