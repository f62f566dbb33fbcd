"""Whoever stops in the middle of a transaction holds nobody up for longer than PostgreSQL lets them."""

from __future__ import annotations

import asyncio

import pytest

from tenancy.database import IDLE_S, Database
from tenancy.errors import Unavailable
from tests.fixtures.api import Api

pytestmark = pytest.mark.stack
LOCK = "SELECT pg_advisory_xact_lock(7)"


async def test_a_transaction_that_stands_still_is_ended_and_its_locks_go_to_who_waits(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "tenancy.database._IDLE", "SET idle_in_transaction_session_timeout = '300ms'"
    )
    database = Database(api.database.conninfo("worker"), name="test", size=2)
    await database.open()
    try:
        with pytest.raises(Unavailable, match="idle-in-transaction"):
            await _stands_still(database)
    finally:
        await database.close()


async def test_who_waits_for_a_lock_longer_than_was_said_is_told_that_nothing_was_done(api: Api):
    holding = Database(api.database.conninfo("worker"), name="holds", size=1)
    asking = Database(api.database.conninfo("worker"), name="asks", size=1, lock_wait_s=1)
    await asyncio.gather(holding.open(), asking.open())
    try:
        async with holding.shared() as conn:
            await conn.execute(LOCK)
            with pytest.raises(Unavailable, match="lock timeout"):
                async with asyncio.timeout(10), asking.shared() as other:
                    await other.execute(LOCK)
    finally:
        await asyncio.gather(holding.close(), asking.close())


async def test_every_connection_of_ours_has_the_bound(api: Api):
    database = Database(api.database.conninfo("worker"), name="test", size=1)
    await database.open()
    try:
        async with database.shared() as conn:
            row = await (await conn.execute("SHOW idle_in_transaction_session_timeout")).fetchone()
    finally:
        await database.close()
    assert row == (f"{IDLE_S}s",)


async def _stands_still(database: Database) -> None:
    async with database.shared() as frozen:
        await frozen.execute(LOCK)
        async with asyncio.timeout(5), database.shared() as waiting:
            await waiting.execute(LOCK)
        await frozen.execute("SELECT 1")
