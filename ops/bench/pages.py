"""How long does a page of 100 take, among so many orders? The whole admin listener, over TLS, one caller.

Each question is asked many times, each time elsewhere in the history: other accounts, other symbols,
another depth. In turns with it, the floor: 100 of the same orders by their primary keys, by a prepared
statement on an open connection, with neither HTTP nor the wall. What the product adds to that is
authentication by key, a transaction in the tenant, the plan, the page's own way to its rows, and JSON.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg

from gateway.admin.listing import write_key
from ops.bench.measure import Measurement, Series, percentile
from ops.bench.pages_data import ACCOUNTS, BEGIN_MS, DAYS, STRATEGIES, SYMBOLS, History, ids
from tenancy.errors import Unavailable

Ask = Callable[[random.Random, History], str]
LIMIT = 100


def _somewhen(chance: random.Random) -> int:
    return BEGIN_MS + chance.randrange(DAYS * 86_400_000)


def _deep(chance: random.Random) -> str:
    """A cursor anywhere in the history, as following `next` would have come to."""
    signal = UUID(int=_somewhen(chance) << 80)
    return f"&cursor={write_key((signal, signal, 0, 1))}"


def _symbol(chance: random.Random) -> str:
    return f"S{chance.randrange(SYMBOLS)}_USDT"


def _account(chance: random.Random) -> UUID:
    return ids("account", chance.randrange(ACCOUNTS))


def _day(chance: random.Random) -> str:
    at = time.gmtime(_somewhen(chance) / 1000)
    return f"since={time.strftime('%Y-%m-%dT00:00:00Z', at)}&until={time.strftime('%Y-%m-%dT23:59:59Z', at)}"


QUESTIONS: dict[str, Ask] = {
    "first": lambda c, h: "/v1/orders?",
    "deep": lambda c, h: "/v1/orders?" + _deep(c),
    "day": lambda c, h: "/v1/orders?" + _day(c),
    "account": lambda c, h: f"/v1/orders?account_id={_account(c)}{_deep(c)}",
    "account_rare": lambda c, h: f"/v1/orders?account_id={h.rare_account}",
    "symbol": lambda c, h: f"/v1/orders?symbol={_symbol(c)}{_deep(c)}",
    "symbol_rare": lambda c, h: f"/v1/orders?symbol={h.rare_symbol}",
    "strategy": lambda c, h: (
        f"/v1/orders?strategy_id={ids('strategy', c.randrange(STRATEGIES))}{_deep(c)}"
    ),
    "strategy_rare": lambda c, h: f"/v1/orders?strategy_id={h.rare_strategy}",
    "ticker": lambda c, h: f"/v1/orders?ticker={_symbol(c)}{_deep(c)}",
    "signal": lambda c, h: f"/v1/orders?signal_id={h.signal}",
    "rejected": lambda c, h: f"/v1/orders?status=rejected{_deep(c)}",
    "in_doubt": lambda c, h: "/v1/orders?status=in_doubt",
    "filled": lambda c, h: f"/v1/orders?status=filled{_deep(c)}",
    # What no single index answers: the window of bounded length decides, not the history's.
    "account_symbol": lambda c, h: (
        f"/v1/orders?account_id={_account(c)}&symbol={_symbol(c)}{_deep(c)}"
    ),
    "nothing_fits": lambda c, h: (
        f"/v1/orders?status=filled&symbol={_symbol(c)}&strategy_id={h.rare_strategy}{_deep(c)}"
    ),
    "fills": lambda c, h: "/v1/fills?",
    "fills_account": lambda c, h: f"/v1/fills?account_id={_account(c)}",
    "fills_symbol": lambda c, h: f"/v1/fills?symbol={_symbol(c)}",
    "signals": lambda c, h: "/v1/signals?",
    "signals_ticker": lambda c, h: f"/v1/signals?ticker={_symbol(c)}",
}
"""What is asked; docs/benchmarks.md says what each is."""

UNITS = {f"page_{name}_{part}_ms": "ms" for name in QUESTIONS for part in ("p50", "p99")}


class Caller:
    """One kept connection over TLS, one request after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str
    ) -> None:
        self._reader, self._writer, self._key = reader, writer, key

    @classmethod
    async def connected(cls, port: int, context: ssl.SSLContext, key: str) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context), key)

    async def get(self, path: str) -> Any:
        head = (
            f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self._key}\r\n\r\n"
        )
        self._writer.write(head.encode())
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise Unavailable(f"{path}: {answer[:40]!r} {body[:300]!r}")
        return body

    def close(self) -> None:
        self._writer.transport.abort()


async def run(
    caller: Caller, superuser: str, history: History, *, samples: int, runs: int,
    say: Callable[[str], None],
) -> list[Measurement]:  # fmt: skip
    """p50 and p99 of every question, its floor in turns with it."""
    series = Series(UNITS)
    chance = random.Random(7)  # noqa: S311 - repeatable questions
    async with await psycopg.AsyncConnection.connect(
        superuser, autocommit=True, prepare_threshold=0
    ) as conn:
        some = await _some_orders(conn, history, chance)
        for number in range(runs):
            say(f"pages: run {number + 1} of {runs}")
            for name, ask in QUESTIONS.items():
                paths = [f"{ask(chance, history)}&limit={LIMIT}" for _ in range(samples)]
                values, floors = [], []
                for path in paths:
                    values.append(await _timed(caller.get(path.replace("?&", "?"))))
                    floors.append(await _timed(_floor(conn, chance.sample(some, LIMIT))))
                series.value(**_figures(name, values))
                series.floor(**_figures(name, floors))
    return series.measurements()


def _figures(name: str, took_ms: list[float]) -> dict[str, float]:
    return {f"page_{name}_p{p}_ms": percentile(took_ms, p) for p in (50, 99)}


async def _timed(work: Any) -> float:
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1000


async def _some_orders(
    conn: psycopg.AsyncConnection[Any], history: History, chance: random.Random
) -> list[str]:
    """Names of orders from all over the history."""
    names: list[str] = []
    for _ in range(200):
        signal = UUID(int=_somewhen(chance) << 80)
        cursor = await conn.execute(
            "SELECT cl_ord_id FROM orders WHERE tenant_id = %s AND signal_id >= %s"
            " ORDER BY tenant_id, signal_id LIMIT 20",
            (history.tenant_id, signal),
        )
        names += [row[0] for row in await cursor.fetchall()]
    return list(dict.fromkeys(names))


async def _floor(conn: psycopg.AsyncConnection[Any], names: list[str]) -> None:
    cursor = await conn.execute("SELECT * FROM orders WHERE cl_ord_id = ANY(%b)", (names,))
    await cursor.fetchall()
