"""A calendar is read before anybody waits for it: no lock is held meanwhile."""

from __future__ import annotations

import time
from datetime import date

import psycopg

from fanout import calendars
from fanout.windows import Sessions
from tenancy.windows import DAYS, TradingWindow
from tests.integration.fanout.asking import DONE, answer, asked, asking

WINDOW = TradingWindow(days=DAYS, start="00:00", end="00:00", time_zone="UTC", calendar="XTAI")
LOCKS = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND d.datname = current_database()"
)


async def test_the_first_use_of_a_calendar_holds_no_turn_on_the_strategy(bench, monkeypatch):
    """Reading takes half a second: other signals, answers and the kill switch need the turn."""
    held: list[int] = []

    def slow(name: str, today: date) -> Sessions:
        time.sleep(0.2)
        with psycopg.connect(bench.made.superuser) as conn:
            row = conn.execute(LOCKS).fetchone()
        assert row is not None
        held.append(row[0])
        return Sessions(first=today, last=today, days=frozenset({today}))

    monkeypatch.setattr(calendars, "read_sessions", slow)
    await bench.set_up(1, trading_windows=(WINDOW,))
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    assert held == [0]


async def test_a_calendar_that_cannot_be_read_refuses_and_stops_nothing(bench, monkeypatch):
    def broken(name: str, today: date) -> Sessions:
        raise ImportError("no such package")

    monkeypatch.setattr(calendars, "read_sessions", broken)
    await bench.set_up(1, trading_windows=(WINDOW,))
    await bench.signal(quantity=2)
    async with bench.worker():
        await bench.until("SELECT count(*) FROM plans", 1)
    ((reason,),) = await bench.rows("SELECT plan #>> '{groups,0,reason}' FROM plans")
    assert reason == "trading_window_unknown"


async def test_a_yes_is_carried_out_by_a_worker_that_has_read_no_calendar_yet(
    bench, admin, monkeypatch
):
    """The worker that asked is gone; the one that carries it out reads first, and holds nothing."""
    reads: list[str] = []

    def read(name: str, today: date) -> Sessions:
        reads.append(name)
        return Sessions(first=today, last=today, days=frozenset({today}))

    monkeypatch.setattr(calendars, "read_sessions", read)
    await asking(bench, trading_windows=(WINDOW,))
    async with bench.worker(name="first"):
        signal = await asked(bench)
    await answer(bench, admin, signal, bench.accounts[0])
    async with bench.worker(name="second"):
        await bench.until(DONE, 1)
    assert reads == ["XTAI", "XTAI"]
