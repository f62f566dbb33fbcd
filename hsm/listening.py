"""The daemons' side of a Unix socket: who may connect, frames in, frames out."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol, cast

import structlog

from hsm import protocol
from hsm.errors import MalformedRequest
from hsm.openers import NONE, Door, Leave, leave_at, leave_of
from hsm.settings import DaemonSettings
from tenancy.errors import ConfigurationError

FORGOTTEN_MOST = 4096

log = structlog.get_logger()


class Front(Protocol):
    """Where requests go; called on the loop."""

    def take(self, connection: Connection, bodies: list[bytes]) -> None:
        """Raises MalformedRequest, which ends the connection."""
        ...

    def joined(self, connection: Connection) -> None: ...

    def left(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """One client. Known by its user id before a byte of it is read."""

    def __init__(
        self, front: Front, peer_uids: Collection[int], leave: Callable[[int], Leave]
    ) -> None:
        """`peer_uids`: who may connect besides our own user; `leave`: what that user may ask for."""
        self.leave = NONE
        self._front = front
        self._peer_uids = peer_uids
        self._leave = leave
        self._reader = protocol.FrameReader()
        self._transport: asyncio.Transport | None = None
        self.forgotten: set[int] = set()
        """Ids of requests whose answers nobody waits for; token threads take them out again."""

    def forget(self, request_id: int) -> None:
        """It may have been answered already, which nobody takes out: hence the bound."""
        if len(self.forgotten) >= FORGOTTEN_MOST:
            self.forgotten.clear()
        self.forgotten.add(request_id)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        uid = peer_uid(transport)
        if uid != os.getuid() and uid not in self._peer_uids:
            log.warning("hsm_peer_refused", uid=uid)
            cast(asyncio.Transport, transport).abort()
            return
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own
        self.leave = self._leave(uid)
        self._front.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            self._front.take(self, self._reader.feed(data))
        except MalformedRequest as error:
            log.warning("hsm_malformed_request", error=str(error))
            self.write(protocol.refusal(0, error))
            self.close()

    def write(self, frames: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frames)

    def pause(self) -> None:
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The client does not read its answers: read nothing more of it."""
        self.pause()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._front.left(self)


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """Who connected, on the kernel's word (SO_PEERCRED)."""
    peer = transport.get_extra_info("socket")
    size = struct.calcsize("3i")
    return int(struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1])


async def serve(front: Front, settings: DaemonSettings) -> list[asyncio.Server]:
    """Listen at every door, and last at the main socket: where that answers, all of them do."""
    loop = asyncio.get_running_loop()

    async def at(
        path: Path, peers: Collection[int], leave: Callable[[int], Leave]
    ) -> asyncio.Server:
        return await loop.create_unix_server(
            lambda: Connection(front, peers, leave), sock=listen(path, settings.socket_mode)
        )

    async def at_door(door: Door) -> asyncio.Server:
        peers = settings.peer_uids if door.peer_uids is None else door.peer_uids
        return await at(door.socket, peers, lambda _: leave_at(door))

    doors = [await at_door(door) for door in settings.doors.values()]
    main = await at(
        settings.socket, settings.peer_uids, lambda uid: leave_of(settings.openers, uid)
    )
    return [*doors, main]


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at `path` that never exists with a wider mode.

    A socket file that nobody answers is a dead daemon's and is replaced; a living one is not.
    """
    if path.exists():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink(missing_ok=True)
            else:
                raise ConfigurationError(f"another daemon answers at {path}")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(before)
    path.chmod(mode)
    server.listen(128)
    server.setblocking(False)
    return server
