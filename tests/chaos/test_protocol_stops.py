"""A process is killed at each write of the stop engine, and behind a position; a fresh one finishes.

As tests/chaos/test_protocol.py; the exchange has no stops, so every one of these lives with us.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.order import Protect
from tenancy.protection import StopLoss, TakeProfit
from tests.chaos.stage import LEFT, staged
from tests.integration.fanout.planned import leg, plan

pytestmark = [pytest.mark.stack, pytest.mark.slow]

D = Decimal
ATTEMPTS = "SELECT leg, attempt, state FROM orders ORDER BY leg, attempt"
HELD = LEFT + " + (SELECT count(*) FROM orders WHERE state = 'held')"
BOTH = Protect(stop_loss=StopLoss(percent=D(2)), take_profit=TakeProfit(percent=D(4)))


async def price(stage, at: int) -> None:
    await stage.market.control.set_price("BTC_USDT", D(at))


async def held_entry(stage, **changed) -> None:
    """A stop entry that a worker has written and left."""
    await price(stage, 50_000)
    await plan(stage.bench, leg(qty=2, **({"ord_type": "stop", "stop_px": D(51_000)} | changed)))
    await stage.settles()
    assert await stage.rows(ATTEMPTS) == [(0, 1, "held")]


async def protected(stage) -> None:
    """A position with its pair behind it."""
    await price(stage, 50_000)
    await plan(stage.bench, leg(qty=2, protect=BOTH))
    await stage.settles()
    assert await stage.rows(ATTEMPTS) == [(0, 1, "filled"), (2, 1, "held"), (3, 1, "held")]


async def test_killed_before_a_held_order_is_let_go(database, gateio):
    """It is held as before; the next owner sees the price for itself."""
    async with staged(database, gateio, 1) as stage:
        await held_entry(stage)
        await price(stage, 51_500)
        await stage.dies("release_before_commit")
        assert await stage.rows(ATTEMPTS) == [(0, 1, "held")]
        assert len(await stage.settles(HELD)) == 1
        assert await stage.rows(ATTEMPTS) == [(0, 1, "filled")]


async def test_killed_after_a_held_order_was_let_go_before_it_is_sent(database, gateio):
    """An intent that nobody sent: proven absent, and the next attempt is the one."""
    async with staged(database, gateio, 1) as stage:
        await held_entry(stage)
        await price(stage, 51_500)
        await stage.dies("release_after_commit")
        assert await stage.rows(ATTEMPTS) == [(0, 1, "intent")]
        assert len(await stage.settles(HELD)) == 1
        assert await stage.rows(ATTEMPTS) == [(0, 1, "absent"), (0, 2, "filled")]


async def test_killed_while_a_stop_that_was_let_go_is_under_way(database, gateio):
    async with staged(database, gateio, 1) as stage:
        await protected(stage)
        await stage.fault("delay_before", seconds=0.3)
        await price(stage, 48_000)
        await stage.dies("send_under_way")
        assert [int(o.size) for o in await stage.settles(HELD)] == [2, -2]
        assert await stage.rows(ATTEMPTS) == [
            (0, 1, "filled"), (2, 1, "filled"), (3, 1, "canceled"),
        ]  # fmt: skip


async def test_killed_while_a_trailing_stop_moves(database, gateio):
    """What was not written is seen again, or lost with its second; it never moves back."""
    async with staged(database, gateio, 1) as stage:
        await price(stage, 50_000)
        await plan(stage.bench, leg("sell", 2, ord_type="trailing_stop", trail_amount=D(500)))
        await stage.dies("stop_moved_before_commit")
        assert await stage.rows("SELECT stop_px FROM orders") == [(None,)]
        await price(stage, 51_000)
        moved = "SELECT (SELECT count(*) FROM orders WHERE stop_px = 50500) = 0"
        await stage.settles(f"SELECT ({moved})::int")
        await price(stage, 50_400)
        assert len(await stage.settles(HELD)) == 1


async def test_killed_before_protection_is_committed_with_its_fill(database, gateio):
    """Neither the fill nor what stands behind it: the broker tells it again, and both are there."""
    async with staged(database, gateio, 1) as stage:
        await price(stage, 50_000)
        await plan(stage.bench, leg(qty=2, protect=BOTH))
        await stage.dies("protect_before_commit")
        assert await stage.rows("SELECT count(*) FROM execution_reports") == [(0,)]
        assert await stage.rows(ATTEMPTS) == [(0, 1, "intent")]
        assert len(await stage.settles()) == 1
        assert await stage.rows(ATTEMPTS) == [(0, 1, "filled"), (2, 1, "held"), (3, 1, "held")]


async def test_killed_before_the_other_of_a_pair_is_ended(database, gateio):
    """The stop has filled and nobody has written it: target and fill are settled in one commit."""
    async with staged(database, gateio, 1) as stage:
        await protected(stage)
        await price(stage, 48_000)
        await stage.dies("pair_before_commit")
        assert await stage.rows(ATTEMPTS) == [(0, 1, "filled"), (2, 1, "intent"), (3, 1, "held")]
        assert [int(o.size) for o in await stage.settles(HELD)] == [2, -2]
        assert await stage.rows(ATTEMPTS) == [
            (0, 1, "filled"), (2, 1, "filled"), (3, 1, "canceled"),
        ]  # fmt: skip


async def test_killed_while_the_time_of_an_order_ends(database, gateio):
    async with staged(database, gateio, 1) as stage:
        await price(stage, 50_000)
        await plan(stage.bench, leg(ord_type="stop", stop_px=D(90_000)), cancel_after_s=1)
        await stage.dies("timed_before_commit")
        assert await stage.rows(ATTEMPTS) == [(0, 1, "held")]
        assert await stage.settles(HELD) == []
        assert await stage.rows(ATTEMPTS) == [(0, 1, "expired")]
