"""A halted audit log in workers: nothing is opened, what closes goes on, and it ends when it is lifted."""

from __future__ import annotations

import asyncio
import uuid

import psycopg
import pytest

from tests.integration.fanout.conftest import Bench

FILLED = "SELECT count(*) FROM orders WHERE state = 'filled'"


def halt(superuser: str, tenant: uuid.UUID, kind: str) -> None:
    """As the recorder writes it."""
    with psycopg.connect(superuser) as conn:
        log = conn.execute(
            "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key, kind)"
            " VALUES (gen_random_uuid(), %s, %s, 'k', %s, %s)"
            " ON CONFLICT (tenant_id, kind) DO UPDATE SET origin = audit_logs.origin RETURNING log_id",
            (tenant, f"halted.test/{uuid.uuid4()}", bytes(32), kind),
        ).fetchone()
        assert log is not None
        conn.execute(
            "INSERT INTO audit_halts (halt_id, log_id, tenant_id, source, why)"
            " VALUES (gen_random_uuid(), %s, %s, 'witness', 'another history')",
            (log[0], tenant),
        )


def lift(superuser: str) -> None:
    with psycopg.connect(superuser) as conn:
        conn.execute(
            "INSERT INTO audit_lifts (lift_id, tenant_id, halt_id, reason)"
            " SELECT gen_random_uuid(), tenant_id, halt_id, 'found out' FROM audit_halts"
        )


@pytest.mark.parametrize("kind", ["records", "anchor"])
async def test_a_halted_log_refuses_what_opens_closes_what_is_open_and_ends_when_lifted(
    bench: Bench, database, kind
):
    await bench.set_up(2, allow_add_to_position=True)
    async with bench.worker() as worker:
        await bench.signal(quantity=2)
        await bench.until(FILLED, 2)
        halt(database.superuser, bench.scope.tenant_id, kind)
        while not len(worker.switch.stops):  # noqa: ASYNC110 - it looks every quarter of a second
            await asyncio.sleep(0.02)
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'denied'", 2, 20)
        await bench.signal(action="exit")
        await bench.until(FILLED, 4, 20)
        lift(database.superuser)
        await bench.signal(quantity=1)
        await bench.until(FILLED, 6, 20)
    named = await bench.rows(
        "SELECT DISTINCT split_part(text, ':', 1) FROM orders WHERE state = 'denied'"
    )
    assert named == [("audit_halted",)]


async def test_another_tenants_halt_is_not_ours(bench: Bench, database):
    await bench.set_up(1)
    other = uuid.uuid4()
    with psycopg.connect(database.superuser) as conn:
        conn.execute("INSERT INTO tenants (tenant_id, name) VALUES (%s, 'other')", (other,))
    halt(database.superuser, other, "records")
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until(FILLED, 1, 20)
