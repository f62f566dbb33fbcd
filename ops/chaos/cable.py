"""A line between workers and somebody else, which can be cut, dead, or stalled.

Bytes are passed on as they come. *Cut* resets every connection. *Half open*: the connections that
are there pass nothing any more and do not say so, until they are reset; new ones work. *Stalled*:
nothing passes on any of them, and afterwards all of it does, late.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CHUNK_BYTES = 1 << 16


class _Joined:
    """One connection: both its writers, and whether it is dead."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.writers = (near, far)
        self.dead = False

    def reset(self) -> None:
        """As from a machine that knows nothing of the connection; over a Unix socket just its end."""
        for writer in self.writers:
            line = writer.get_extra_info("socket")
            if line is not None and line.fileno() >= 0 and line.family != socket.AF_UNIX:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Cable:
    """Listens, dials, passes on. `held` counts bytes that came and were not passed on at once."""

    def __init__(self, dial: Callable[[], Awaitable[Ends]]) -> None:
        self._dial = dial
        self._joined: set[_Joined] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._busy = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self.held = 0

    async def listen_tcp(self) -> int:
        """On a free port of loopback, which it returns."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def listen_unix(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._accept, path)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> int:
        """Reset every connection; how many there were."""
        present = list(self._joined)
        for joined in present:
            joined.reset()
        return len(present)

    async def half_open(self, seconds: float) -> int:
        """What is connected now is dead for so long, then reset. Returns how many bytes were held."""
        async with self._busy:
            before, present = self.held, list(self._joined)
            for joined in present:
                joined.dead = True
            await asyncio.sleep(seconds)
            for joined in present:
                joined.reset()
            return self.held - before

    async def stall(self, seconds: float) -> int:
        """Nothing passes for so long. Returns how many bytes were held."""
        async with self._busy:
            before = self.held
            self._flows.clear()
            try:
                await asyncio.sleep(seconds)
            finally:
                self._flows.set()
            return self.held - before

    async def _accept(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            answers, far = await self._dial()
        except OSError:  # nobody there: as the one who dialled would have been told
            near.transport.abort()
            return
        joined = _Joined(near, far)
        self._joined.add(joined)
        try:
            await asyncio.gather(self._pass(joined, reader, far), self._pass(joined, answers, near))
        finally:
            self._joined.discard(joined)
            joined.reset()

    async def _pass(
        self, joined: _Joined, source: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        """Until an end is read; then the other side hears of it, unless the line is dead."""
        try:
            while data := await source.read(CHUNK_BYTES):
                if joined.dead:
                    self.held += len(data)
                    continue
                if not self._flows.is_set():
                    self.held += len(data)
                    await self._flows.wait()
                to.write(data)
                await to.drain()
            if not joined.dead:
                to.close()
        except OSError:
            joined.reset()
