"""A worker is killed exactly at each write of reconciliation; a fresh one finishes.

docs/protocol.md names these tests beside the writes.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from tenancy.ids import new_id
from tests.chaos.stage import staged

pytestmark = [pytest.mark.stack, pytest.mark.slow]

OPEN = "SELECT count(*) FROM drifts WHERE state = 'open'"
BOOK_HAS = """
INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, avg_px, updated_at)
SELECT s.account_id, s.strategy_id, 'BTC_USDT', s.tenant_id, 2, 50000, now() FROM subscriptions s RETURNING 1"""
"""Lots that the exchange does not have."""


async def test_killed_before_a_drift_is_committed(database, gateio):
    """Neither the drift nor its record: the next look finds it, once."""
    async with staged(database, gateio, 1) as stage:
        await stage.rows(BOOK_HAS)
        await stage.dies("drift_before_commit")
        assert await stage.rows(OPEN) == [(0,)]
        await _next(stage, OPEN, 1)
        told = "SELECT count(*) FROM audit_inbox WHERE kind = 'drift.found'"
        assert await stage.rows(told) == [(1,)]


async def test_killed_before_a_decision_is_committed(database, gateio):
    """Nothing happened: the next worker adjusts once and sends one correction, which fills once."""
    async with staged(database, gateio, 1) as stage:
        await stage.rows(BOOK_HAS)
        await _next(stage, OPEN, 1)
        await stage.bench.rows(
            "INSERT INTO drift_decisions (tenant_id, decision_id, drift_id, part, decision, reason, by)"
            " SELECT tenant_id, %s, drift_id, part, 'correct', 'r', '{\"kind\": \"human\", \"id\": \"ann\"}'"
            " FROM drifts RETURNING 1",
            new_id(),
        )  # fmt: skip
        await stage.dies("drift_decision_before_commit")
        assert await stage.rows("SELECT qty FROM positions") == [(Decimal(2),)]
        assert await stage.rows("SELECT count(*) FROM signals") == [(0,)]
        await _next(stage, "SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        assert await stage.rows("SELECT qty FROM positions") == [(Decimal(2),)]
        assert await stage.rows("SELECT state FROM drifts") == [("corrected",)]
        adjusted = "SELECT count(*) FROM audit_inbox WHERE kind = 'position.adjusted'"
        assert await stage.rows(adjusted) == [(1,)]


async def _next(stage, query: str, want: int) -> None:
    """A fresh worker, until the query says so."""
    process = await stage._start("next")
    try:
        await stage.bench.until(query, want, 30)
    finally:
        process.terminate()
        await process.wait()
