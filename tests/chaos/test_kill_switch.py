"""The kill switch against workers in processes of their own and an exchange that is slow to answer."""

from __future__ import annotations

import asyncio

import pytest

from loadtest.audit import read
from loadtest.exchanges.gateio.faults import Rule
from tests.chaos.stage import Stage, staged
from tests.integration.fanout.thrown import throw

pytestmark = [pytest.mark.stack, pytest.mark.slow]

SLOW_S = 0.25
WITHIN_S = 1.0
HELD_BY_BOTH = "SELECT count(DISTINCT holder) FROM leases WHERE expires_at > now()"
INTENDED = "SELECT count(*) FROM orders"
NOT_SETTLED = "SELECT count(*) FROM orders WHERE state IN ('waiting', 'intent', 'in_doubt', 'new')"


async def arrived(stage: Stage) -> int:
    """Orders that the exchange has."""
    executed, _ = await read._exchange(stage.market.url)
    return len(executed)


@pytest.mark.parametrize("level", ["no_open", "block_all", "flatten"])
async def test_a_second_after_the_switch_nothing_that_opens_reaches_the_exchange(
    database, gateio, level
):
    """48 orders, eight in each account's lane, 0.25 s each, two processes."""
    async with staged(database, gateio, 6) as stage:
        await stage.rows(
            """UPDATE subscriptions SET settings = '{"allow_add_to_position": true}' RETURNING 1"""
        )
        workers = [await stage._start("w1"), await stage._start("w2")]
        try:
            await stage.bench.until(HELD_BY_BOTH, 2)
            await stage.market.control.set_faults(Rule(kind="delay_after", seconds=SLOW_S))
            for _ in range(8):
                await stage.signal(quantity=2)
            await stage.bench.until(INTENDED, 48)
            await throw(stage.bench, level)
            await asyncio.sleep(WITHIN_S)
            before = await arrived(stage)
            if level == "flatten":
                await stage.bench.until("SELECT state FROM interventions", "done", 30)
            else:
                await stage.bench.until(NOT_SETTLED, 0, 20)
            await asyncio.sleep(SLOW_S)
            after = await arrived(stage)
        finally:
            for worker in workers:
                worker.terminate()
                await worker.wait()
        executed = await stage.executed()
        bought = [order for order in executed if order.size > 0]
        assert 0 < len(bought) < 48
        assert (await stage.rows("SELECT count(*) FROM orders WHERE state = 'denied'")) == [
            (48 - len(bought),)
        ]
        if level == "flatten":
            assert await stage.rows("SELECT count(*) FROM positions WHERE qty <> 0") == [(0,)]
            assert sum(order.size for order in executed) == 0
        else:
            assert before == after == len(bought)
