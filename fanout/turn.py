"""One at a time on a strategy: planning its next signal, answering for one, carrying out an answer.

A lock of PostgreSQL's on a number made of the strategy's id, held to the end of the transaction.
Whoever needs it takes it before any row lock of theirs, a lease's included, so that nobody waits
in a circle. Two strategies whose numbers collide wait for each other, and that is all.

Strategies that share an account draw on the same limits. Whoever plans for one therefore has its
turn alone, and stands *beside* each of the others: several may, while that other has no turn. So two
plans wait for each other where either strategy is a neighbour of the other, as far as one of the two
knows; two that share accounts with the same third one, and none between them, do not.

All of it is taken in one call and in the order of the numbers, which is everybody's: again nobody
waits in a circle. PostgreSQL serves those who wait in the order in which they came, and so does
`Queues` within one process, where nobody needs a database connection to wait.

A turn alone says nothing of orders that are planned and not in the book yet: `plans_under_way` does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from tenancy.database import Connection, Told
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


_LOCK = {
    True: "SELECT pg_advisory_xact_lock(%s)",
    False: "SELECT pg_advisory_xact_lock_shared(%s)",
}


async def turn(conn: Connection, strategy: StrategyID, *beside: StrategyID) -> None:
    """Wait for our turn. What is read after it is what the one before has left.

    All that a transaction needs in one call: those of a second one would be out of order.
    """
    await turns(conn, {strategy}, beside)


async def turns(
    conn: Connection, alone: Collection[StrategyID], beside: Iterable[StrategyID]
) -> None:
    """The same of several strategies, none of which is another's neighbour."""
    ours = set(map(_number, alone))
    for number in sorted(ours.union(map(_number, beside))):
        await conn.execute(_LOCK[number in ours], (number,))


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
    return await (await ask_former_neighbours(conn, tenant, parts))()


async def ask_former_neighbours(
    conn: Connection, tenant: TenantID, parts: Collection[int]
) -> Told[bool]:
    """The same in a pipeline of the caller's. Of no partitions nothing is asked."""
    if not parts:
        return _no
    asked = await conn.execute(_OF_FORMER_NEIGHBOURS, (tenant, list(parts)))

    async def told() -> bool:
        row = await asked.fetchone()
        assert row is not None
        return bool(row[0])

    return told


async def _no() -> bool:
    return False


class Queues:
    """The same turns among the tasks of one process."""

    def __init__(self) -> None:
        self._queues: WeakValueDictionary[StrategyID, _Queue] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, strategy: StrategyID, beside: Iterable[StrategyID]) -> AsyncIterator[None]:
        """Our turn, until the end of the block."""
        async with AsyncExitStack() as held:
            for each in sorted({strategy, *beside}):
                queue = self._queues.get(each)
                if queue is None:
                    self._queues[each] = queue = _Queue()
                await held.enter_async_context(queue.place(alone=each == strategy))
            yield


class _Queue:
    """Who waits at one strategy, first come, first served: one alone, or several beside it."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[bool, asyncio.Future[None]]] = deque()
        self._alone = False
        self._beside = 0

    @asynccontextmanager
    async def place(self, *, alone: bool) -> AsyncIterator[None]:
        """Held to the end of the block."""
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((alone, called))
        self._call()
        try:
            await called
        except asyncio.CancelledError:
            if called.cancelled():
                self._call()  # who waited behind us
            else:
                self._leave(alone)
            raise
        try:
            yield
        finally:
            self._leave(alone)

    def _leave(self, alone: bool) -> None:
        if alone:
            self._alone = False
        else:
            self._beside -= 1
        self._call()

    def _call(self) -> None:
        """Let in whoever may come in now, and nobody before who came first."""
        while self._waiting and not self._alone:
            alone, called = self._waiting[0]
            if called.cancelled():
                self._waiting.popleft()
                continue
            if alone and self._beside:
                return
            self._waiting.popleft()
            self._alone, self._beside = alone, self._beside + (not alone)
            called.set_result(None)


def _number(strategy: StrategyID) -> int:
    """The random half of a UUIDv7, as PostgreSQL's bigint."""
    return int.from_bytes(strategy.bytes[8:], "big", signed=True)
