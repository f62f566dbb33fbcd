"""A WebSocket client that knows nothing of ours: aiohttp, and Gate's two signatures written out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

PATH = "/v4/ws/usdt"


def hmac_hex(secret: str, what: str) -> str:
    return hmac.new(secret.encode(), what.encode(), hashlib.sha512).hexdigest()


class Talk:
    """One connection. `updates` are kept apart from answers."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, key: str, secret: str) -> None:
        self.socket, self.key, self.secret = socket, key, secret
        self.updates: list[dict[str, Any]] = []

    async def next(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """The next message. Raises TimeoutError, or ConnectionError where it was closed."""
        message = await self.socket.receive(timeout=timeout_s)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(str(message.type))
        document: dict[str, Any] = json.loads(message.data)
        return document

    async def answer(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """The next that is no update; updates before it are kept."""
        while True:
            message = await self.next(timeout_s)
            if message.get("event") != "update":
                return message
            self.updates.append(message)

    async def update(self, channel: str, timeout_s: float = 5.0) -> list[dict[str, Any]]:
        """The result of the next update of this channel; others before it are kept."""
        for at, kept in enumerate(self.updates):
            if kept["channel"] == channel:
                return list(self.updates.pop(at)["result"])
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self.next(timeout_s)
                if message["channel"] == channel and message["event"] == "update":
                    return list(message["result"])
                self.updates.append(message)

    async def ask(self, document: dict[str, Any]) -> dict[str, Any]:
        await self.socket.send_json(document)
        return await self.answer()

    async def subscribe(
        self, channel: str, *words: str, event: str = "subscribe", at: float | None = None
    ) -> dict[str, Any]:
        now = int(time.time() if at is None else at)
        sign = hmac_hex(self.secret, f"channel={channel}&event={event}&time={now}")
        auth = {"method": "api_key", "KEY": self.key, "SIGN": sign}
        return await self.ask(
            {"time": now, "channel": channel, "event": event, "payload": list(words), "auth": auth}
        )

    async def send_api(
        self,
        channel: str,
        parameters: Any = "",
        *,
        req_id: str = "r",
        signed: bool = False,
        **more: Any,
    ) -> None:
        now = int(time.time())
        payload: dict[str, Any] = {"req_id": req_id, "req_param": parameters, **more}
        if signed:
            text = json.dumps(parameters) if parameters != "" else ""
            what = f"api\n{channel}\n{text}\n{now}"
            sign = hmac_hex(self.secret, what)
            payload |= {"api_key": self.key, "signature": sign, "timestamp": str(now)}
        await self.socket.send_json(
            {"time": now, "channel": channel, "event": "api", "payload": payload}
        )

    async def api(self, channel: str, parameters: Any = "", **more: Any) -> dict[str, Any]:
        """The result, after the acknowledgement where there is one."""
        await self.send_api(channel, parameters, **more)
        while True:
            message = await self.answer()
            if not message.get("ack"):
                return message

    async def log_in(self) -> dict[str, Any]:
        return await self.api("futures.login", signed=True)


@asynccontextmanager
async def talking(
    url: str, key: str, secret: str, *, headers: dict[str, str] | None = None, autoping: bool = True
) -> AsyncIterator[Talk]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url + PATH, headers=headers, autoping=autoping) as socket,
    ):
        yield Talk(socket, key, secret)
