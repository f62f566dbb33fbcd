"""One daemon's socket as a client has it: a connection, and how it is mended when it fails.

A line is *ready*, or a task of its own mends it: connect, ask `status`, and it is ready again when
the daemon says that it takes requests and no call of its own hangs. Whoever asks meanwhile takes
another line, or waits for this one; nobody's request is what finds out that a daemon is back.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hsm import protocol
from hsm.errors import MalformedRequest

MEND_AFTER_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
"""Pauses between tries; a dying daemon's listening socket may outlive its connections a little."""
PROBE_S = 1.0
HUNG_S = 0.25
"""A daemon whose token has worked on one batch for longer than this is not ready."""
SWEEP_S = 0.05
WHY_MOST = 300


class Broken(Exception):
    """The connection ended with this request in flight."""


class Connection(asyncio.Protocol):
    """One connection's life: many requests in flight. Never used again once it broke."""

    def __init__(self, broke: Callable[[Connection], None]) -> None:
        self._broke = broke
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
        """Send; the future raises Broken, or TimeoutError at `deadline` (loop time).

        What is asked in one turn of the loop leaves in one write.
        """
        future: asyncio.Future[protocol.Answer] = self._loop.create_future()
        if not self.alive:
            future.set_exception(Broken())
            return future
        body = protocol.frame(request)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(body)
        self._waiting[request.id] = (future, deadline)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        return future

    def forget(self, request_id: int) -> None:
        """Nobody waits for that answer any more: the daemon need not work for it."""
        self._waiting.pop(request_id, None)
        if self.alive:
            if not self._outgoing:
                self._loop.call_soon(self._flush)
            self._outgoing.append(protocol.frame(protocol.Forget(request_id)))

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
                future.set_exception(Broken())
        self._broke(self)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._transport is not None:
            self._transport.write(b"".join(outgoing))

    def _sweep(self) -> None:
        """Fail what is past its deadline. One timer for all instead of one each."""
        now = self._loop.time()
        for request_id, (future, deadline) in list(self._waiting.items()):
            if now >= deadline:
                self.forget(request_id)
                if not future.done():
                    future.set_exception(TimeoutError())
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep) if self._waiting else None


class Line:
    """The way to one daemon. `connection` is there exactly while it is ready."""

    def __init__(self, path: Path | str, ids: itertools.count[int], ready: asyncio.Event) -> None:
        """Nothing connects before mend(). `ready` is set whenever some line becomes so."""
        self.path = str(path)
        self.connection: Connection | None = None
        self.why = "not asked yet"
        self._ids = ids
        self._some_ready = ready
        self._mending: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Line {self.path} {'ready' if self.connection else self.why}>"

    def failed(self, connection: Connection, why: str) -> None:
        """This connection serves no more: mend, unless that is done or under way."""
        if self.connection is connection:
            self.connection, self.why = None, why
            connection.close()
            self.mend()

    def mend(self) -> None:
        if self.connection is None and (self._mending is None or self._mending.done()):
            self._mending = asyncio.get_running_loop().create_task(self._mend())

    async def close(self) -> None:
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.close()

    async def status(self) -> dict[str, Any]:
        """The daemon's figures, on a connection of their own where the line is not ready.

        Raises Broken, OSError, TimeoutError: `why` says it in words then.
        """
        kept = self.connection
        connection = kept or await self._connect()
        try:
            return await self._figures(connection)
        finally:
            if kept is None:
                connection.close()

    async def _mend(self) -> None:
        for attempt in itertools.count():
            connection = None
            try:
                connection = await self._connect()
                self.why = unfit(await self._figures(connection))
            except (OSError, TimeoutError, Broken) as error:
                self.why = self._in_words(error)
            if connection is not None:
                if not self.why:
                    self.connection = connection
                    self._some_ready.set()
                    return
                connection.close()
            await asyncio.sleep(MEND_AFTER_S[min(attempt, len(MEND_AFTER_S) - 1)])

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(
                lambda: Connection(self._lost), self.path
            )
        except OSError as error:
            self.why = self._in_words(error)
            raise
        return connection

    async def _figures(self, connection: Connection) -> dict[str, Any]:
        deadline = asyncio.get_running_loop().time() + PROBE_S
        answer = await connection.ask(protocol.Status(next(self._ids)), deadline)
        if not isinstance(answer, protocol.Figures):
            raise Broken
        return answer.figures

    def _lost(self, connection: Connection) -> None:
        self.failed(connection, "the connection broke")

    def _in_words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"{self.path} is silent"
        if isinstance(error, Broken):
            return f"{self.path} hangs up"
        text = error.strerror if isinstance(error, OSError) else str(error)
        return f"nothing answers at {self.path} ({text}){last_words(self.path)}"


def unfit(figures: dict[str, Any]) -> str:
    """Why a daemon with these figures is to be asked nothing now; empty: it is fit. Pure."""
    if figures.get("closing"):
        return "it is ending"
    busy_s = float(figures.get("busy_s", 0.0))
    return f"a call into its token has taken {busy_s:.1f} s" if busy_s > HUNG_S else ""


def last_words(path: str) -> str:
    """What the daemon that had this socket left beside it when it ended, if it did."""
    try:
        words = Path(path + ".why").read_text()[:WHY_MOST].strip()
    except (OSError, UnicodeDecodeError):
        return ": is it running?"
    return f": it ended: {words}"
