"""One at a time on a strategy: planning its next signal, answering for one, carrying out an answer.

A lock of PostgreSQL's on a number made of the strategy's id, held to the end of the transaction.
Whoever needs it takes it before any row lock of theirs, a lease's included, so that nobody waits
in a circle. Two strategies whose numbers collide wait for each other, and that is all.

Strategies that share an account draw on the same limits. Whoever plans for one therefore takes the
turns of all of them, in one call and in the order of the numbers, which is everybody's: again
nobody waits in a circle. PostgreSQL serves those who wait in the order in which they came, and so
does `Queues` within one process, where nobody needs a database connection to wait.

A turn alone says nothing of orders that are planned and not in the book yet: `plans_under_way` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from tenancy.database import Connection
from tenancy.values import StrategyID, TenantID

_UNDER_WAY = """
SELECT DISTINCT CASE WHEN strategy_id = %(strategy)s THEN 'our own' WHEN approved THEN 'approved'
                     ELSE 'plan of a neighbour' END
FROM plan_parts WHERE strategy_id = %(strategy)s
   OR strategy_id = ANY(%(neighbours)s::uuid[]) AND part = ANY(%(parts)s::smallint[])"""
_OF_FORMER_NEIGHBOURS = """
SELECT EXISTS (
    SELECT FROM plan_parts w JOIN plans p USING (signal_id) JOIN strategies s ON s.strategy_id = p.strategy_id
    WHERE w.tenant_id = %s AND w.part = ANY(%s::smallint[]) AND NOT w.approved AND s.version <> p.version)"""


async def turn(conn: Connection, *strategies: StrategyID) -> None:
    """Wait for our turn on each. What is read after it is what the one before has left.

    All that a transaction needs in one call: those of a second one would be out of order.
    """
    for number in sorted({_number(strategy) for strategy in strategies}):
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (number,))


def plans_under_way(
    strategy: StrategyID, neighbours: Iterable[StrategyID], parts: Iterable[int]
) -> tuple[str, dict[str, object]]:
    """A statement for a pipeline: whose orders are not in the book yet.

    A row says 'our own', 'approved' (somebody's, which people said yes to), or 'plan of a neighbour'
    in these partitions; none: all are in the book.
    """
    asked = {"strategy": strategy, "neighbours": list(neighbours), "parts": list(parts)}
    return _UNDER_WAY, asked


async def former_neighbours_under_way(
    conn: Connection, tenant: TenantID, parts: Collection[int]
) -> bool:
    """Whether a plan is on its way here that was made under settings which have changed since.

    It may be of a strategy that has left an account of ours after it planned. Which accounts are in
    it only the plan knows, so any such plan of the tenant in these partitions is waited for.
    """
    row = await (await conn.execute(_OF_FORMER_NEIGHBOURS, (tenant, list(parts)))).fetchone()
    assert row is not None
    return bool(row[0])


class Queues:
    """The same turns among the tasks of one process."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[StrategyID, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, strategies: Iterable[StrategyID]) -> AsyncIterator[None]:
        """Our turn on each of them, until the end of the block."""
        locks = []
        for strategy in sorted(set(strategies)):
            lock = self._locks.get(strategy)
            if lock is None:
                self._locks[strategy] = lock = asyncio.Lock()
            locks.append(lock)
        async with AsyncExitStack() as held:
            for lock in locks:
                await held.enter_async_context(lock)
            yield


def _number(strategy: StrategyID) -> int:
    """The random half of a UUIDv7, as PostgreSQL's bigint."""
    return int.from_bytes(strategy.bytes[8:], "big", signed=True)
