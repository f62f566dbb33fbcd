"""A worker's end of a session's socket: one connection, many requests, each with a deadline.

NotSent: nothing reached the session. NoAnswer: perhaps. Every request in flight ends with its
connection, unanswered; the next one connects again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from fanout.abilities import Hint
from fanout.brokers.shioaji import messages as m
from tenancy.errors import UNREADABLE, Unavailable

T = TypeVar("T")
CONNECT_S = 1.0


class NotSent(Exception):
    """Nothing of the request has left this process."""


class NoAnswer(Exception):
    """The session may have the request."""


async def trial(path: Path, asked: m.Trial) -> tuple[m.Tried, asyncio.StreamWriter]:
    """A keeper's word on a key, and the connection that keeps the trial up. Raises Unavailable."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError as why:
        raise Unavailable(f"no keeper answers at {path.name}: {type(why).__name__}") from why
    try:
        writer.write(m.frame(asked))
        body = await m.read_frame(reader)
        said = None if body is None else m.answers.decode(body)
        if not isinstance(said, m.Answer):
            raise Unavailable(said.why if isinstance(said, m.Failed) else "the keeper hung up")
        return msgspec.msgpack.decode(said.body, type=m.Tried), writer
    except BaseException:
        writer.close()
        raise


class SessionClient:
    """Speaks to one person's session."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[m.Said]] = {}
        self._ids = itertools.count(1)
        self._connecting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"SessionClient({self._path}, waiting={len(self._waiting)})"

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._writer = self._reading = None

    async def ask(self, make: Callable[[int], m.Request], kind: type[T], timeout_s: float) -> T:
        """The answer, of `kind`. Raises NotSent, NoAnswer, Unavailable (the session's own word)."""
        writer = await self._connected()
        request = make(next(self._ids))
        future: asyncio.Future[m.Said] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = future
        try:
            writer.write(m.frame(request))
            async with asyncio.timeout(timeout_s):
                said = await future
        except TimeoutError:
            raise NoAnswer(f"the session has not answered in {timeout_s} s") from None
        finally:
            self._waiting.pop(request.id, None)
        if isinstance(said, m.Failed):
            raise Unavailable(said.why)
        if not isinstance(said, m.Answer):
            raise NoAnswer("the session said something else")
        try:
            return msgspec.msgpack.decode(said.body, type=kind)
        except UNREADABLE as why:
            raise NoAnswer(f"the session's answer cannot be read: {why}") from why

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is not None and not self._writer.is_closing():
                return self._writer
            await self.close()
            reader, self._writer = await self._dial()
            self._reading = asyncio.create_task(
                self._read(reader, self._writer), name=f"shioaji-{self._path.stem}"
            )
            return self._writer

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_unix_connection(str(self._path), limit=m.FRAME_MAX)
        except (OSError, TimeoutError) as why:
            raise NotSent(f"no session answers at {self._path.name}: {type(why).__name__}") from why

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (body := await m.read_frame(reader)) is not None:
                said = m.answers.decode(body)
                future = self._waiting.get(said.id)
                if future is not None and not future.done():
                    future.set_result(said)
        except UNREADABLE:
            pass  # what it says is not to be understood: as good as silence
        finally:
            writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(NoAnswer("the session hung up"))

    async def watch(self, whose: m.Whose) -> AsyncIterator[Hint]:
        """Hints, on a connection of their own, until it ends. Raises NotSent."""
        reader, writer = await self._dial()
        try:
            writer.write(m.frame(m.Watch(1, whose)))
            while (body := await m.read_frame(reader)) is not None:
                said = m.answers.decode(body)
                if isinstance(said, m.Told):
                    yield said.hint
        finally:
            writer.close()
