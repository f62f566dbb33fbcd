"""A COMMIT that no standby is known to have is not called done: PostgreSQL itself says only a warning."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from tenancy.database import Database
from tenancy.errors import OutcomeUnknown
from tests.fixtures.api import Api

pytestmark = pytest.mark.stack
_WAITS = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
def nobody_stands_by(api: Api) -> Iterator[psycopg.Connection]:
    """A server that waits for a standby which is not there; the connection itself waits for none."""
    with psycopg.connect(api.database.superuser, autocommit=True) as conn:
        conn.execute("SET synchronous_commit = local")
        conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        conn.execute("SELECT pg_reload_conf()")
        try:
            yield conn
        finally:
            conn.execute("ALTER SYSTEM RESET synchronous_standby_names")
            conn.execute("SELECT pg_reload_conf()")


async def test_a_wait_for_a_standby_that_somebody_cancels_is_an_unknown_outcome(
    api: Api, nobody_stands_by: psycopg.Connection
):
    database = Database(api.database.conninfo("owner"), name="test", size=1)
    await database.open()
    try:
        writing = asyncio.create_task(_write(database))
        pid = await _who_waits(nobody_stands_by)
        nobody_stands_by.execute("SELECT pg_cancel_backend(%s)", (pid,))
        with pytest.raises(OutcomeUnknown, match="replication"):
            await writing
    finally:
        await database.close()
    kept = nobody_stands_by.execute("SELECT to_regclass('kept_here') IS NOT NULL").fetchone()
    assert kept == (True,), "it is here, which is why nobody may call it refused"


async def _write(database: Database) -> None:
    async with database.shared() as conn:
        await conn.execute("CREATE TABLE kept_here ()")


async def _who_waits(conn: psycopg.Connection) -> int:
    """The server process that waits for the standby, once it does. Raises AssertionError after 10 s."""
    for _ in range(1000):
        row = conn.execute(_WAITS).fetchone()
        if row is not None:
            return int(row[0])
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits for a standby")
