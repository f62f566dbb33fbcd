"""Stops and targets that stand at the broker itself, tied together by the gateway."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.settings import PaperInstrument, PaperSettings
from fanout.order import Protect
from fanout.remembered import RememberedPositions
from tenancy.clock import SystemClock
from tenancy.protection import StopLoss, TakeProfit
from tests.integration.fanout.planned import leg, plan

D = Decimal
BTC = PaperInstrument(
    symbol="BTC_USDT", multiplier="0.0001", lot_step="1", min_qty="1", max_qty="1000000", tick="0.1",
    currency="USDT", last_price="50000",
)  # fmt: skip
BOTH = Protect(stop_loss=StopLoss(percent=D(2)), take_profit=TakeProfit(percent=D(4)))
BEHIND = "SELECT role, attempt, state FROM orders WHERE role <> 'main' ORDER BY leg, attempt"
AT_BROKER = "SELECT count(*) FROM orders WHERE role <> 'main' AND state = 'new'"
OPEN = "SELECT count(*) FROM orders WHERE state IN ('held', 'intent', 'new', 'partially_filled')"
POSITION = "SELECT coalesce(sum(qty), 0) FROM positions"


@pytest.fixture
async def paper(bench):
    """What remembers an account's position is our own database, as in production."""
    database = await bench.open("worker")
    made = []

    def make():
        made.append(
            PaperBroker(
                PaperSettings(instruments=[BTC]),
                SystemClock(),
                remembered=RememberedPositions(database),
            )
        )
        made[-1].request_timeout_s = 0.5  # the leases of these tests are short
        return made[-1]

    yield make
    await database.close()


@pytest.mark.parametrize(
    ("side", "to", "filled", "cancelled"),
    [("buy", 48_000, "stop", "target"), ("buy", 53_000, "target", "stop"), ("sell", 52_000, "stop", "target"),
     ("sell", 47_000, "target", "stop")],
)  # fmt: skip
async def test_the_pair_stands_at_the_broker_and_one_cancels_the_other(
    bench, paper, side, to, filled, cancelled
):
    await bench.set_up(1)
    broker = paper()
    async with bench.worker(broker):
        await plan(bench, leg(side, protect=BOTH))
        await bench.until(AT_BROKER, 2)
        broker.move("BTC_USDT", D(to))
        await bench.until(POSITION, D(0))
        await bench.until(OPEN, 0)
    states = {role: state for role, _, state in await bench.rows(BEHIND)}
    assert states == {filled: "filled", cancelled: "canceled"}
    types = "SELECT ord_type FROM orders WHERE role <> 'main' ORDER BY leg"
    assert await bench.rows(types) == [("stop",), ("limit",)]


async def test_position_that_is_closed_otherwise_cancels_what_stands_at_the_broker(bench, paper):
    await bench.set_up(1)
    async with bench.worker(paper()):
        await plan(bench, leg(protect=BOTH))
        await bench.until(AT_BROKER, 2)
        await plan(bench, leg("sell", reduce_only=True))
        await bench.until(POSITION, D(0))
        await bench.until(OPEN, 0)
    assert await bench.rows(BEHIND) == [("stop", 1, "canceled"), ("target", 1, "canceled")]


async def test_what_the_broker_dropped_is_placed_again_while_the_position_is_there(bench, paper):
    """Paper's book ends with its process; a day order at a broker ends with its day."""
    await bench.set_up(1)
    async with bench.worker(paper()):
        await plan(bench, leg(protect=BOTH))
        await bench.until(AT_BROKER, 2)
    broker = paper()
    async with bench.worker(broker, name="w2"):
        await bench.until(AT_BROKER, 2)
        await bench.until("SELECT min(attempt) FROM orders WHERE state = 'new'", 2)
        broker.move("BTC_USDT", D(48_000))
        await bench.until(POSITION, D(0))
        await bench.until(OPEN, 0)


async def test_stop_with_breakeven_and_its_target_stay_with_the_gateway(bench, paper):
    """The broker has no such thing; and two halves of a pair in two places would be tied by nobody."""
    await bench.set_up(1)
    protect = Protect(
        stop_loss=StopLoss(percent=D(2), breakeven_amount=D(300)),
        take_profit=TakeProfit(percent=D(4)),
    )
    broker = paper()
    async with bench.worker(broker):
        await plan(bench, leg(protect=protect))
        held = "SELECT count(*) FROM orders WHERE state = 'held'"
        await bench.until(held, 2)
        broker.move("BTC_USDT", D(50_300))
        await bench.until("SELECT max(stop_px) FROM orders WHERE role = 'stop'", D(50_000))
        assert await bench.rows(AT_BROKER) == [(0,)]
        broker.move("BTC_USDT", D(49_900))
        await bench.until(POSITION, D(0))
        await bench.until(OPEN, 0)


async def test_stop_entry_rests_at_a_broker_that_has_stops(bench, paper):
    await bench.set_up(1)
    broker = paper()
    async with bench.worker(broker):
        await plan(bench, leg(ord_type="stop", stop_px=D(51_000)))
        await bench.until(
            "SELECT count(*) FROM orders WHERE state = 'new' AND ord_type = 'stop'", 1
        )
        broker.move("BTC_USDT", D(51_500))
        await bench.until(POSITION, D(10))
