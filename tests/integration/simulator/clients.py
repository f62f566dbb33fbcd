"""Clients that know nothing of ours: the official gate-api, and signed bytes over aiohttp."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import aiohttp
import gate_api

ORDERS = "/api/v4/futures/usdt/orders"


def official(api: str, key: str, secret: str) -> gate_api.FuturesApi:
    """The official client, blocking: call it with asyncio.to_thread."""
    configuration = gate_api.Configuration(host=api, key=key, secret=secret)
    return gate_api.FuturesApi(gate_api.ApiClient(configuration))


def market(size: int, text: str | None = None, **more: Any) -> gate_api.FuturesOrder:
    order = {"contract": "BTC_USDT", "size": str(size), "price": "0", "tif": "ioc", **more}
    return gate_api.FuturesOrder(text=text, **order)


def limit(size: int, price: str, text: str | None = None, **more: Any) -> gate_api.FuturesOrder:
    return gate_api.FuturesOrder(
        contract="BTC_USDT", size=str(size), price=price, text=text, **more
    )


def signed(
    key: str, secret: str, method: str, path: str, query: str, body: bytes, at: float | None = None
) -> dict[str, str]:
    """Gate's three headers, written out once more for the tests."""
    timestamp = str(int(time.time() if at is None else at))
    digest = hashlib.sha512(body).hexdigest()
    message = "\n".join((method, path, query, digest, timestamp))
    sign = hmac.new(secret.encode(), message.encode(), hashlib.sha512).hexdigest()
    return {"KEY": key, "Timestamp": timestamp, "SIGN": sign, "Content-Type": "application/json"}


class Wire:
    """Signed requests as raw as they come: status, body bytes, headers; one try each."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self.url, self.key, self.secret = url, key, secret

    async def send(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        at: float | None = None,
        timeout_s: float = 10.0,
    ) -> tuple[int, bytes, dict[str, str]]:
        body = b"" if document is None else json.dumps(document).encode()
        sent = signed(self.key, self.secret, method, path, query, body, at) | (headers or {})
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        url = self.url + path + (f"?{query}" if query else "")
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, data=body or None, headers=sent) as response,
        ):
            return response.status, await response.read(), dict(response.headers)

    async def order(
        self, text: str, *, size: int = 1, headers: dict[str, str] | None = None,
        timeout_s: float = 10.0, **more: Any,
    ) -> tuple[int, dict[str, Any]]:  # fmt: skip
        """A market order; an empty answer is {}."""
        document = {"contract": "BTC_USDT", "size": size, "price": "0", "tif": "ioc", "text": text}
        status, body, _ = await self.send(
            "POST", ORDERS, document | more, headers=headers, timeout_s=timeout_s
        )
        return status, json.loads(body) if body else {}
