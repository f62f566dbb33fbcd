"""One row that PostgreSQL refuses fails alone, not with everybody in its batch."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime

import psycopg
import pytest

from audit.inbox import Entry
from audit.record import Kind
from gateway.hooks.incoming import Incoming, Kept
from tenancy.ids import new_id
from tenancy.scope import Actor
from tenancy.values import SignalID, StrategyID, TenantID
from tests.fakes.hooks import BODY, SeededHook, seed_hook
from tests.fixtures.postgres import Database
from tests.integration.gateway.ingress import ingress

pytestmark = pytest.mark.stack


def incoming(hook: SeededHook, message_id: str, sha256: bytes) -> Incoming:
    tenant = TenantID(hook.tenant_id)
    entry = Entry(
        kind=Kind.SIGNAL_ACCEPTED, ts_ns=1, payload={"m": message_id}, actor=Actor("sys", "test")
    )
    return Incoming(
        signal_id=SignalID(new_id()),
        tenant_id=tenant,
        strategy_id=StrategyID(hook.strategy_id),
        hook_id=hook.hook_id,
        message_id=message_id,
        part=0,
        ticker="BTC_USDT",
        body=BODY,
        body_sha256=sha256,
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-00",
        received_at=datetime.now(UTC),
        note=(tenant, entry),
    )


async def test_a_row_that_cannot_be_kept_fails_alone(database: Database, redis_server: str) -> None:
    hook = seed_hook(database.superuser)
    good = hashlib.sha256(BODY).digest()
    rows = [incoming(hook, f"m{n}", b"short" if n == 3 else good) for n in range(8)]
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        results = await asyncio.gather(
            *(running.acceptor.keep(row) for row in rows), return_exceptions=True
        )
        assert [isinstance(result, Kept) for result in results] == [n != 3 for n in range(8)]
        assert isinstance(results[3], psycopg.errors.CheckViolation)
        assert isinstance(await running.acceptor.keep(incoming(hook, "later", good)), Kept)
    with psycopg.connect(database.superuser) as conn:
        counts = conn.execute(
            "SELECT (SELECT count(*) FROM signals), (SELECT count(*) FROM audit_inbox)"
        ).fetchone()
    assert counts == (8, 8)
