"""Sessions that PostgreSQL ended while they were in the pool are nobody's error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from tenancy.database import Database
from tests.fixtures.api import Api

pytestmark = pytest.mark.stack
SESSIONS, NAME = 4, "ended-sessions"


@pytest.fixture
async def pool(api: Api) -> AsyncIterator[Database]:
    """Every session of it was used and is back in the pool."""
    made = Database(api.database.conninfo("worker"), name=NAME, size=SESSIONS)
    await made.open()

    async def use() -> None:
        async with made.shared() as conn:
            await conn.execute("SELECT pg_sleep(0.05)")

    await asyncio.gather(*(use() for _ in range(SESSIONS)))
    yield made
    await made.close()


async def test_who_comes_after_a_restart_gets_a_new_session(api: Api, pool: Database):
    """A failover, a restart of PostgreSQL: each session of a pool failed one request."""
    named = f"FROM pg_stat_activity WHERE application_name = '{NAME}'"
    async with await psycopg.AsyncConnection.connect(
        api.database.superuser, autocommit=True
    ) as conn:
        cursor = await conn.execute(f"SELECT pg_terminate_backend(pid) {named}".encode())
        assert len(await cursor.fetchall()) == SESSIONS
        while await (await conn.execute(f"SELECT 1 {named}".encode())).fetchone():  # noqa: ASYNC110 - PostgreSQL says nothing of it
            await asyncio.sleep(0.01)
    for _ in range(SESSIONS + 1):
        async with pool.shared() as ours:
            assert await (await ours.execute("SELECT 1")).fetchone() == (1,)


async def test_another_word_of_the_server_ends_no_session(api: Api):
    only = Database(api.database.conninfo("worker"), name=NAME, size=1)
    await only.open()
    try:
        async with only.connection() as conn:
            await conn.execute("LISTEN something")
            pid = conn.info.backend_pid
        async with await psycopg.AsyncConnection.connect(
            api.database.superuser, autocommit=True
        ) as other:
            await other.execute("NOTIFY something")
        async with only.connection() as conn:
            assert conn.info.backend_pid == pid
    finally:
        await only.close()
