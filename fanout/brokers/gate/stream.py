"""One WebSocket connection to Gate.io per account, for hints and nothing else (abilities.py `Tells`).

1. Wait for one of the connections that Gate allows an IP, ask whose key it is, connect.
2. Subscribe to each channel, signed by the HSM, and wait until Gate has confirmed them all.
3. Say `gap`: whatever happened until now was not heard, so it must be asked about.
4. Pass on a hint for each message. Silent for `ping_s`: ping. Silent for `silence_s`: dead.
5. Cut, dead or refused, for any reason: pause, longer each time, with chance in it so that a thousand
   accounts do not come back in one moment; then from 1.

Nothing is replayed by Gate after a cut; step 3 makes up for it. A crash at any step loses hints only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from random import Random
from typing import NamedTuple, TypeAlias

import aiohttp
import structlog

from fanout.abilities import Hint, HintKind
from fanout.brokers.gate import stream_wire
from fanout.brokers.gate.stream_settings import StreamSettings
from fanout.brokers.gate.stream_wire import Auth
from fanout.ports import BrokerAccount
from tenancy.clock import Clock
from tenancy.errors import PortcullisError, Unavailable

log = structlog.get_logger()

Socket: TypeAlias = aiohttp.ClientWebSocketResponse

MESSAGE_MAX = 4 << 20
CLOSE_S = 1.0
_ENDED = (
    aiohttp.WSMsgType.CLOSE,
    aiohttp.WSMsgType.CLOSING,
    aiohttp.WSMsgType.CLOSED,
    aiohttp.WSMsgType.ERROR,
)


class StreamBroken(Unavailable):
    """The connection is of no use any more: says why."""

    code = "stream_broken"


class Channel(NamedTuple):
    """A channel, what its messages hint at, and what follows the user's id, if any, in its subscription."""

    name: str
    kind: HintKind
    payload: tuple[str, ...] = ()


class GateStream:
    """The connections of one adapter."""

    def __init__(
        self,
        broker: str,
        url: str,
        settings: StreamSettings,
        channels: Sequence[Channel],
        *,
        ping: str,
        sign: Callable[[BrokerAccount, str, str], Awaitable[Auth]],
        user_of: Callable[[BrokerAccount], Awaitable[str]] | None,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Random | None = None,
    ) -> None:
        """`sign`: of account, channel and event. `user_of` None: the channels name no user.

        Both questions may raise PortcullisError.
        """
        self._broker = broker
        self._url = url
        self._settings = settings
        self._channels = channels
        self._kinds: dict[str, HintKind] = {one.name: one.kind for one in channels}
        self._ping = ping
        self._sign = sign
        self._user_of = user_of
        self._clock = clock
        self._sleep = sleep
        self._chance = chance or Random()  # noqa: S311 - spreads load, hides nothing
        self._free = asyncio.Semaphore(settings.connections)

    async def hints(self, account: BrokerAccount) -> AsyncIterator[Hint]:
        """Until it is closed. Never raises for what broker or network do."""
        failures = 0
        if self._free.locked():
            log.warning(
                "stream_waits",
                broker=self._broker,
                account=str(account.account_id),
                connections=self._settings.connections,
            )
        while True:
            try:
                async with self._free, aclosing(self._connection(account)) as told:
                    async for hint in told:
                        failures = 0
                        yield hint
            except (PortcullisError, aiohttp.ClientError, TimeoutError, OSError) as why:
                log.warning(
                    "stream_cut",
                    broker=self._broker,
                    account=str(account.account_id),
                    failures=failures,
                    error=f"{type(why).__name__}: {why}",
                )
            await self._sleep(self._pause_s(failures))
            failures += 1

    def _pause_s(self, failures: int) -> float:
        whole = min(self._settings.pause_most_s, self._settings.pause_s * 2.0 ** min(failures, 30))
        return whole * self._chance.uniform(0.5, 1.0)

    async def _connection(self, account: BrokerAccount) -> AsyncGenerator[Hint, None]:
        """From 1. until it breaks, which it says by raising."""
        users = [] if self._user_of is None else [await self._user_of(account)]
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            socket = await self._connected(session, account, users)
            try:
                yield Hint(kind="gap", account_id=account.account_id)  # 3.
                while True:
                    text = await self._next(socket)
                    for hint in stream_wire.hints(text, account.account_id, self._kinds):
                        yield hint
            finally:
                await socket.close()

    async def _connected(
        self, session: aiohttp.ClientSession, account: BrokerAccount, users: list[str]
    ) -> Socket:
        """1. and 2., within `silence_s` altogether."""
        async with asyncio.timeout(self._settings.silence_s):
            socket = await session.ws_connect(
                self._url,
                max_msg_size=MESSAGE_MAX,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            )
            await self._subscribe(socket, account, users)
            return socket

    async def _subscribe(self, socket: Socket, account: BrokerAccount, users: list[str]) -> None:
        for channel in self._channels:
            auth = await self._sign(account, channel.name, stream_wire.SUBSCRIBE)
            await socket.send_str(
                stream_wire.subscribe(channel.name, [*users, *channel.payload], auth).decode()
            )
        missing = set(self._kinds)
        while missing:
            answer = stream_wire.confirmed(await self._next(socket))
            if answer is None:
                continue
            if answer.refusal:
                raise StreamBroken(f"Gate.io refused {answer.channel}: {answer.refusal}")
            missing.discard(answer.channel)

    async def _next(self, socket: Socket) -> str | bytes:
        """The next message. Raises StreamBroken where the connection has ended or is silent."""
        heard_s = self._clock.monotonic()
        while True:
            try:
                message = await socket.receive(timeout=self._settings.ping_s)
            except TimeoutError:
                silent_s = self._clock.monotonic() - heard_s
                if silent_s >= self._settings.silence_s:
                    raise StreamBroken(f"silent for {silent_s:.1f} s") from None
                now_s = self._clock.now_ns() // 1_000_000_000
                await socket.send_str(stream_wire.ping(self._ping, now_s).decode())
                continue
            if message.type in _ENDED:
                raise StreamBroken(f"ended by Gate.io: {message.type.name} {message.data or ''}")
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                data: str | bytes = message.data
                return data
