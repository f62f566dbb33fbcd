"""The gateway's own stops, at a broker that has market and limit orders alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fanout.order import OrdState, Protect
from fanout.reasons import Reason
from tenancy.protection import StopLoss, TakeProfit
from tests.integration.fanout.planned import leg, plan

D = Decimal
HELD = "SELECT count(*) FROM orders WHERE state = 'held'"
BOTH = Protect(stop_loss=StopLoss(percent=D(2)), take_profit=TakeProfit(percent=D(4)))
STOP = Protect(stop_loss=StopLoss(percent=D(2)))
BEHIND = (
    "SELECT role, attempt, state, order_qty FROM orders WHERE role <> 'main' ORDER BY leg, attempt"
)
POSITION = "SELECT coalesce(sum(qty), 0) FROM positions"
LEFT = "SELECT count(*) FROM orders WHERE state NOT IN ('filled', 'canceled', 'expired', 'held', 'new')"
KINDS = "SELECT kind FROM audit_inbox WHERE oid = %s ORDER BY seq"


async def entered(bench, protect=BOTH, qty=10, side="buy"):
    """A position with something behind it, held."""
    await plan(bench, leg(side, qty, protect=protect))
    await bench.until("SELECT count(*) FROM orders WHERE role = 'main' AND state = 'filled'", 1)


# ------------------------------------------------------------------ entries that wait


@pytest.mark.parametrize(
    ("side", "stop", "before", "then"), [("buy", 51_000, 50_999, 51_000), ("sell", 49_000, 49_001, 48_000)]
)  # fmt: skip
async def test_stop_entry_is_held_until_its_price_and_sent_once(bench, side, stop, before, then):
    await bench.set_up(1)
    async with bench.worker():
        await plan(bench, leg(side, ord_type="stop", stop_px=D(stop)))
        await bench.until(HELD, 1)
        bench.broker.price = D(before)
        await asyncio.sleep(0.3)
        assert bench.broker.executed == []
        bench.broker.price = D(then)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    (sent,) = bench.broker.executed
    assert (sent.ord_type, sent.asked_type, sent.trigger_px) == ("market", "stop", D(then))
    kinds = [kind for (kind,) in await bench.rows(KINDS, sent.order_id)]
    assert kinds == [
        "order.held",
        "order.intent",
        "order.sent",
        "order.acknowledged",
        "order.fill",
        "order.close",
    ]


async def test_stop_limit_entry_goes_out_as_a_limit_at_its_price(bench):
    await bench.set_up(1)
    async with bench.worker():
        await plan(bench, leg(ord_type="stop_limit", stop_px=D(51_000), price=D("51_100.3")))
        await bench.until(HELD, 1)
        bench.broker.price = D(51_050)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
    (sent,) = bench.broker.executed
    assert (sent.ord_type, sent.price, sent.asked_type) == ("limit", D("51100.3"), "stop_limit")


async def test_held_entry_that_a_signal_cancels_is_never_sent(bench):
    await bench.set_up(1)
    async with bench.worker() as worker:
        await plan(bench, leg(ord_type="stop", stop_px=D(51_000)))
        await bench.until(HELD, 1)
        await bench.signal(action="cancel")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 1)
        bench.broker.price = D(52_000)
        await asyncio.sleep(0.3)
        assert worker.lanes.known == set()
    assert bench.broker.executed == []
    closes = "SELECT count(*) FROM audit_inbox WHERE kind = 'order.close'"
    assert await bench.rows(closes) == [(1,)]


async def test_the_next_owner_watches_on_and_a_trailing_stop_goes_on_from_where_it_was(bench):
    """The best price was 52,000 before the crash; after it the market has not been there again."""
    await bench.set_up(1)
    async with bench.crashing_worker() as crash:
        await plan(bench, leg("sell", ord_type="trailing_stop", trail_amount=D(500)))
        await bench.until(HELD, 1)
        bench.broker.price = D(52_000)
        await bench.until("SELECT coalesce(max(stop_px), 0) FROM orders", D(51_500))
        await crash()
    bench.broker.price = D("51_600")
    async with bench.worker(name="w2"):
        await bench.until("SELECT count(*) FROM leases WHERE starts_with(holder, 'w2-')", 16)
        await asyncio.sleep(0.3)
        assert bench.broker.executed == []
        bench.broker.price = D(51_500)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    assert len(bench.broker.executed) == 1


@pytest.mark.parametrize("blind", ["stale", "missing"])
async def test_without_a_fresh_price_nothing_is_let_go_and_the_row_says_so(bench, blind):
    await bench.set_up(1)
    async with bench.worker():
        await plan(bench, leg(ord_type="stop", stop_px=D(51_000)))
        await bench.until(HELD, 1)
        if blind == "stale":
            old = datetime.now(UTC) - timedelta(seconds=31)
            bench.broker.as_of = lambda: old
            bench.broker.price = D(52_000)
        else:
            bench.broker.price = None
        said = "SELECT count(*) FROM orders WHERE state = 'held' AND starts_with(text, 'no fresh price')"
        await bench.until(said, 1)
        assert bench.broker.executed == []
        bench.broker.as_of = lambda: datetime.now(UTC)
        bench.broker.price = D(52_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    assert len(bench.broker.executed) == 1


# ------------------------------------------------------------------ behind a position


@pytest.mark.parametrize(("side", "to"), [("buy", 49_000), ("sell", 51_000)])
async def test_stop_closes_the_position_and_takes_the_target_with_it(bench, side, to):
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench, side=side)
        await bench.until(HELD, 2)
        bench.broker.price = D(to)
        await bench.until(POSITION, D(0))
        await bench.until(HELD, 0)
    assert await bench.rows(BEHIND) == [("stop", 1, "filled", 10), ("target", 1, "canceled", 10)]
    _, stop = bench.broker.executed
    assert (stop.reduce_only, stop.ord_type, stop.order_qty) == (True, "market", 10)


async def test_levels_count_from_the_fill_price_and_are_on_the_tick(bench):
    await bench.set_up(1)
    bench.broker.price = D("50000.7")
    async with bench.worker():
        await entered(bench)
        await bench.until(HELD, 2)
    rows = await bench.rows("SELECT stop_px, price FROM orders WHERE role <> 'main' ORDER BY leg")
    assert rows == [(D("49000.6"), None), (None, D("52000.8"))]  # 49000.686 down, 52000.728 up


async def test_target_goes_out_at_once_or_not_at_all_and_what_is_left_is_held_again(bench):
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench)
        await bench.until(HELD, 2)
        bench.broker.ioc_fills = D(4)
        bench.broker.price = D(52_000)
        await bench.until(POSITION, D(6))
        assert [r[1:] for r in await bench.rows(BEHIND) if r[0] == "stop"] == [(1, "held", 6)]
        bench.broker.ioc_fills = None
        await bench.until(POSITION, D(0))
        await bench.until(HELD, 0)
    assert await bench.rows(BEHIND) == [
        ("stop", 1, "canceled", 6), ("target", 1, "canceled", 10), ("target", 2, "filled", 6),
    ]  # fmt: skip
    assert {o.price for o in bench.broker.executed if o.role == "target"} == {D(52_000)}


async def test_target_alone_rests_at_a_broker_that_has_reduce_only(bench):
    """There is no stop that it would have to be tied to."""
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench, Protect(take_profit=TakeProfit(percent=D(4))))
        await bench.until("SELECT count(*) FROM orders WHERE role = 'target' AND state = 'new'", 1)
    target = bench.broker.executed[-1]
    assert (target.ord_type, target.price, target.reduce_only) == ("limit", D(52_000), True)


async def test_breakeven_brings_the_stop_to_the_entry(bench):
    await bench.set_up(1)
    protect = Protect(stop_loss=StopLoss(percent=D(2), breakeven_amount=D(300)))
    async with bench.worker():
        await entered(bench, protect)
        await bench.until(HELD, 1)
        bench.broker.price = D(50_300)
        await bench.until("SELECT max(stop_px) FROM orders WHERE role = 'stop'", D(50_000))
        bench.broker.price = D(49_990)
        await bench.until(POSITION, D(0))


async def test_position_that_is_closed_otherwise_leaves_nothing_behind(bench):
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench)
        await bench.until(HELD, 2)
        await plan(bench, leg("sell", reduce_only=True))
        await bench.until(POSITION, D(0))
        await bench.until(HELD, 0)
        bench.broker.price = D(40_000)
        await asyncio.sleep(0.3)
    assert len(bench.broker.executed) == 2
    texts = "SELECT DISTINCT text FROM orders WHERE role <> 'main'"
    assert await bench.rows(texts) == [("the position is closed",)]


async def test_stop_is_cut_to_the_position_that_is_left(bench):
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench)
        await bench.until(HELD, 2)
        await plan(bench, leg("sell", 7, reduce_only=True))
        await bench.until(POSITION, D(3))
        bench.broker.price = D(40_000)
        await bench.until(POSITION, D(0))
        await bench.until(HELD, 0)
    assert bench.broker.executed[-1].order_qty == 3


async def test_stop_waits_while_another_order_closes_the_position(bench):
    """Else the two together would turn it."""
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench, STOP)
        await bench.until(HELD, 1)
        bench.broker.delay_s = 0.4
        await plan(bench, leg("sell", reduce_only=True))
        await bench.until("SELECT count(*) FROM orders WHERE state = 'intent'", 1)
        bench.broker.price = D(40_000)
        await bench.until(POSITION, D(0))
        await bench.until(HELD, 0)
    assert [o.role for o in bench.broker.executed] == ["main", "main"]


async def test_each_entry_has_its_own_pair_and_both_stop_what_is_theirs(bench):
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench, STOP)
        await plan(bench, leg(qty=5, protect=Protect(stop_loss=StopLoss(percent=D(1)))))
        await bench.until(HELD, 2)
        bench.broker.price = D(49_400)
        await bench.until(POSITION, D(10))
        await bench.until(HELD, 1)
        bench.broker.price = D(48_900)
        await bench.until(POSITION, D(0))
    assert [o.order_qty for o in bench.broker.executed if o.role == "stop"] == [5, 10]


async def test_protection_grows_with_the_fills_of_its_entry(bench):
    await bench.set_up(1)
    async with bench.worker():
        await plan(bench, leg(ord_type="limit", price=D(50_000), protect=STOP))
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        for filled, want in ((4, 4), (7, 7), (10, 10)):
            bench.broker.fill(bench.broker.executed[0], D(filled))
            await bench.until(
                "SELECT coalesce(max(order_qty), 0) FROM orders WHERE role = 'stop'", D(want)
            )
    assert await bench.rows(BEHIND) == [("stop", 1, "held", 10)]
    kinds = "SELECT count(*) FROM audit_inbox WHERE kind = 'order.amend'"
    assert await bench.rows(kinds) == [(2,)]


async def test_refused_stop_is_held_again_and_goes_out_later(bench):
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench, STOP)
        await bench.until(HELD, 1)
        bench.broker.faults.append("reject")
        bench.broker.price = D(40_000)
        await bench.until(POSITION, D(0))
    assert await bench.rows(BEHIND) == [("stop", 1, "rejected", 10), ("stop", 2, "filled", 10)]


async def test_action_cancel_takes_protection_away_and_an_ordinary_signal_does_not(bench):
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench)
        await bench.until(HELD, 2)
        await plan(bench, cancel_open=True)
        await asyncio.sleep(0.3)
        assert await bench.rows(HELD) == [(2,)]
        await plan(bench, cancel_open=True, reason=Reason.CANCEL_ONLY)
        await bench.until(HELD, 0)


# ------------------------------------------------------------------ halts


@pytest.mark.parametrize(("state", "goes"), [("halted", False), ("reducing", True)])
async def test_halted_stops_protective_exits_too_and_says_so_and_reducing_does_not(
    bench, state, goes
):
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench, STOP)
        await bench.until(HELD, 1)
        await bench.rows("UPDATE accounts SET state = %s RETURNING 1", state)
        bench.broker.price = D(40_000)
        if not goes:
            said = "SELECT count(*) FROM orders WHERE state = 'held' AND text LIKE '%%halted%%'"
            await bench.until(said, 1)
            assert len(bench.broker.executed) == 1
            await bench.rows("UPDATE accounts SET state = 'active' RETURNING 1")
        await bench.until(POSITION, D(0))


# ------------------------------------------------------------------ cancelAfter


async def test_cancel_after_ends_what_is_held_and_cancels_what_rests(bench):
    await bench.set_up(1)
    async with bench.worker():
        await plan(bench, leg(ord_type="stop", stop_px=D(60_000)), cancel_after_s=1)
        await plan(bench, leg(ord_type="limit", price=D(40_000)), cancel_after_s=1)
        await bench.until("SELECT count(*) FROM orders WHERE state IN ('held', 'new')", 2)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'expired'", 1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 1)
    assert len(bench.broker.executed) == 1


# ------------------------------------------------------------------ lanes


async def test_doubt_in_one_instrument_does_not_stop_another_of_the_account(bench):
    await bench.set_up(1)
    bench.broker.faults.append("lost_after")
    bench.broker.finds.extend(["unproven"] * 100_000)
    async with bench.worker():
        await plan(bench, leg())
        await bench.until("SELECT count(*) FROM orders WHERE state = 'in_doubt'", 1)
        await plan(bench, leg(), symbol="ETH_USDT")
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        await plan(bench, leg())
        await asyncio.sleep(0.2)
        assert len(bench.broker.executed) == 2
        bench.broker.finds.clear()
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 3)
    assert [o.symbol for o in bench.broker.executed] == ["BTC_USDT", "ETH_USDT", "BTC_USDT"]
    assert {report.ord_status for report in bench.broker.reports.values()} == {OrdState.FILLED}
