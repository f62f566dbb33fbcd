"""Bytes of one WebSocket connection: the handshake, frames and pings, by wsproto (sans-IO).

A handshake is a request like any other to the fault rules (method GET, its path): it can be refused,
cut or left hanging. More than 300 connections from one address are refused, as on the live venue. The
venue pings, and cuts who says nothing for a minute.
"""

from __future__ import annotations

import asyncio
from typing import cast

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from loadtest.exchanges.gateio.gateway import Gateway
from loadtest.exchanges.gateio.ws.hub import Hub
from loadtest.exchanges.gateio.ws.session import Session

PATHS = ("/v4/ws/usdt", "/v4/ws/futures/usdt", "/ws/v4")
"""Futures on both of its hosts, and spot."""
CONNECTIONS_MAX = 300  # of one address
PING_EVERY_S = 20.0
GONE_AFTER_S = 60.0


class Sockets:
    """All WebSocket connections of the venue."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.hub = Hub(gateway.exchange)
        self.open: set[WebSocket] = set()

    def wanted(self, head: bytes) -> bool:
        """Is this the beginning of a handshake for one of our paths?"""
        first, _, rest = head.partition(b"\r\n")
        words = first.split(b" ")
        target = words[1].partition(b"?")[0].rstrip(b"/") if len(words) == 3 else b""
        return target.decode("latin-1") in PATHS and b"upgrade: websocket" in rest.lower()

    def tick(self, now: float) -> None:
        """`now` in monotonic seconds."""
        self.hub.flush()
        for socket in list(self.open):
            socket.tick(now)

    def of(self, peer: str) -> int:
        return sum(socket.peer == peer for socket in self.open)


class WebSocket(asyncio.Protocol):
    """Takes a connection over from its first bytes on."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._wire = WSConnection(ConnectionType.SERVER)
        self._session: Session | None = None
        self._text: list[str] = []
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        self.peer: str = address[0] if address else ""
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._pinged_at = self._loop.time()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            self._wire.receive_data(data)
            for event in self._wire.events():
                self._event(event)
        except ProtocolError:
            self.cut()

    def connection_lost(self, _: Exception | None) -> None:
        self._sockets.open.discard(self)
        if self._handshake is not None:
            self._handshake.cancel()
        if self._session is not None:
            self._session.ended()

    def cut(self) -> None:
        """End at once, without a closing frame."""
        self._transport.abort()

    def tick(self, now: float) -> None:
        if now - self._heard_at > GONE_AFTER_S:
            self.cut()
        elif now - self._pinged_at > PING_EVERY_S:
            self._pinged_at = now
            self._send(Ping())

    # ------------------------------------------------------------------ events

    def _event(self, event: Event) -> None:
        match event:
            case Request():
                self._handshake = self._loop.create_task(self._shake(event))
            case TextMessage():
                self._text.append(event.data)
                if event.message_finished and self._session is not None:
                    text, self._text = "".join(self._text), []
                    self._session.heard(text)
            case Ping():
                self._send(event.response())
            case CloseConnection():
                self._send(event.response())
                self._transport.close()
            case Pong():
                pass  # data_received took note

    async def _shake(self, asked: Request) -> None:
        refused = await self._sockets.gateway.shaken(asked.target.partition("?")[0])
        if refused is None and self._sockets.of(self.peer) >= CONNECTIONS_MAX:
            refused = 429
        if refused == 0:
            self.cut()
        elif refused is not None:
            self._send(RejectConnection(status_code=refused))
            self._transport.close()
        else:
            headers = {name.decode().lower(): value.decode() for name, value in asked.extra_headers}
            self._session = Session(
                self._sockets.gateway,
                self._sockets.hub,
                write=self._write,
                cut=self.cut,
                peer=self.peer,
                decimals=headers.get("x-gate-size-decimal") == "1",
            )
            self._sockets.open.add(self)
            self._send(AcceptConnection())

    def _write(self, message: bytes) -> None:
        self._send(TextMessage(message.decode()))

    def _send(self, event: Event) -> None:
        """Nothing where the connection is on its way out, or a fault says that we are silent."""
        quiet = self._session is not None and self._session.silent
        if quiet or self._transport.is_closing():
            return
        try:
            data = self._wire.send(event)
        except ProtocolError:
            return  # the closing handshake has begun
        self._transport.write(data)
