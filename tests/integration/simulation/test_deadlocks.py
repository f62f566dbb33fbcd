"""Sessions of a simulation that wait for each other in a ring: who closes it is the victim, however slow it is."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import psycopg
import pytest

from ops.sim.database import Connection, Store
from ops.sim.loop import SimulatedLoop
from ops.sim.postgres import InMemory

pytestmark = pytest.mark.stack
LATE = "ALTER ROLE portcullis_worker SET deadlock_timeout = '150ms'"
"""As on a machine that is so busy that a session looks for a deadlock long after it began to wait."""


async def locks(conn: Connection, *names: int) -> str:
    """All of these, in their order; what came of it."""
    words = ", ".join(f"pg_advisory_xact_lock({name})" for name in names)
    try:
        await conn.execute(f"SELECT {words}".encode(), prepare=False)
    except psycopg.errors.DeadlockDetected:
        await conn.execute("ROLLBACK")
        return "victim"
    await conn.execute("COMMIT")
    return "done"


async def ring(store: Store) -> list[str]:
    """One and two close a ring when three lets go of what two waits for; four comes when it is closed."""
    one, two, three, four = (store.take("worker", None) for _ in range(4))
    for number, conn in enumerate((one, two, three, four), 1):
        await conn.execute(b"BEGIN")
        if conn is not four:
            await conn.execute(f"SELECT pg_advisory_xact_lock({number})".encode())
    works = [asyncio.create_task(locks(one, 2))]
    await asyncio.sleep(1)
    works.append(asyncio.create_task(locks(two, 3, 1)))
    await asyncio.sleep(1)
    await three.execute("ROLLBACK")
    await asyncio.sleep(1)
    works.append(asyncio.create_task(locks(four, 1)))
    return list(await asyncio.gather(*works))


@pytest.mark.parametrize("late", [False, True])
def test_who_closes_a_ring_is_its_victim_and_the_others_go_on(late: bool) -> None:
    with InMemory() as postgres:
        if late:
            with psycopg.connect(postgres.superuser(), autocommit=True) as conn:
                conn.execute(LATE)
        store = Store(postgres.conninfo, postgres.superuser())
        loops = [store.loop, loop := SimulatedLoop()]
        store.begin(loop, Random(1))
        try:
            ended: Any = loop.run_until_complete(ring(store))
        finally:
            store.close()
            for one in (*loops, store.loop):
                one.close()
    assert ended == ["done", "victim", "done"], "two closed the ring, by its second lock"
