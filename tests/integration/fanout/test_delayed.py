"""Signals that wait for their time: kept in their row, planned then, holding nobody up, taken back by a person."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fanout.signal import decode
from tests.integration.fanout.conftest import Bench

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"
STATES = "SELECT string_agg(state, ' ' ORDER BY received_at) FROM signals"


async def delayed(bench: Bench, seconds: float, **fields: object) -> object:
    """A signal as ingress keeps it whose `delay` is so long."""
    signal = await bench.signal(delay=seconds, **fields)
    rows = await bench.rows("SELECT body, received_at FROM signals WHERE signal_id = %s", signal)
    body, received_at = rows[0]
    async with await psycopg.AsyncConnection.connect(bench.made.superuser) as conn:
        await conn.execute(
            "UPDATE signals SET not_before = %s WHERE signal_id = %s",
            (decode(body).due(received_at), signal),
        )
    return signal


async def test_a_delayed_signal_is_planned_when_its_time_has_come_and_by_whoever_is_there(bench):
    """It is a row: the worker that saw it kept is not the one that plans it."""
    await bench.set_up(1)
    await delayed(bench, 1.5)
    async with bench.worker(name="w1"):
        await asyncio.sleep(0.4)
        assert await bench.rows("SELECT 1 FROM plans") == []
    async with bench.worker(name="w2"):
        await bench.until(DONE, 1)
    rows = await bench.rows(
        "SELECT planned_at - not_before FROM plans JOIN signals USING (signal_id)"
    )
    assert timedelta(0) <= rows[0][0] < timedelta(seconds=5)


async def test_a_delayed_signal_holds_no_later_one_up(bench):
    await bench.set_up(1)
    await delayed(bench, 3600)
    await bench.signal(quantity=1)
    async with bench.worker():
        await bench.until(STATES, "accepted planned")
        await bench.until(DONE, 1)


async def test_the_age_of_a_delayed_signal_counts_from_its_time(bench):
    """Kept an hour ago, due a moment ago: it trades, though the oldest that may trade is a minute old."""
    await bench.set_up(1)
    signal = await delayed(bench, 3600)
    past = datetime.now(UTC) - timedelta(hours=1)
    async with await psycopg.AsyncConnection.connect(bench.made.superuser) as conn:
        await conn.execute(
            "UPDATE signals SET received_at = %s, not_before = %s WHERE signal_id = %s",
            (past, past + timedelta(hours=1), signal),
        )
    async with bench.worker():
        await bench.until(DONE, 1)


async def test_a_signal_that_was_taken_back_is_never_planned(bench):
    await bench.set_up(1)
    signal = await delayed(bench, 0.3)
    async with await psycopg.AsyncConnection.connect(bench.made.superuser) as conn:
        await conn.execute("UPDATE signals SET state = 'canceled' WHERE signal_id = %s", (signal,))
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until(STATES, "canceled planned")
        await asyncio.sleep(0.5)
    assert len(await bench.rows("SELECT 1 FROM plans")) == 1


@pytest.mark.parametrize("goes_through", [True, False])
async def test_a_signal_is_taken_back_or_planned_and_never_both(bench, goes_through: bool):
    """The planner comes while somebody takes the signal back: it waits, and sees what became of that."""
    await bench.set_up(1)
    signal = await bench.signal(quantity=1)
    async with await psycopg.AsyncConnection.connect(bench.made.superuser) as conn:
        await conn.execute(
            "UPDATE signals SET state = 'canceled' WHERE signal_id = %s AND state = 'accepted'",
            (signal,),
        )
        async with bench.worker():
            await asyncio.sleep(0.6)  # a dozen sweeps
            await (conn.commit() if goes_through else conn.rollback())
            await bench.until(STATES, "canceled" if goes_through else "planned")
            await asyncio.sleep(0.3)
    assert len(await bench.rows("SELECT 1 FROM plans")) == (0 if goes_through else 1)
