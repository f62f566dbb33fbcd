"""A day's fills against the broker's statement: sums, midnight, strangers, and each kind of difference."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D

import pytest

from fanout.abilities import BrokerFill
from fanout.fill_check import OwnFill, asked, differences, facts, span

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
START, END = span(DAY)


def own(qty: str = "10", price: str | None = "100", at: datetime = NOON, **changed) -> OwnFill:
    said = {"cl_ord_id": "o.1", "symbol": "BTC_USDT", "side": "buy"} | changed
    return OwnFill(qty=D(qty), price=None if price is None else D(price), at=at, **said)


def trade(qty: str = "10", price: str = "100", at: datetime = NOON, **changed) -> BrokerFill:
    said = {
        "trade_id": "t", "broker_order_id": "b", "cl_ord_id": "o.1", "symbol": "BTC_USDT",
        "side": "buy",
    } | changed  # fmt: skip
    return BrokerFill(qty=D(qty), price=D(price), at=at, **said)


def found(ours: list[OwnFill], theirs: list[BrokerFill]) -> list[str]:
    return [one.what for one in differences(DAY, ours, theirs)]


def test_many_trades_that_are_one_fill_of_ours_agree():
    theirs = [trade("3", "100"), trade("7", "101")]
    assert found([own("10", "100.7")], theirs) == []


def test_a_price_that_was_computed_from_averages_agrees_within_a_billionth():
    assert found([own("3", "33.333333333333333333")], [trade("3", "33.3333333333")]) == []
    assert found([own("3", "33.34")], [trade("3", "33.33")]) == ["amount"]


@pytest.mark.parametrize(
    ("ours", "theirs", "what"),
    [
        ([], [trade()], "missing"),
        ([own()], [], "extra"),
        ([own("9")], [trade("10")], "amount"),
        ([own(side="sell")], [trade()], "amount"),
        ([own(), own()], [trade()], "amount"),
    ],
)
def test_each_difference_has_its_name(ours, theirs, what: str):
    assert found(ours, theirs) == [what]


def test_a_fill_of_ours_without_a_price_is_compared_in_lots_alone():
    assert found([own(price=None)], [trade()]) == []
    assert found([own("9", None)], [trade()]) == ["amount"]


def test_a_fill_that_the_two_clocks_put_on_different_sides_of_midnight_is_no_difference():
    second = timedelta(seconds=1)
    assert found([own(at=END + second)], [trade(at=END - second)]) == []
    assert found([own(at=START - second)], [trade(at=START + second)]) == []


def test_what_is_another_days_on_both_sides_is_not_looked_at():
    early = START - timedelta(minutes=10)
    assert found([own("1", at=early)], [trade("2", at=early)]) == []


def test_what_is_asked_for_reaches_beyond_the_day_on_both_sides():
    since, until = asked(DAY)
    assert since < START
    assert until > END


def test_what_somebody_else_traded_in_the_account_is_told_and_is_no_disagreement():
    theirs = [trade(), trade(cl_ord_id=None, broker_order_id="x")]
    strange = differences(DAY, [own()], theirs)
    assert [one.what for one in strange] == ["foreign"]
    said = facts(DAY, "gateio", 1, 2, strange)
    assert (said["event"], said["differences"], said["foreign"]) == ("agreed", 0, 1)


def test_a_difference_says_both_sides_in_lots_and_money():
    (one,) = differences(DAY, [own("9", "100")], [trade("10", "100")])
    assert one.told() == {
        "what": "amount", "symbol": "BTC_USDT", "order": "o.1", "ours": "9", "theirs": "10",
        "our_money": "900", "their_money": "1000",
    }  # fmt: skip
    assert facts(DAY, "gateio", 1, 1, [one])["event"] == "differ"
