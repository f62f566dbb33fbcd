"""Questions that each fit under a limit, and together do not: what is approved last is void."""

from __future__ import annotations

from tests.integration.fanout.asking import LEFT, answer, asked, asking
from tests.integration.fanout.sharing import another, join, limit, signal_for


async def test_two_resting_orders_that_were_approved_do_not_exceed_a_position_limit(bench, admin):
    """Neither moves the position that the other was planned for: only the limit knows of both."""
    await asking(bench)
    await limit(bench, admin, '{"max_position_quantity": "3"}', bench.accounts[0])
    async with bench.worker():
        signals = [await asked(bench, quantity=2, orderType="limit", limitPrice=40_000, cancel=False)
                   for _ in range(2)]  # fmt: skip
        for signal in signals:
            await answer(bench, admin, signal, bench.accounts[0])
        await bench.until(LEFT, 0)
    assert await bench.rows("SELECT state, order_qty FROM orders") == [("new", 2)]
    assert await bench.rows("SELECT state, why FROM signal_approvals ORDER BY state") == [
        ("approved", None),
        ("void", "max_position_quantity"),
    ]


async def test_what_another_strategy_traded_meanwhile_counts_against_a_yes(bench, admin):
    await asking(bench)
    other = await another(bench, admin, "other")
    await join(bench, admin, [other], bench.accounts[0])
    await limit(bench, admin, '{"max_orders_per_minute": 1}', bench.accounts[0])
    async with bench.worker():
        signal = await asked(bench)
        await signal_for(bench, other)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        await answer(bench, admin, signal, bench.accounts[0])
        await bench.until(LEFT, 0)
    assert await bench.rows("SELECT state, why FROM signal_approvals") == [
        ("void", "max_orders_per_minute")
    ]
