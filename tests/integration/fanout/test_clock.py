"""A tenant that wants no position opened by a bad clock: what its worker sends, and what it does not."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tenancy.clock_quality import Quality, unmeasured

WELL = Quality("ok", "chrony", 2_000_000)
OVER = Quality("degraded", "chrony", 80_000_000)
FILLED = "SELECT count(*) FROM orders WHERE state = 'filled'"
WANTS = '{"clock_tier": "finra_50ms", "clock_stops": true}'


class Host:
    """A host whose clock a test makes worse."""

    def __init__(self, bench) -> None:
        self.now = WELL
        bench.quality = lambda: self.now


async def wants(bench, settings: str = WANTS) -> None:
    await bench.rows(
        "UPDATE tenants SET settings = %s::jsonb WHERE tenant_id = %s RETURNING 1",
        settings, bench.scope.tenant_id,
    )  # fmt: skip


async def heard(worker, tenant, untrusted: bool, bench) -> None:
    """Until the worker knows of the tier; it looks four times a second."""
    for _ in range(100):
        if worker.switch.clock_untrusted(tenant) is untrusted:
            return
        await bench.rows("SELECT pg_sleep(0.05)")
    raise AssertionError("the worker never heard of it")


@pytest.mark.parametrize("bad", [OVER, unmeasured()])
async def test_over_the_tier_nothing_opens_and_the_plan_says_why_and_what_closes_goes_on(
    bench, bad
):
    await bench.set_up(2, allow_add_to_position=True)
    await wants(bench)
    host = Host(bench)
    async with bench.worker() as worker:
        await bench.signal(quantity=2)
        await bench.until(FILLED, 2)
        host.now = bad
        await heard(worker, bench.scope.tenant_id, True, bench)
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM signals WHERE state = 'planned'", 2)
        assert await bench.rows("SELECT count(*) FROM orders") == [(2,)]
        ((plan,),) = await bench.rows(
            "SELECT plan::text FROM plans ORDER BY planned_at DESC LIMIT 1"
        )
        assert "clock_untrusted" in plan
        await bench.signal(action="exit")
        await bench.until(FILLED, 4)
    assert await bench.rows("SELECT DISTINCT qty FROM positions") == [(Decimal(0),)]


async def test_what_waits_in_its_lane_when_the_clock_is_stepped_is_denied_and_recorded(bench):
    await bench.set_up(2, allow_add_to_position=True)
    await wants(bench)
    host = Host(bench)
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until(FILLED, 2)
        bench.broker.delay_s = 0.4
        await bench.signal(quantity=1)
        await bench.signal(quantity=1)
        await bench.until("SELECT count(*) FROM orders", 6)
        host.now = OVER
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 0)
    states = dict(await bench.rows("SELECT state, count(*) FROM orders GROUP BY state"))
    assert states["denied"] >= 2
    assert states["denied"] + states["filled"] == 6
    told = [
        json.loads(bytes(payload))
        for (payload,) in await bench.rows(
            "SELECT payload FROM audit_inbox WHERE kind = 'order.close'"
        )
    ]
    assert {p["code"] for p in told if p["state"] == "denied"} == {"clock_untrusted"}


async def test_a_tenant_that_only_wants_to_know_trades_on(bench):
    await bench.set_up(1)
    await wants(bench, '{"clock_tier": "finra_50ms"}')
    host = Host(bench)
    host.now = OVER
    async with bench.worker():
        await bench.signal(quantity=1)
        await bench.until(FILLED, 1)


async def test_a_stop_that_is_lifted_lets_the_next_order_go(bench):
    await bench.set_up(1)
    await wants(bench)
    host = Host(bench)
    host.now = OVER
    async with bench.worker() as worker:
        await heard(worker, bench.scope.tenant_id, True, bench)
        await wants(bench, "{}")
        await heard(worker, bench.scope.tenant_id, False, bench)
        await bench.signal(quantity=1)
        await bench.until(FILLED, 1)
