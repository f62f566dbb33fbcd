"""What an account has at stake: as bad as it may still become, and unknown where it cannot be told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.exposure import (
    Book,
    Held,
    Lot,
    Pending,
    Reach,
    Realised,
    factor,
    loss_today,
    reach,
    risk_open,
    usage,
    worth,
)
from fanout.order import Protect
from tenancy.ids import new_id
from tenancy.protection import StopLoss
from tenancy.values import StrategyID

OURS, THEIRS = StrategyID(new_id()), StrategyID(new_id())
BTC, ETH = "BTC", "ETH"
D = Decimal


def lots(prices: dict[str, tuple[str, str]]):
    known = {symbol: Lot(D(price), D(point)) for symbol, (price, point) in prices.items()}
    return known.get


MARKET = lots({BTC: ("100", "2"), ETH: ("10", "0.5")})


def pending(side, quantity, *, of=OURS, symbol=BTC, ord_type="market", closes=False, **more):
    return Pending(of, symbol, side, D(quantity), ord_type, closes, **more)


def held(qty, *, of=OURS, symbol=BTC, px="100"):
    return Held(of, symbol, D(qty), None if px is None else D(px))


@pytest.mark.parametrize(
    ("position", "orders", "expected", "low", "high"),
    [
        (0, [], 0, 0, 0),
        (5, [], 5, 5, 5),
        (5, [("buy", 3, {})], 8, 5, 8),
        (5, [("buy", 3, {"ord_type": "limit"})], 5, 5, 8),
        # A close that has not filled is not counted on, and never carries through zero.
        (5, [("sell", 5, {"closes": True})], 0, 0, 5),
        (5, [("sell", 9, {"closes": True})], -4, 0, 5),
        # The two legs of a flip.
        (5, [("sell", 5, {"closes": True}), ("sell", 7, {})], -7, -7, 5),
        # A stop and a target stand behind the same lots: only one of them fills.
        (5, [("sell", 5, {"closes": True, "role": "stop", "ord_type": "stop"}),
             ("sell", 5, {"closes": True, "role": "target", "ord_type": "limit"})], 5, 0, 5),
        (-5, [("buy", 9, {"closes": True}), ("sell", 2, {"ord_type": "limit"})], 4, -7, 0),
        # Both sides rest: either may fill alone.
        (0, [("buy", 3, {"ord_type": "limit"}), ("sell", 4, {"ord_type": "limit"})], 0, -4, 3),
    ],
)  # fmt: skip
def test_a_position_reaches_as_far_as_what_is_open_may_carry_it(
    position, orders, expected, low, high
):
    found = reach(
        [held(position)] if position else [],
        [pending(side, lots, **more) for side, lots, more in orders],
    )
    assert found.get((OURS, BTC), Reach()) == Reach(D(expected), D(low), D(high))


def test_what_other_strategies_may_still_buy_or_sell_stands_beside_what_they_hold():
    book = Book(
        held=[held(5, of=THEIRS), held(1)],
        pending=[
            pending("sell", 5, of=THEIRS, closes=True),
            pending("buy", 2, of=THEIRS, ord_type="limit"),
            pending("sell", 3, ord_type="limit"),
        ],
    )
    seen = usage(book, OURS, BTC, MARKET)
    assert (seen.others, seen.others_long, seen.others_short) == (0, 7, 0)
    assert (seen.may_buy, seen.may_sell) == (0, 3)


def test_one_strategys_short_position_makes_no_room_for_anothers_long_one():
    """It may be closed at any moment, and a limit stops no exit."""
    third = StrategyID(new_id())
    book = Book(held=[held(20, of=THEIRS), held(-12, of=third)])
    seen = usage(book, OURS, BTC, MARKET)
    assert (seen.others, seen.others_long, seen.others_short) == (8, 20, 12)


def test_worth_elsewhere_is_the_larger_side_of_what_the_account_may_hold():
    """5 long of one strategy, 2 short of another: 5, whatever else rests on the smaller side."""
    book = Book(
        held=[held(5, symbol=ETH), held(-2, of=THEIRS, symbol=ETH), held(1000)],
        pending=[pending("sell", 4, symbol=ETH, ord_type="limit")],
    )
    assert usage(book, OURS, BTC, MARKET).worth_elsewhere == 5 * 10 * D("0.5")
    assert worth(reach(book.held, book.pending), MARKET) == 1000 * 100 * 2 + 25


def test_a_loss_is_what_was_realised_and_what_open_positions_are_under_water():
    book = Book(held=[held(2, px="110")], realised=[Realised(BTC, D(-30)), Realised(ETH, D(8))])
    # -30 × 2 + 8 × 0.5 - 2 × 10 × 2
    assert loss_today(book, MARKET) == 60 - 4 + 40


def test_a_profit_is_no_loss_and_pays_for_one():
    assert loss_today(Book(held=[held(2, px="90")]), MARKET) == 0
    assert loss_today(Book(held=[held(2, px="90")], realised=[Realised(BTC, D(-50))]), MARKET) == 60
    assert loss_today(Book(held=[held(-2, px="90")]), MARKET) == 40


@pytest.mark.parametrize(
    ("order", "risk"),
    [
        (pending("sell", 2, closes=True, role="stop", ord_type="stop", stop_px=D(95)), 2 * 5 * 2),
        (pending("buy", 2, closes=True, role="stop", ord_type="stop", stop_px=D(103)), 2 * 3 * 2),
        # Beyond its price it is about to be sent: no more is lost than already counts as loss.
        (pending("sell", 2, closes=True, role="stop", ord_type="stop", stop_px=D(105)), 0),
        (pending("sell", 2, closes=True, role="stop", ord_type="trailing_stop",
                 trail_percent=D(10)), 2 * 10 * 2),
        (pending("sell", 2, closes=True, role="target", ord_type="limit", price=D(130)), 0),
        (pending("buy", 2), 0),
        (pending("buy", 2, protect=Protect(stop_loss=StopLoss(percent=D(10)))), 2 * 10 * 2),
        (pending("buy", 2, ord_type="limit", price=D(90),
                 protect=Protect(stop_loss=StopLoss(stop_price=D(80)))), 2 * 10 * 2),
        (pending("sell", 2, ord_type="limit", price=D(110),
                 protect=Protect(stop_loss=StopLoss(amount=D(7)))), 2 * 7 * 2),
        (pending("sell", 2, ord_type="stop", stop_px=D(90),
                 protect=Protect(stop_loss=StopLoss(type="trailing_stop", trail_amount=D(3)))),
         2 * 3 * 2),
    ],
)  # fmt: skip
def test_open_risk_is_the_way_to_the_stop(order, risk):
    assert risk_open([order], MARKET) == risk


@pytest.mark.parametrize(
    "book",
    [
        Book(held=[held(2, symbol="DELISTED")]),
        Book(held=[held(2, px=None)]),
        Book(realised=[Realised(BTC, None)]),
        Book(realised=[Realised("DELISTED", D(1))]),
    ],
)
def test_a_loss_that_cannot_be_told_is_unknown(book):
    assert loss_today(book, MARKET) is None


def test_worth_and_risk_that_cannot_be_told_are_unknown():
    book = Book(held=[held(2, symbol="DELISTED")])
    assert usage(book, OURS, BTC, MARKET).worth_elsewhere is None
    assert (
        risk_open([pending("sell", 1, closes=True, role="stop", ord_type="trailing_stop")], MARKET)
        is None
    )
    unknown = pending("buy", 1, symbol="?", protect=Protect(stop_loss=StopLoss(percent=D(1))))
    assert risk_open([unknown], MARKET) is None


def test_what_is_not_asked_for_is_not_looked_up():
    book = Book(held=[held(2, symbol="DELISTED")])
    seen = usage(book, OURS, BTC, MARKET, money=False)
    assert (seen.worth_elsewhere, seen.loss_today, seen.risk_open) == (0, 0, 0)


def test_a_rate_holds_in_both_directions_and_makes_no_chains():
    rates = {"USD/TWD": D("32"), "EUR/USD": D("1.25")}
    assert factor(rates, "USD", "TWD") == 32
    assert factor(rates, "TWD", "USD") == D("0.03125")
    assert factor(rates, "USD", "USD") == 1
    assert factor(rates, "EUR", "TWD") is None
    assert factor({"USD/TWD": D(3)}, "TWD", "USD") > D("0.33333333333333333333")
