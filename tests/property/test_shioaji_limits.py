"""SinoPac's limits hold whatever is asked and however it hangs: counted by the exchange itself.

Never more than 250 order operations in any 10 s, never two orders under way on one account and contract,
never more than 5 connections; over schedules of orders, looks, cancels, faults and restarts, on simulated time.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.brokers.shioaji.limits import Window
from fanout.brokers.shioaji.messages import Whose
from fanout.order import Order
from fanout.ports import Acked, RateLimited, Unsent
from loadtest.exchanges.shioaji.exchange import Exchange
from loadtest.exchanges.shioaji.faults import Faults
from loadtest.exchanges.shioaji.limits import CONNECTIONS, ORDER_OPS
from tests.builders import TENANT
from tests.contract.shioaji_venue import POOR, RICH, a_market, made_session, shioaji_settings
from tests.fakes.orders import an_account, an_order

SYMBOLS = ("TMFL6", "TXFL6")


class Simulated:
    """A clock that a sleep moves: who waits is woken in order of time."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        until = self.at + seconds
        await asyncio.sleep(0)
        self.at = max(self.at, until)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from([0.5, 0.9, 1.0])), max_size=300))
def test_a_window_never_holds_more_than_its_limit(steps: list[tuple[float, float]]) -> None:
    window, now, begun = Window(7, 10.0), 0.0, []
    for pause, share in steps:
        now += pause
        if window.wait_s(now, share) == 0:
            window.begin(now)
            begun.append(now)
        assert sum(1 for at in begun if at > now - 10.0) <= 7
    while window.wait_s(now) == 0:
        window.begin(now)
    with pytest.raises(ValueError, match="more operations"):
        window.begin(now)


def whose(number: str) -> tuple[Any, Whose]:
    account = an_account()
    return account, Whose(account_id=account.account_id, tenant_id=TENANT, number=number)


asked = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "order", "find", "cancel", "pause", "restart"]),
        st.integers(0, 3),
        st.integers(1, 60),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=8, deadline=None)
@given(schedule=asked, seed=st.integers(0, 2**16))
def test_no_schedule_breaks_the_broker_s_limits(
    schedule: list[tuple[str, int, int]], seed: int
) -> None:
    asyncio.run(trade(schedule, seed))


async def trade(schedule: list[tuple[str, int, int]], seed: int) -> None:
    time = Simulated()
    exchange = a_market()
    exchange._now = time.now
    exchange.faults = Faults(seed=seed, rate=0.1)
    exchange.dwell_s = 0.0002  # so that two that are let go at once are seen at once
    for account in exchange.accounts.values():
        account.cash = 1e9
    with tempfile.TemporaryDirectory() as directory:
        table = shioaji_settings(
            Path(directory), order_ops=250, ack_wait_s=0.001, queue_wait_s=5.0, query_timeout_s=5.0
        )
        session, journal = made_session(exchange, table, now=time.now, sleep=time.sleep)
        sent: list[tuple[Whose, Order]] = []
        for what, which, many in schedule:
            account, mine = whose((RICH, POOR)[which % 2])
            if what == "order":
                orders = [
                    an_order(account, broker="shioaji", symbol=SYMBOLS[which // 2])
                    for _ in range(many)
                ]
                lease = datetime.now(UTC) + timedelta(seconds=60)
                await asyncio.gather(*(session.submit(mine, order, lease) for order in orders))
                sent += [(mine, order) for order in orders]
            elif what == "pause":
                time.at += many / 5
            elif what == "restart":
                session.close()
                journal.close()
                session, journal = made_session(exchange, table, now=time.now, sleep=time.sleep)
            elif sent:
                act = session.find if what == "find" else session.cancel
                await asyncio.gather(*(act(*one) for one in sent[-many:]))
        session.close()
        journal.close()
    check(exchange, sent)


def check(exchange: Exchange, sent: list[tuple[Whose, Order]]) -> None:
    limits = exchange.limits
    assert limits.order_ops.worst <= ORDER_OPS
    assert limits.bans == 0
    assert limits.most_in_flight <= 1
    assert limits.most_connections <= CONNECTIONS
    assert len(exchange.orders) <= len(sent), "an order was placed twice"
    assert len({order.custom_field for order in exchange.orders.values()}) == len(exchange.orders)


async def test_the_limit_is_used_up_and_not_passed(tmp_path: Path) -> None:
    """The control: without a limit of ours the same burst is banned."""
    time, exchange = Simulated(), a_market()
    exchange._now = time.now
    exchange.accounts[RICH].cash = 1e9
    table = shioaji_settings(tmp_path, order_ops=250, queue_wait_s=1.0)
    session, journal = made_session(exchange, table, now=time.now, sleep=time.sleep)
    account, mine = whose(RICH)
    lease = datetime.now(UTC) + timedelta(seconds=60)
    outcomes = [
        await session.submit(
            mine, an_order(account, broker="shioaji", symbol="TMFL6", order_qty=Decimal(1)), lease
        )
        for _ in range(300)
    ]
    session.close()
    journal.close()
    assert exchange.limits.bans == 0
    acked = sum(isinstance(outcome, Acked) for outcome in outcomes)
    limited = [outcome for outcome in outcomes if isinstance(outcome, RateLimited | Unsent)]
    assert acked == 225, "opens leave a tenth for what closes"
    assert acked + len(limited) == 300
