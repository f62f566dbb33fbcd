"""The floor of dispatch: a plain aiohttp loop that sends the same signed orders to the same exchange.

No plan, no rows, no HSM, no audit: the orders are built and signed beforehand, the connections are
open. What is left is what any Python program on this machine pays for so many requests. A last
order that comes later than this is ours to explain; one that comes earlier cannot be.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator, Sequence

import aiohttp

from ops.bench.crowd import BALANCE
from ops.trial.exchange import Exchange, exchange_account
from tenancy.errors import Unavailable

PATH = "/api/v4/futures/usdt/orders"
TIMEOUT = aiohttp.ClientTimeout(total=30.0)

Signed = tuple[bytes, dict[str, str]]


class PlainLoop:
    """Accounts of its own at the exchange, and connections that stay open between rounds."""

    def __init__(self, exchange: Exchange, accounts: int, connections: int) -> None:
        self._exchange = exchange
        self._keys = [(f"floor-{n}", secrets.token_hex(32)) for n in range(accounts)]
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._rounds = 0

    async def __aenter__(self) -> PlainLoop:
        await self._exchange.accounts([exchange_account(k, s, BALANCE) for k, s in self._keys])
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        await self.send(len(self._keys))  # opens the connections
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, orders: int) -> tuple[float, list[str]]:
        """One order for each of so many accounts; when it began (Unix s), and the orders' texts."""
        self._rounds += 1
        side = "1" if self._rounds % 2 else "-1"
        texts = [f"t-floor{self._rounds}-{n}" for n in range(orders)]
        work = [_signed(*self._keys[n], side, text) for n, text in enumerate(texts)]
        left = iter(work)
        begun = time.time()
        await asyncio.gather(*(self._some(left) for _ in range(self._connections)))
        return begun, texts

    async def single(self) -> tuple[float, str]:
        """One order alone, built and signed beforehand; when it was sent, and its text."""
        self._rounds += 1
        text = f"t-floor{self._rounds}"
        key = self._keys[self._rounds % len(self._keys)]
        work = [_signed(*key, "1" if self._rounds % 2 else "-1", text)]
        begun = time.time()
        await self._some(iter(work))
        return begun, text

    async def _some(self, left: Iterator[Signed]) -> None:
        assert self._session is not None, "use as an async context manager"
        for body, headers in left:
            url = self._exchange.url + PATH
            async with self._session.post(url, data=body, headers=headers) as response:
                answer = await response.read()
                if response.status != 201:
                    raise Unavailable(f"the simulator refused a plain order: {answer!r}")


def _signed(key: str, secret: str, size: str, text: str) -> Signed:
    """An order as Gate's API v4 wants it signed."""
    order = {"contract": "BTC_USDT", "size": size, "price": "0", "tif": "ioc", "text": text}
    body = json.dumps(order).encode()
    at = str(int(time.time()))
    to_sign = "\n".join(("POST", PATH, "", hashlib.sha512(body).hexdigest(), at))
    return body, {
        "KEY": key,
        "Timestamp": at,
        "SIGN": hmac.digest(secret.encode(), to_sign.encode(), "sha512").hex(),
        "Content-Type": "application/json",
        "X-Gate-Size-Decimal": "1",
    }


def spread(begun: float, arrivals: Sequence[float]) -> tuple[float, float, float]:
    """First and last arrival in ms after `begun`, and arrivals per second between the two."""
    first, last = min(arrivals), max(arrivals)
    rate = (len(arrivals) - 1) / (last - first) if last > first else float("nan")
    return (first - begun) * 1000, (last - begun) * 1000, rate
