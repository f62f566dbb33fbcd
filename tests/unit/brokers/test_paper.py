"""Paper's own rules: prices, resting orders, and what a restart means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.book import PaperBook
from fanout.brokers.paper.money import Means
from fanout.brokers.paper.settings import PaperInstrument, PaperSettings, PaperTick
from fanout.order import Order, OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    Acked,
    BrokerAccount,
    BrokerPosition,
    CancelUnknown,
    Found,
    Rejected,
    Unsent,
)
from tenancy.clock import SystemClock
from tenancy.errors import Unavailable
from tests.contract.venues import BTC
from tests.fakes.orders import an_account, an_order, submitted

ACCOUNT = an_account()


def paper(account_rows: Sequence[BrokerPosition] = (), **settings: Any) -> PaperBroker:
    async def remembered(_: BrokerAccount) -> Sequence[BrokerPosition]:
        return account_rows

    facts = PaperSettings(instruments=[BTC], **settings)
    return PaperBroker(facts, SystemClock(), remembered=remembered)


def lots(qty: str | int, **changed: Any) -> Order:
    return an_order(ACCOUNT, order_qty=Decimal(qty), **changed)


@pytest.mark.parametrize(("side", "price"), [("buy", "60060"), ("sell", "59940")])
async def test_slippage_is_always_against_the_customer(side: str, price: str) -> None:
    outcome = await submitted(paper(slippage_bps="10"), ACCOUNT, lots(10, side=side))
    assert isinstance(outcome, Acked)
    assert outcome.report.avg_px == Decimal(price)


async def test_positions_are_remembered_over_a_restart() -> None:
    """A close after a restart must find what it closes."""
    before = BrokerPosition(
        symbol="BTC_USDT", qty=Decimal(10), avg_px=Decimal(50_000), unrealised_pnl=None
    )
    broker = paper([before])
    (row,) = await broker.positions(ACCOUNT)
    assert (row.qty, row.unrealised_pnl) == (10, Decimal(10))
    outcome = await submitted(broker, ACCOUNT, lots(10, side="sell", reduce_only=True))
    assert isinstance(outcome, Acked)
    assert list(await broker.positions(ACCOUNT)) == []


async def test_under_a_newer_lease_the_book_is_read_anew() -> None:
    """Another worker may have traded the account in between."""
    rows: list[BrokerPosition] = []
    broker = paper(rows)
    assert isinstance(await submitted(broker, ACCOUNT, lots(10, epoch=3)), Acked)
    rows.append(
        BrokerPosition(symbol="BTC_USDT", qty=Decimal(50), avg_px=None, unrealised_pnl=None)
    )
    assert isinstance(await submitted(broker, ACCOUNT, lots(2, epoch=3)), Acked)
    assert (await broker.positions(ACCOUNT))[0].qty == 12
    assert isinstance(await submitted(broker, ACCOUNT, lots(2, epoch=5)), Acked)
    assert (await broker.positions(ACCOUNT))[0].qty == 52


async def test_after_a_restart_an_order_never_acknowledged_is_absent_and_another_is_canceled() -> (
    None
):
    broker = paper()
    now = datetime.now(UTC)
    assert isinstance(await broker.find(ACCOUNT, lots(1), sent_by=now), AbsentProven)
    known = lots(10, broker_order_id="paper-1", cum_qty=Decimal(4), avg_px=Decimal(60_000))
    lookup = await broker.find(ACCOUNT, known, sent_by=now)
    assert isinstance(lookup, Found)
    assert (lookup.report.ord_status, lookup.report.cum_qty) == (OrdState.CANCELED, 4)


async def test_without_its_memory_paper_neither_trades_nor_answers() -> None:
    async def gone(_: BrokerAccount) -> Sequence[BrokerPosition]:
        raise Unavailable("database away")

    broker = PaperBroker(PaperSettings(instruments=[BTC]), SystemClock(), remembered=gone)
    assert isinstance(await submitted(broker, ACCOUNT, lots(10)), Unsent)
    lookup = await broker.find(ACCOUNT, lots(10), sent_by=datetime.now(UTC))
    assert isinstance(lookup, AbsentUnproven)
    assert isinstance(await broker.cancel(ACCOUNT, lots(10)), CancelUnknown)
    with pytest.raises(Unavailable):
        await broker.positions(ACCOUNT)


async def test_without_prices_nothing_is_filled() -> None:
    async def source() -> dict:
        raise Unavailable("no prices")

    broker = PaperBroker(PaperSettings(), SystemClock(), source=source)
    assert isinstance(await submitted(broker, ACCOUNT, lots(10)), Unsent)


async def test_another_brokers_table_can_be_imitated() -> None:
    theirs = paper()
    broker = PaperBroker(PaperSettings(), SystemClock(), source=theirs.instruments)
    order = lots(10, ord_type="limit", price=Decimal(50_000))
    assert isinstance(await submitted(broker, ACCOUNT, order), Acked)
    theirs.move("BTC_USDT", Decimal(49_000))
    assert list(await broker.open_orders(ACCOUNT)) == []
    assert (await broker.positions(ACCOUNT))[0].avg_px == Decimal(50_000)


async def test_no_stated_equity_opens_nothing_but_closes() -> None:
    held = BrokerPosition(symbol="BTC_USDT", qty=Decimal(10), avg_px=None, unrealised_pnl=None)
    broker = paper([held])
    unstated = an_account(stated_equity=None)
    refusal = await submitted(broker, unstated, lots(10))
    assert isinstance(refusal, Rejected)
    assert refusal.kind == "funds"
    closing = await submitted(broker, unstated, lots(10, side="sell", reduce_only=True))
    assert isinstance(closing, Acked)
    assert await broker.equity(unstated) is None


async def test_resting_orders_count_against_the_funds() -> None:
    """Otherwise ten limit orders could each use the same money."""
    broker = paper()
    rest: dict[str, Any] = {"ord_type": "limit", "price": Decimal(50_000)}
    outcomes = [await submitted(broker, ACCOUNT, lots(9_000, **rest)) for _ in range(3)]
    assert [type(one) for one in outcomes] == [Acked, Acked, Rejected]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(2, 50)), max_size=30))
async def test_positions_are_the_sum_of_all_fills(trades: list[tuple[bool, int]]) -> None:
    book = PaperBook({})
    now = datetime.now(UTC)
    table = {"BTC_USDT": BTC.instrument(now)}
    total = 0
    for buy, qty in trades:
        order = lots(qty, side="buy" if buy else "sell")
        book.place(order, table, means=Means(Decimal(10**9), Decimal(1)), now=now)
        total += qty if buy else -qty
    assert sum(row.qty for row in book.positions(table)) == total


def declared(**changed: Any) -> PaperInstrument:
    """BTC without quotes of its own, and with these changes."""
    facts = {name: getattr(BTC, name) for name in BTC.__struct_fields__}
    return PaperInstrument(**(facts | {"spread_bps": None} | changed))


def selling(*instruments: PaperInstrument) -> PaperBroker:
    return PaperBroker(PaperSettings(instruments=list(instruments)), SystemClock())


@pytest.mark.parametrize(
    ("said", "before", "after"),
    [
        ({}, (None, None), (None, None)),
        ({"spread_bps": "2"}, (59994, 60006), (Decimal("49995"), Decimal("50005"))),
        ({"bid": "59999", "ask": "60003"}, (59999, 60003), (49999, 50003)),
    ],
)
async def test_quotes_go_with_the_price(said: dict, before: tuple, after: tuple) -> None:
    broker = selling(declared(**said))
    quoted = (await broker.instruments())["BTC_USDT"]
    assert (quoted.bid, quoted.ask) == before
    broker.move("BTC_USDT", Decimal(50_000))
    quoted = (await broker.instruments())["BTC_USDT"]
    assert (quoted.bid, quoted.ask, quoted.mark_price) == (*after, 50_000)


async def test_an_order_worth_too_little_is_refused_unless_it_reduces() -> None:
    """10 lots of 0.0001 at 60,000 are worth 60."""
    broker = selling(declared(min_notional="61"))
    refusal = await submitted(broker, ACCOUNT, lots(10))
    assert isinstance(refusal, Rejected)
    assert refusal.code == "ORDER_VALUE_TOO_SMALL"
    assert isinstance(await submitted(broker, ACCOUNT, lots(11)), Acked)
    assert isinstance(
        await submitted(broker, ACCOUNT, lots(10, side="sell", reduce_only=True)), Acked
    )


async def test_the_tick_is_that_of_the_price() -> None:
    table = (PaperTick(from_="0", tick="0.1"), PaperTick(from_="50000", tick="10"))
    broker = selling(declared(tick_table=table))
    for price, taken in [("49999.9", True), ("50000", True), ("50001", False), ("50010", True)]:
        order = lots(10, ord_type="limit", price=Decimal(price))
        outcome = await submitted(broker, ACCOUNT, order)
        assert isinstance(outcome, Acked if taken else Rejected), (price, outcome)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"bid": "1"}, "bid and ask"),
        ({"bid": "2", "ask": "1"}, "above ask"),
        ({"bid": "1", "ask": "2", "spread_bps": "1"}, "instead"),
        ({"spread_bps": "10000"}, "spread_bps"),
        ({"min_notional": "-1"}, "min_notional"),
        ({"tick_table": (PaperTick(from_="1", tick="0"),)}, "tick"),
        ({"tick_table": (PaperTick(from_="1", tick="1"),) * 2}, "rises"),
        ({"kind": "option", "underlying": "SPY"}, "an option has"),
        ({"strike": "1"}, "kind option"),
    ],
)
def test_settings_refuse_what_contradicts_itself(said: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        declared(**said)


def test_settings_refuse_what_cannot_be_traded() -> None:
    with pytest.raises(ValueError, match="tick"):
        PaperInstrument(
            **({name: getattr(BTC, name) for name in BTC.__struct_fields__} | {"tick": "0"})
        )
    with pytest.raises(ValueError, match="once"):
        PaperSettings(instruments=[BTC, BTC])
    with pytest.raises(ValueError, match="slippage"):
        PaperSettings(slippage_bps="-1")
