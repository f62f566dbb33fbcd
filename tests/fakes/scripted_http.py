"""An HTTP/1.1 server on loopback that does exactly what a test scripts, on the level of bytes.

The script is a function from the request to what happens next: bytes to send, or CUT (close at
once), HANG (say nothing more). It counts connections and keeps each request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

CUT = "cut"
HANG = "hang"


class Seen(msgspec.Struct):
    """One request as it came in. Header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


Script = Callable[[Seen], bytes | str]


def reply(status: int, content: bytes | dict | list, **headers: str) -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class ScriptedServer:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.connections = 0
        self.url = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while (seen := await _read(reader, number)) is not None:
                self.seen.append(seen)
                action = self.script(seen)
                if action == CUT:
                    return
                if action == HANG:
                    await asyncio.sleep(3600)
                assert isinstance(action, bytes)
                writer.write(action)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, number: int) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return Seen(method, target, headers, body, number)


@asynccontextmanager
async def scripted(script: Script):  # type: ignore[no-untyped-def]
    """A ScriptedServer that is up inside the block."""
    server = ScriptedServer(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
