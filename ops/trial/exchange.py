"""The Gate.io simulator as a process, spoken to over its control API like any other client would.

Only HTTP: the simulator is an independent implementation, and nothing of ours imports it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from ops.processes import ROOT
from tenancy.errors import Unavailable

START_TIMEOUT_S = 20.0
ACCOUNTS_AT_ONCE = 1_000


class Executed(msgspec.Struct, frozen=True):
    """One order as the exchange executed it. Sizes in contracts, times in Unix seconds."""

    order_id: int
    key: str
    text: str
    contract: str
    size: Decimal
    filled: Decimal
    arrived_wall: float
    executed_wall: float

    @property
    def order(self) -> str:
        """Our order's id: the text without `t-` and the attempt."""
        return self.text.removeprefix("t-").rpartition(".")[0]


def exchange_account(key: str, secret: str, balance: str) -> dict[str, str]:
    """What the simulator has to know of an account."""
    return {"key": key, "secret": secret, "balance": balance, "leverage": "10"}


class Exchange:
    """A running simulator. `url` is what the adapter's base_url says."""

    def __init__(self, url: str, pid: int, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.pid = pid
        self._session = session

    async def accounts(self, accounts: list[dict[str, Any]]) -> None:
        """Open and fund: `key`, `secret`, `balance`. As many requests as its limit on a body asks for."""
        for start in range(0, len(accounts), ACCOUNTS_AT_ONCE):
            await self._ask("POST", "accounts", accounts[start : start + ACCOUNTS_AT_ONCE])

    async def change_key(self, key: str, **changed: Any) -> None:
        """As its owner does: `permissions`, `read_only`, `revoked`."""
        await self._ask("POST", "keys", {"key": key, **changed})

    async def limits(self, *, orders_per_s: int) -> None:
        await self._ask("POST", "settings", {"orders_per_s": orders_per_s})

    async def faults(self, rules: list[dict[str, Any]]) -> None:
        await self._ask("POST", "faults", rules)

    async def clear_faults(self) -> None:
        await self._ask("DELETE", "faults")

    async def depth(self, contract: str, mark: str, level_size: str) -> None:
        """Enough on the book for every account of the trial."""
        body = {"contract": contract, "mark": mark, "levels": 5, "level_size": level_size}
        await self._ask("POST", "price", body)

    async def executed(self) -> list[Executed]:
        """Every order that was ever executed, in order of arrival."""
        audit = await self._ask("GET", "audit")
        return [msgspec.convert(row, Executed) for row in audit["orders"]]

    async def hits(self, seed: int) -> int:
        """How often the fault rules with that seed have hit."""
        rules = await self._ask("GET", "faults")
        return sum(int(one["hits"]) for one in rules if one["rule"].get("seed") == seed)

    async def count(self) -> int:
        return int((await self._ask("GET", "stats"))["orders"])

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, f"{self.url}/_control/{path}", data=data) as got:
            text = await got.text()
            if got.status != 200:
                raise Unavailable(f"the simulator refused {path}: {text}")
            return json.loads(text)


@asynccontextmanager
async def exchange(log: Path, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Exchange]:
    """A simulator, on a free port of loopback unless said otherwise, ended afterwards. Raises Unavailable."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadtest.exchanges.gateio", "--host", host, "--port", str(port),
            stdout=asyncio.subprocess.PIPE, stderr=errors, cwd=ROOT,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            line = await process.stdout.readline()
        if not line:
            raise Unavailable(f"the exchange simulator did not start; see {log}")
        async with aiohttp.ClientSession() as session:
            yield Exchange(json.loads(line)["url"], process.pid, session)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def broker_settings(url: str, *, connections: int = 64) -> dict[str, Any]:
    """The table `[brokers.gateio]` for this exchange."""
    return {
        "base_url": url,
        "sign_timeout_s": 0.8,
        "connect_timeout_s": 0.5,
        "request_timeout_s": 1.5,
        "exptime_ms": 1500,
        "clock_error_ms": 100,
        "connections": connections,
        "connections_warm": min(32, connections),
        "orders_per_s": 100,
        "orders_burst": 20,
        "instruments_refresh_s": 2.0,
        "instruments_max_age_s": 30.0,
    }
