"""No page reads a whole table, and none reads more of an index than its window: asked of PostgreSQL itself."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import psycopg
import pytest

from fanout.order import OrdState
from gateway.admin.fills import FillQuery, find_fills
from gateway.admin.order_pages import OrderQuery, find_orders
from gateway.admin.pages import LOOKED_AT_MAX
from gateway.admin.signals import SignalQuery, find_signals
from ops.bench.pages_data import RARE, History, ids, make_history, tenant_id
from tests.fixtures.postgres import Database

pytestmark = pytest.mark.stack

TABLES = ("orders", "signals", "execution_reports")
ORDERS = 10_000
_ROWS = re.compile(
    r"(?:Index(?: Only)? Scan(?: Backward)? using (\w+)|Seq Scan) on (\w+)[^(]*\(.*rows=(\d+) loops=(\d+)\)"
)
_REMOVED = re.compile(r"Rows Removed by (?:Filter|Index Recheck): (\d+)")


class Explaining:
    """A connection that asks for the plan of every statement before it runs it."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._conn = conn
        self.plans: list[str] = []

    async def execute(self, query: bytes, values: Any = None, **options: Any) -> Any:
        if b"set_config" in query:
            return await self._conn.execute(query)
        cursor = await self._conn.execute(
            b"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) " + query, values, **options
        )
        self.plans.append("\n".join(row[0] for row in await cursor.fetchall()))
        return await self._conn.execute(query, values, **options)


def questions(history: History) -> list[Any]:
    """Every filter by itself with what is frequent, rare and absent, and the pairs that no index has."""
    account, strategy = ids("account", 17), ids("strategy", 1)
    values: dict[str, list[Any]] = {
        "account_id": [account, history.rare_account, ids("account", 3, tenant=1)],
        "strategy_id": [strategy, history.rare_strategy, UUID(int=1)],
        "ticker": ["S3_USDT", RARE, "NONE"],
        "symbol": ["S3_USDT", RARE, "NONE"],
        "signal_id": [history.signal, UUID(int=1)],
        "status": [OrdState.FILLED, OrdState.REJECTED, OrdState.IN_DOUBT, OrdState.ABSENT],
    }
    asked: list[Any] = [OrderQuery(), FillQuery(), SignalQuery()]
    for kind in (OrderQuery, FillQuery):
        names = [name for name in values if name in kind.__struct_fields__]
        asked += [kind(**{name: value}) for name in names for value in values[name]]
        asked += [
            kind(**{a: values[a][x], b: values[b][y]})
            for a in names for b in names if a < b for x, y in ((0, 0), (0, 1), (1, 0))
        ]  # fmt: skip
    for status in ("accepted", "planned", "refused"):
        asked += [SignalQuery(status=status), SignalQuery(status=status, ticker="S3_USDT")]
    asked += [SignalQuery(strategy_id=one) for one in values["strategy_id"]]
    asked += [SignalQuery(ticker=one) for one in values["ticker"]]
    return asked


async def ask(conn: Any, query: Any) -> Any:
    """The first two pages."""
    find: Any = {OrderQuery: find_orders, FillQuery: find_fills, SignalQuery: find_signals}[
        type(query)
    ]
    found = await find(conn, query, None)
    if found.after is not None:
        await find(conn, query, found.after)


async def test_every_filter_of_every_tenant_is_a_bounded_range_of_an_index(database: Database):
    """Of the largest tenant, and of the smallest, whose rows lie thin among the others'."""
    history = make_history(database.superuser, ORDERS, lambda text: None)
    async with await psycopg.AsyncConnection.connect(database.conninfo("admin")) as conn:
        for tenant in (0, 3):
            scope = (
                "SELECT set_config('portcullis.tenant_id', %s, false)",
                (str(tenant_id(tenant)),),
            )
            await conn.execute(*scope)
            for query in questions(history):
                explaining = Explaining(conn)
                await ask(explaining, query)
                for plan in explaining.plans:
                    check(plan, f"tenant {tenant} {query}\n{plan}")


def check(plan: str, words: str) -> None:
    """Only ranges of an index; none longer than a window; next to nothing read for others."""
    for index, table, rows, loops in _ROWS.findall(plan):
        if table in TABLES:
            assert index, words
            assert int(rows) * int(loops) <= 2 * LOOKED_AT_MAX, words
    assert "Bitmap Heap Scan" not in plan, words
    for line in plan.splitlines():
        removed = _REMOVED.search(line)
        assert removed is None or int(removed[1]) <= LOOKED_AT_MAX, words
