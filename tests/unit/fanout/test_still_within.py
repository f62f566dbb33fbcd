"""What was approved goes only while it is within the limits that others draw on as well."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.exposure import Lot
from fanout.market import Usage
from fanout.order import Protect
from fanout.plan import Leg, PlanEntry
from fanout.reasons import Reason
from fanout.still_within import over_limit
from tenancy.ids import new_id
from tenancy.limits import Limits, tightest
from tenancy.protection import StopLoss
from tenancy.values import AccountID, StrategyID

D = Decimal
OURS = StrategyID(new_id())


def leg(side="buy", qty=10, number=0, stop=None):
    protect = None if stop is None else Protect(stop_loss=StopLoss(amount=D(stop)))
    return Leg(
        leg=number, side=side, order_qty=D(qty), ord_type="market", time_in_force="gtc",
        protect=protect,
    )  # fmt: skip


def judged(limits, used=None, *, legs=None, expected=0, layer="account", price="100"):
    """One lot is worth 200."""
    entry = PlanEntry(
        account_id=AccountID(new_id()), part=0, place=0, broker="gateio", reason=Reason.ORDER,
        symbol="BTC", legs=tuple(legs or [leg()]), equity=D(1000),
    )  # fmt: skip
    numbers = {
        name: value if name == "max_orders_per_minute" else D(value)
        for name, value in limits.items()
    }
    held = tightest([(layer, Limits(**numbers))])
    lot = None if price is None else Lot(D(price), D(2))
    return over_limit(entry, OURS, held, used, D(expected), lambda symbol: lot)


FITS = [
    ({}, None, {}),
    ({"max_orders_per_minute": 5}, Usage(orders_last_minute=4), {}),
    ({"max_daily_loss": "50"}, Usage(loss_today=D("49.9")), {}),
    ({"max_daily_loss": "50"}, Usage(loss_today=D(10), risk_open=D(20)),
     {"legs": [leg(stop=1)]}),  # 10 lots × 1 × 2
    ({"max_position_quantity": "12"}, Usage(others_long=D(2), others_short=D(50)), {}),
    ({"max_position_quantity": "12"}, Usage(may_buy=D(1)), {"expected": 1}),
    ({"max_position_notional": "2400"}, Usage(others_long=D(2)), {}),
    ({"max_position_quantity": "10"}, Usage(others_long=D(9)), {"layer": "strategy"}),
    ({"max_leverage": "2.5"}, Usage(worth_elsewhere=D(500)), {}),
    # A flip: 5 are closed first, 10 are opened; on the other side nothing is held then.
    ({"max_position_quantity": "10"}, Usage(), {"expected": -5, "legs": [leg(qty=5), leg(number=1)]}),
]  # fmt: skip

OVER = [
    ({"max_orders_per_minute": 5}, Usage(orders_last_minute=5), {}, Reason.MAX_ORDERS_PER_MINUTE),
    ({"max_orders_per_minute": 5}, Usage(orders_last_minute=4),
     {"expected": -5, "legs": [leg(qty=5), leg(number=1)]}, Reason.MAX_ORDERS_PER_MINUTE),
    ({"max_daily_loss": "50"}, Usage(loss_today=D(50)), {}, Reason.MAX_DAILY_LOSS),
    ({"max_daily_loss": "50"}, Usage(loss_today=D(10), risk_open=D("20.1")),
     {"legs": [leg(stop=1)]}, Reason.MAX_DAILY_LOSS),
    ({"max_daily_loss": "50"}, Usage(loss_today=None), {}, Reason.USAGE_UNKNOWN),
    ({"max_position_quantity": "12"}, Usage(others_long=D(3)), {}, Reason.MAX_POSITION_QUANTITY),
    ({"max_position_quantity": "12"}, Usage(others_short=D(3)), {"legs": [leg("sell")]},
     Reason.MAX_POSITION_QUANTITY),
    # Its own short position of 5 may be closed at any moment; 3 that rest may fill.
    ({"max_position_quantity": "12"}, Usage(may_buy=D(3)), {}, Reason.MAX_POSITION_QUANTITY),
    ({"max_position_notional": "2400"}, Usage(others_long=D(3)), {}, Reason.MAX_POSITION_NOTIONAL),
    ({"max_position_notional": "2400"}, Usage(), {"price": None}, Reason.NO_PRICE),
    ({"max_position_quantity": "10"}, Usage(), {"layer": "strategy", "expected": 1},
     Reason.MAX_POSITION_QUANTITY),
    ({"max_leverage": "2.5"}, Usage(worth_elsewhere=D("500.1")), {}, Reason.MAX_LEVERAGE),
    ({"max_leverage": "2.5"}, Usage(worth_elsewhere=None), {}, Reason.USAGE_UNKNOWN),
    ({"max_position_quantity": "99"}, None, {}, Reason.USAGE_UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "used", "more"), FITS)
def test_what_fits_goes(limits, used, more):
    assert judged(limits, used, **more) is None


@pytest.mark.parametrize(("limits", "used", "more", "reason"), OVER)
def test_what_others_have_used_up_meanwhile_stops_it(limits, used, more, reason):
    assert judged(limits, used, **more) is reason


@pytest.mark.parametrize(
    "limits", [{"max_orders_per_minute": 1}, {"max_daily_loss": "1"}, {"max_position_quantity": 1}]
)
def test_a_limit_stops_no_exit(limits):
    used = Usage(orders_last_minute=9, loss_today=None, others_short=D(99))
    assert judged(limits, used, expected=10, legs=[leg("sell")]) is None
