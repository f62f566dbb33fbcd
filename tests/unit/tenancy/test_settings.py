"""What each layer's document takes, and what it refuses by name."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import get_args

import msgspec
import pytest

from fanout.signal import InvalidSignal, decode
from tenancy.limits import Limits
from tenancy.parameters import BEHAVIOURS, PARAMETERS
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.tenant import TenantSettings
from tenancy.windows import Calendar, TradingWindow

WINDOW = {"days": ["mon", "tue"], "start": "09:00", "end": "13:30", "time_zone": "Asia/Taipei"}


def read(kind: type, **members: object):
    return msgspec.json.decode(json.dumps(members), type=kind)


def test_every_parameter_and_behaviour_has_its_member_in_every_layer():
    strategy, subscription = StrategySettings(), SubscriptionSettings()
    for name in PARAMETERS:
        assert getattr(strategy, f"default_{name}") is None
        assert getattr(subscription, f"use_signal_{name}") is None
        assert getattr(subscription, f"override_{name}") is None
    for name in BEHAVIOURS:
        assert getattr(strategy, name) is None
        assert getattr(subscription, name) is None


@pytest.mark.parametrize("kind", [StrategySettings, SubscriptionSettings, Limits, TenantSettings])
def test_what_is_absent_is_not_written(kind):
    assert msgspec.json.encode(kind()) == b"{}"


def test_null_is_absent():
    settings = read(SubscriptionSettings, override_quantity=None, direction=None)
    assert settings == SubscriptionSettings()


def test_an_empty_list_is_a_value_and_is_written():
    settings = read(SubscriptionSettings, tickers_allowed=[])
    assert settings.tickers_allowed == ()
    assert msgspec.json.encode(settings) == b'{"tickers_allowed":[]}'


@pytest.mark.parametrize("written", ["1.50", 1.50, 1])
def test_a_quantity_is_a_string_or_a_number_and_exact(written):
    settings = read(SubscriptionSettings, override_quantity=written)
    assert settings.override_quantity == Decimal(str(written))


REFUSED = {
    "not a number": (SubscriptionSettings, {"override_quantity": "NaN"}, "override_quantity"),
    "infinite": (StrategySettings, {"default_quantity": "Infinity"}, "default_quantity"),
    "too fine": (Limits, {"max_order_quantity": "1e-19"}, "max_order_quantity"),
    "nothing": (Limits, {"max_order_notional": "0"}, "max_order_notional"),
    "negative": (StrategySettings, {"default_quantity": -1}, "default_quantity"),
    "a type without its quantity": (
        SubscriptionSettings, {"override_quantity_type": "multiplier"}, "override_quantity",
    ),
    "a default that multiplies": (
        StrategySettings,
        {"default_quantity": 1, "default_quantity_type": "multiplier"},
        "default_quantity_type",
    ),
    "two ways to take profit": (
        StrategySettings, {"default_take_profit": {"percent": 1, "limit_price": 2}}, "exactly one",
    ),
    "a signal's spelling": (
        SubscriptionSettings, {"override_take_profit": {"limitPrice": 2}}, "limitPrice",
    ),
    "a stop without its price": (
        SubscriptionSettings,
        {"override_stop_loss": {"type": "stop_limit", "percent": 1}},
        "needs limit_price",
    ),
    "no such hour": (
        SubscriptionSettings, {"trading_windows": [WINDOW | {"end": "24:30"}]}, "end",
    ),
    "no such zone": (
        SubscriptionSettings, {"trading_windows": [WINDOW | {"time_zone": "Asia/Taipe"}]}, "Taipe",
    ),
    "a path for a zone": (
        SubscriptionSettings, {"trading_windows": [WINDOW | {"time_zone": "../../etc"}]}, "time_zone",
    ),
    "a day twice": (
        SubscriptionSettings, {"trading_windows": [WINDOW | {"days": ["mon", "mon"]}]}, "days",
    ),
    "no such exchange": (
        SubscriptionSettings, {"trading_windows": [WINDOW | {"calendar": "XXXX"}]}, "calendar",
    ),
    "a ticker that no database holds": (
        SubscriptionSettings, {"tickers_allowed": ["BTC\x00"]}, "tickers_allowed",
    ),
    "a limit that nothing enforces": (Limits, {"orders_per_minute": 5}, "orders_per_minute"),
    "a typing error": (SubscriptionSettings, {"use_signal_quantitty": True}, "quantitty"),
    "no such category": (TenantSettings, {"four_eyes": ["lunch"]}, "four_eyes"),
    "a category twice": (TenantSettings, {"four_eyes": ["limits", "limits"]}, "four_eyes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    kind, members, named = REFUSED[case]
    with pytest.raises(msgspec.ValidationError, match=named):
        read(kind, **members)


def test_a_signals_protection_has_the_same_rules_under_its_own_names():
    with pytest.raises(InvalidSignal, match="exactly one of limitPrice, percent, amount"):
        decode(b'{"ticker": "X", "action": "buy", "takeProfit": {}}')
    with pytest.raises(InvalidSignal, match="stop_limit needs limitPrice"):
        decode(
            b'{"ticker": "X", "action": "buy", "stopLoss": {"type": "stop_limit", "percent": 1}}'
        )


def test_calendars_are_those_of_the_package():
    from exchange_calendars import get_calendar_names

    assert set(get_args(Calendar)) == set(get_calendar_names(include_aliases=False))


def test_windows_can_be_compared_and_kept_in_sets():
    assert len({read(TradingWindow, **WINDOW), read(TradingWindow, **WINDOW)}) == 1
