"""What a day realised is what its fills say: recounted with fractions, by an arithmetic of our own."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest

from tenancy.windows import TradingDay
from tests.fakes.broker import FakeBroker
from tests.integration.fanout.sharing import another, join, signal_for

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"
FILLS = """
SELECT r.account_id, o.strategy_id, o.side, r.last_qty, r.last_px, r.at FROM execution_reports r
JOIN orders o USING (cl_ord_id) WHERE r.exec_type = 'trade' ORDER BY r.at"""
RESULTS = "SELECT account_id, strategy_id, day, realised FROM daily_results"


class MovingBroker(FakeBroker):
    """Each order fills at the next of `prices`, and `tick` later than the one before by its clock."""

    def __init__(self, prices, *, begin: datetime, tick: timedelta) -> None:
        super().__init__()
        self._prices = iter(prices)
        self._now, self._tick = begin, tick

    def _execute(self, order) -> None:
        super()._execute(order)
        self._now += self._tick
        price = next(self._prices)
        self.reports[order.cl_ord_id] = msgspec.structs.replace(
            self.reports[order.cl_ord_id], avg_px=price, transact_time=self._now
        )


def recount(fills):
    """(account, strategy, day): price times lots of what was closed against its average entry."""
    lots: dict = defaultdict(Fraction)
    cost: dict = defaultdict(Fraction)  # of the lots held, signed like them
    results: dict = defaultdict(Fraction)
    for account, strategy, side, qty, px, at in fills:
        key, price = (account, strategy), Fraction(px)
        left = Fraction(qty) if side == "buy" else -Fraction(qty)
        if lots[key] * left < 0:
            closed = min(abs(left), abs(lots[key]))
            entry = cost[key] / lots[key]
            sign = 1 if lots[key] > 0 else -1
            results[account, strategy, at.date()] += sign * closed * (price - entry)
            cost[key] -= sign * closed * entry
            lots[key] -= sign * closed
            left += sign * closed
        lots[key] += left
        cost[key] += left * price
    return {key: amount for key, amount in results.items() if amount}


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_days_results_are_what_its_fills_realised(bench, admin, seed):
    """Adds, partial exits and flips at moving prices, two strategies in two accounts, over three days."""
    chance = random.Random(seed)
    prices = (Decimal(chance.randrange(400_000, 600_000)) / 10 for _ in iter(int, 1))
    begin = datetime(2026, 3, 7, 22, tzinfo=UTC)
    broker = MovingBroker(prices, begin=begin, tick=timedelta(minutes=25))
    await bench.set_up(2, allow_add_to_position=True)
    other = await another(bench, admin, "other")
    for each in bench.accounts:
        await join(bench, admin, [other], each)
    async with bench.worker(broker):
        for _ in range(40):
            asked = chance.choice(["buy", "sell", "exit", "add"])
            await signal_for(
                bench, chance.choice([bench.strategy, other]), action=asked,
                quantity=chance.randrange(1, 9),
            )  # fmt: skip
        await bench.until("SELECT count(*) FROM signals WHERE state = 'planned'", 40)
        await bench.until("SELECT count(*) FROM orders WHERE state NOT IN ('filled')", 0)
    wanted = recount(await bench.rows(FILLS))
    got = {(a, s, day): realised for a, s, day, realised in await bench.rows(RESULTS)}
    got = {key: amount for key, amount in got.items() if amount}
    assert {day for _, _, day in wanted} >= {date(2026, 3, 8)}
    assert got.keys() == wanted.keys()
    for key, amount in wanted.items():
        # An average is kept to 24 places; nothing else is rounded.
        assert abs(Fraction(got[key]) - amount) < Fraction(1, 10**20)


async def test_a_fill_counts_for_the_tenants_trading_day(bench):
    """By the broker's time and the tenant's clocks: 21:30 UTC is the 7th where days begin at 17:00 in Chicago."""
    chicago = TradingDay(start="17:00", time_zone="America/Chicago")
    setting = msgspec.json.encode({"trading_day": chicago}).decode()
    await bench.set_up(1)
    await bench.rows("UPDATE tenants SET settings = %s::jsonb RETURNING 1", setting)
    begin = datetime(2026, 3, 8, 20, 30, tzinfo=UTC)
    prices = map(Decimal, (100, 90, 100, 80))
    async with bench.worker(MovingBroker(prices, begin=begin, tick=timedelta(minutes=30))):
        for n, fields in enumerate(({}, {"action": "exit"}) * 2, start=1):
            await bench.signal(quantity=1, **fields)
            await bench.until(DONE, n)
    assert await bench.rows("SELECT day, realised FROM daily_results ORDER BY day") == [
        (date(2026, 3, 7), -10),
        (date(2026, 3, 8), -20),
    ]


async def test_a_fill_without_a_price_makes_the_days_result_unknown(bench):
    await bench.set_up(1)
    begin = datetime(2026, 3, 8, 12, tzinfo=UTC)
    prices = [Decimal(100), None, Decimal(100), Decimal(90)]
    async with bench.worker(MovingBroker(prices, begin=begin, tick=timedelta(minutes=1))):
        for n, fields in enumerate(({}, {"action": "exit"}) * 2, start=1):
            await bench.signal(quantity=1, **fields)
            await bench.until(DONE, n)
    assert await bench.rows("SELECT realised FROM daily_results") == [(None,)]
