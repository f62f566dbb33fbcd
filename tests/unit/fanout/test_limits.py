"""Limits on what opens: in their order, exact, and never in the way of an exit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from audit.record import Kind
from fanout import evidence
from fanout.market import AccountNow
from fanout.plan import Plan, PlanEntry
from fanout.reasons import Reason
from tenancy.limits import EffectiveLimits, Limits, tightest
from tests.builders import instrument, market, plan, signal, snapshot, subscribed


def held_to(*, over: str = "skip", **limits: str) -> EffectiveLimits:
    numbers = {name: Decimal(value) for name, value in limits.items()}
    own = Limits(over_limit=over, **numbers)  # type: ignore[arg-type]
    return tightest([("tenant", own)])


def traded(
    limits: EffectiveLimits, now: AccountNow | None = None, *, lots: Any = None, **fields: Any
) -> PlanEntry:
    snap = snapshot(subscribed(held_to=limits))
    asked = signal(**{"quantity": 10, **fields})
    made: Plan = plan(asked, snap, market(snap, {0: now or AccountNow()}, lots or instrument()))
    (entry,) = made.entries
    return entry


# A lot is worth 50000 x 0.0001 = 5 USDT.
OVER = {
    "order quantity": ({"max_order_quantity": "9"}, Reason.MAX_ORDER_QUANTITY),
    "order notional": ({"max_order_notional": "49.99"}, Reason.MAX_ORDER_NOTIONAL),
    "position quantity": ({"max_position_quantity": "9"}, Reason.MAX_POSITION_QUANTITY),
    "position notional": ({"max_position_notional": "49.99"}, Reason.MAX_POSITION_NOTIONAL),
}


@pytest.mark.parametrize("case", OVER)
def test_what_is_over_is_skipped_and_the_limit_named(case):
    limits, reason = OVER[case]
    entry = traded(held_to(**limits))
    assert entry.reason is reason
    assert entry.legs == ()
    (value,) = limits.values()
    assert f"{reason.value} {value} of the tenant" in entry.words


@pytest.mark.parametrize("case", OVER)
def test_what_is_over_is_cut_to_the_limit_and_the_cut_recorded(case):
    limits, reason = OVER[case]
    entry = traded(held_to(over="cut", **limits))
    assert entry.reason is Reason.ORDER
    assert [leg.order_qty for leg in entry.legs] == [9]
    assert f"cut from 10 to 9 lots by {reason.value}" in entry.words


@pytest.mark.parametrize(
    "limits",
    [
        {"max_order_quantity": "10"},
        {"max_order_notional": "50"},
        {"max_position_quantity": "10"},
        {"max_position_notional": "50"},
    ],
)
def test_exactly_at_the_limit_is_allowed(limits):
    assert [leg.order_qty for leg in traded(held_to(**limits)).legs] == [10]


def test_of_several_the_first_in_the_order_of_the_specification_is_named():
    everything = held_to(
        max_position_quantity="1", max_order_notional="1", max_position_notional="1"
    )
    assert traded(everything).reason is Reason.MAX_ORDER_NOTIONAL


def test_a_position_counts_what_is_held_under_way_and_resting_on_its_side():
    now = AccountNow(position=Decimal(3), under_way=Decimal(2), resting_buy=Decimal(4))
    limits = held_to(over="cut", max_position_quantity="12")
    entry = traded(limits, now, action="add")
    assert [leg.order_qty for leg in entry.legs] == [3]


def test_what_rests_on_the_other_side_does_not_count():
    now = AccountNow(resting_sell=Decimal(4))
    assert traded(held_to(max_position_quantity="10"), now).reason is Reason.ORDER


def test_no_room_at_all_is_refused_by_name_even_where_it_would_be_cut():
    now = AccountNow(position=Decimal(12))
    entry = traded(held_to(over="cut", max_position_quantity="10"), now, action="add")
    assert entry.reason is Reason.MAX_POSITION_QUANTITY


def test_a_cut_goes_down_to_the_lot_step():
    lots = instrument(lot_step=Decimal(4), min_qty=Decimal(4))
    entry = traded(held_to(over="cut", max_order_quantity="7"), lots=lots, quantity=12)
    assert [leg.order_qty for leg in entry.legs] == [4]


def test_a_cut_below_the_instruments_minimum_is_nothing():
    lots = instrument(min_qty=Decimal(5))
    entry = traded(held_to(over="cut", max_order_quantity="4"), lots=lots)
    assert entry.reason is Reason.MAX_ORDER_QUANTITY


@pytest.mark.parametrize("limit", ["max_order_notional", "max_position_notional"])
def test_a_notional_that_cannot_be_told_refuses(limit):
    enough = held_to(**{limit: "1000000"})
    assert traded(enough, lots=instrument(currency="USD")).reason is Reason.NO_FX_RATE
    unpriced = instrument(mark_price=None, last_price=None)
    assert traded(enough, lots=unpriced).reason is Reason.NO_PRICE


class TestExits:
    TIGHT = held_to(
        max_order_quantity="1", max_order_notional="1", max_position_quantity="1",
        max_position_notional="1", price_collar_percent="0.1",
    )  # fmt: skip

    def test_no_limit_stops_a_pure_exit(self):
        entry = traded(self.TIGHT, AccountNow(position=Decimal(500)), action="exit", quantity=400)
        assert [leg.order_qty for leg in entry.legs] == [400]

    def test_not_even_one_with_a_limit_price_far_away(self):
        far = {"orderType": "limit", "limitPrice": 90_000}
        now = AccountNow(position=Decimal(5))
        entry = traded(self.TIGHT, now, action="exit", **far)
        assert entry.reason is Reason.ORDER

    def test_a_flip_whose_opening_is_refused_is_refused_whole(self):
        entry = traded(self.TIGHT, AccountNow(position=Decimal(5)), action="sell")
        assert (entry.reason, entry.legs) == (Reason.MAX_ORDER_QUANTITY, ())

    def test_a_flip_whose_opening_is_cut_away_closes(self):
        now = AccountNow(position=Decimal(5), resting_sell=Decimal(8))
        entry = traded(held_to(over="cut", max_position_quantity="8"), now, action="sell")
        assert [(leg.order_qty, leg.reduce_only) for leg in entry.legs] == [(5, True)]
        assert "cut from 10 to 0 lots" in entry.words

    def test_a_flips_opening_leg_starts_from_nothing(self):
        now = AccountNow(position=Decimal(5))
        entry = traded(held_to(max_position_quantity="10"), now, action="sell")
        assert [leg.order_qty for leg in entry.legs] == [5, 10]


class TestCollar:
    COLLAR = held_to(price_collar_percent="2")

    @pytest.mark.parametrize("price", [49_000, 51_000])
    def test_at_the_edge_is_allowed(self, price):
        entry = traded(self.COLLAR, orderType="limit", limitPrice=price)
        assert entry.reason is Reason.ORDER

    @pytest.mark.parametrize("price", [48_999, 51_001])
    def test_beyond_it_is_refused_on_both_sides(self, price):
        entry = traded(self.COLLAR, orderType="limit", limitPrice=price)
        assert entry.reason is Reason.PRICE_COLLAR
        assert f"{price} is more than 2 % away from the market's 50000" in entry.words

    def test_it_is_never_cut(self):
        collar = held_to(over="cut", price_collar_percent="2", max_order_quantity="5")
        entry = traded(collar, orderType="limit", limitPrice=40_000)
        assert (entry.reason, entry.legs) == (Reason.PRICE_COLLAR, ())

    def test_without_a_market_price_it_refuses(self):
        unpriced = instrument(mark_price=None, last_price=None)
        entry = traded(self.COLLAR, lots=unpriced, orderType="limit", limitPrice=50_000)
        assert entry.reason is Reason.NO_PRICE

    def test_a_market_order_has_no_price_to_be_held_to(self):
        assert traded(self.COLLAR).reason is Reason.ORDER


@pytest.mark.parametrize(("over", "records"), [("skip", 1), ("cut", 0)])
def test_an_order_that_a_limit_stops_is_on_record_and_one_that_it_cuts_is_an_order(over, records):
    snap = snapshot(subscribed(held_to=held_to(over=over, max_order_quantity="9")))
    made = plan(signal(quantity=10), snap, market(snap, {0: AccountNow()}, instrument()))
    blocked = evidence.blocked(made, "")
    assert len(blocked) == records
    for entry in blocked:
        assert entry.kind is Kind.LIMIT_BLOCKED
        assert entry.acct == str(made.entries[0].account_id)
        assert entry.payload["limit"] == "max_order_quantity"
