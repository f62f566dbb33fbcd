"""Which changes are looser than what was there: those, and no others, wait for a second person."""

from __future__ import annotations

import pytest

from tenancy.four_eyes import adds_roles, asked, loosens_limits, releases


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"max_order_quantity": "5"}, {"max_order_quantity": "5.01"}),
        ({"max_order_quantity": "5"}, {}),
        ({"max_leverage": "2"}, {"max_leverage": "2.1"}),
        ({"max_daily_loss": "500"}, {"max_daily_loss": "1000"}),
        ({"max_daily_loss": "500"}, {"max_orders_per_minute": 3}),
        ({"max_orders_per_minute": 9}, {"max_orders_per_minute": 10}),
        ({"max_orders_per_minute": 9}, {}),
        ({"max_order_quantity": "5", "price_collar_percent": "1"}, {"max_order_quantity": "4"}),
        ({}, {"over_limit": "cut"}),
        ({"over_limit": "skip"}, {"over_limit": "cut"}),
    ],
)
def test_a_higher_a_missing_and_a_softer_limit_are_looser(before, after):
    assert loosens_limits(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"max_order_quantity": "5"}),
        ({"max_order_quantity": "5"}, {"max_order_quantity": "5.0"}),
        ({"max_order_quantity": "10"}, {"max_order_quantity": "9"}),
        ({}, {"max_leverage": "2", "max_daily_loss": "500", "max_orders_per_minute": 9}),
        ({"max_orders_per_minute": 10}, {"max_orders_per_minute": 9}),
        ({"over_limit": "cut"}, {"over_limit": "skip"}),
        ({"over_limit": "cut"}, {}),
        ({"over_limit": "cut"}, {"over_limit": "cut"}),
    ],
)
def test_what_is_tighter_or_the_same_never_waits(before, after):
    assert not loosens_limits(before, after)


def test_halting_is_no_release():
    assert releases("halted", "reducing")
    assert releases("reducing", "active")
    assert not releases("active", "halted")
    assert not releases("reducing", "reducing")


def test_a_role_taken_away_is_none_added():
    assert adds_roles(frozenset({"viewer"}), frozenset({"trader"}))
    assert not adds_roles(frozenset({"viewer", "trader"}), frozenset({"viewer"}))


def test_only_what_the_tenant_names_is_asked_for():
    assert asked(frozenset({"limits", "live"}), frozenset({"limits"})) == {"limits"}
