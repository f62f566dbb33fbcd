"""What the signal language says, by whole plans: actions, targets, expectations, modes, prices, bounds."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.market import AccountNow, Usage
from fanout.plan import PlanEntry
from fanout.reasons import Reason
from tenancy.strategy import StrategySettings
from tests.builders import NOW, instrument, subscribed
from tests.unit.fanout.one_account import D, legs, own, traded

SIDES = [("buy", "sell", 1), ("sell", "buy", -1)]


@pytest.mark.parametrize(("side", "other", "sign"), SIDES)
class TestThePositionTable:
    """Each row, for both sides; `held` is on the signal's side."""

    def test_an_entry_opens_where_nothing_is_held(self, side, other, sign):
        assert legs(traded(action=side, quantity=5)) == [(side, 5, False)]

    def test_it_adds_only_where_adding_is_on(self, side, other, sign):
        assert traded(None, 3 * sign, action=side, quantity=5).reason is Reason.POSITION_EXISTS
        row = own(allow_add_to_position=True)
        assert legs(traded(row, 3 * sign, action=side, quantity=5)) == [(side, 5, False)]

    def test_it_flips_what_is_held_on_the_other_side(self, side, other, sign):
        entry = traded(None, -3 * sign, action=side, quantity=5)
        assert legs(entry) == [(side, 3, True), (side, 5, False)]

    def test_it_only_closes_where_sides_are_not_swapped(self, side, other, sign):
        row = own(allow_side_swap=False)
        assert legs(traded(row, -3 * sign, action=side, quantity=5)) == [(side, 3, True)]

    def test_flat_closes_the_other_side_and_opens_nothing(self, side, other, sign):
        flat = {"action": side, "sentiment": "flat"}
        assert traded(**flat).reason is Reason.NO_POSITION
        assert traded(None, 3 * sign, **flat).reason is Reason.NO_POSITION
        assert legs(traded(None, -3 * sign, **flat)) == [(side, 3, True)]
        assert legs(traded(None, -3 * sign, quantity=2, **flat)) == [(side, 2, True)]

    def test_exit_closes_whole_or_a_part_and_never_more(self, side, other, sign):
        assert traded(action="exit").reason is Reason.NO_POSITION
        for fields, lots in (({}, 3), ({"quantity": 2}, 2), ({"quantity": 50}, 3)):
            entry = traded(None, 3 * sign, action="exit", **fields)
            assert legs(entry) == [(other, lots, True)]

    def test_add_needs_a_position_on_its_side(self, side, other, sign):
        assert traded(action="add", quantity=5).reason is Reason.NO_POSITION
        assert legs(traded(None, 3 * sign, action="add", quantity=5)) == [(side, 5, False)]
        wrong = "bearish" if sign > 0 else "bullish"
        entry = traded(None, 3 * sign, action="add", quantity=5, sentiment=wrong)
        assert entry.reason is Reason.OPPOSITE_POSITION

    def test_reverse_opens_as_much_as_was_held_or_the_quantity(self, side, other, sign):
        assert traded(action="reverse").reason is Reason.NO_POSITION
        closing = (other, 3, True)
        assert legs(traded(None, 3 * sign, action="reverse")) == [closing, (other, 3, False)]
        entry = traded(None, 3 * sign, action="reverse", quantity=5)
        assert legs(entry) == [closing, (other, 5, False)]
        row = own(allow_side_swap=False)
        assert len(legs(traded(row, 3 * sign, action="reverse"))) == 2

    def test_a_target_is_the_difference(self, side, other, sign):
        def to(target: int, held: int, row: Any = None) -> PlanEntry:
            return traded(row, held * sign, action="target", targetPosition=target * sign)

        assert legs(to(5, 0)) == [(side, 5, False)]
        assert legs(to(5, 2)) == [(side, 3, False)]
        assert legs(to(5, 8)) == [(other, 3, True)]
        assert legs(to(0, 8)) == [(other, 8, True)]
        assert legs(to(5, -2)) == [(side, 2, True), (side, 5, False)]
        assert legs(to(5, -2, own(allow_side_swap=False))) == [(side, 2, True)]
        assert to(5, 5).reason is Reason.ON_TARGET
        assert to(0, 0).reason is Reason.ON_TARGET


class TestTargets:
    def test_a_target_wins_over_the_action_of_a_template(self):
        assert legs(traded(None, 2, action="sell", targetPosition=5)) == [("buy", 3, False)]

    def test_percent_of_equity_is_the_accounts_own(self):
        entry = traded(action="target", targetPosition=-10, targetPositionType="percent_of_equity")
        assert legs(entry) == [("sell", 200, False)]  # 10,000 x 10 % / 5

    def test_a_multiplier_scales_it(self):
        row = own(override_quantity=D("0.5"), override_quantity_type="multiplier")
        assert legs(traded(row, action="target", targetPosition=10)) == [("buy", 5, False)]

    def test_the_words_say_the_target(self):
        assert "target 5 lots" in traded(None, 2, action="target", targetPosition=5).words


class TestExpectations:
    def test_as_expected_goes_on(self):
        entry = traded(None, 3, action="exit", expectedPosition=3)
        assert legs(entry) == [("sell", 3, True)]

    def test_another_position_is_refused(self):
        entry = traded(None, 2, action="exit", expectedPosition=3)
        assert entry.reason is Reason.POSITION_MISMATCH

    @pytest.mark.parametrize(
        ("held", "fields", "want"),
        [
            (2, {"action": "exit", "expectedPosition": 3}, [("sell", 2, True)]),
            (0, {"action": "exit", "expectedPosition": 3}, []),
            (9, {"action": "exit", "quantity": 1, "expectedPosition": 3}, [("sell", 7, True)]),
            (2, {"action": "buy", "quantity": 5, "expectedPosition": 0}, [("buy", 3, False)]),
            (-2, {"action": "buy", "quantity": 5, "expectedPosition": 0},
             [("buy", 2, True), ("buy", 5, False)]),
            (0, {"action": "add", "quantity": 5, "expectedPosition": 3}, [("buy", 8, False)]),
            (0, {"action": "reverse", "expectedPosition": 3}, [("sell", 3, False)]),
        ],
    )  # fmt: skip
    def test_repair_goes_where_the_signal_would_have_left_it(self, held, fields, want):
        entry = traded(own(position_mismatch="repair"), held, **fields)
        assert legs(entry) == want

    def test_a_multiplier_expects_as_many_times_more(self):
        row = own(override_quantity=D(2), override_quantity_type="multiplier")
        assert traded(row, 6, action="exit", expectedPosition=3).reason is Reason.ORDER
        assert traded(row, 3, action="exit", expectedPosition=3).reason is Reason.POSITION_MISMATCH

    def test_of_other_sizes_only_the_side_is_compared(self):
        row = own(override_quantity=D(500), override_quantity_type="dollar_amount",
                  use_signal_quantity=False)  # fmt: skip
        assert traded(row, 77, action="exit", expectedPosition=3).reason is Reason.ORDER
        wrong = traded(row, -77, action="exit", expectedPosition=3)
        assert wrong.reason is Reason.POSITION_MISMATCH


class TestModes:
    """A lot is worth 5 USDT: 50,000 x 0.0001."""

    @pytest.mark.parametrize(
        ("kind", "quantity", "lots"),
        [
            ("fixed_quantity", 7, 7),
            ("dollar_amount", 1000, 200),
            ("risk_dollar_amount", 10, 100),  # stop 2 % away: 1000 x 0.0001 = 0.1 a lot
            ("risk_percent", 1, 1000),
            ("percent_of_equity", 10, 600),  # leverage 3
        ],
    )
    def test_of_the_signal(self, kind, quantity, lots):
        row = subscribed(leverage=D(3))
        entry = traded(row, quantity=quantity, quantityType=kind, stopLoss={"percent": 2})
        assert legs(entry) == [("buy", lots, False)]

    def test_percent_of_position_adds_and_leaves(self):
        fields = {"quantity": 50, "quantityType": "percent_of_position"}
        assert legs(traded(None, 9, action="exit", **fields)) == [("sell", 4, True)]
        assert legs(traded(None, 9, action="add", **fields)) == [("buy", 4, False)]

    def test_equity_ratio_is_proportional_to_the_reference(self):
        reference = StrategySettings(reference_equity=D(4000))
        entry = traded(settings=reference, quantity=2, quantityType="equity_ratio")
        assert legs(entry) == [("buy", 5, False)]
        twice = own(override_quantity=D(2), override_quantity_type="equity_ratio")
        assert legs(traded(twice, settings=reference, quantity=2)) == [("buy", 10, False)]
        assert traded(quantity=2, quantityType="equity_ratio").reason is Reason.NO_EQUITY

    def test_equity_ratio_in_another_currency(self):
        reference = StrategySettings(reference_equity=D(1000), reference_currency="USD")
        entry = traded(settings=reference, quantity=2, quantityType="equity_ratio")
        assert legs(entry) == [("buy", 10, False)]  # 1,000 USD are 2,000 USDT

    def test_risk_needs_a_stop_on_the_losing_side(self):
        row = own(override_quantity=D(10), override_quantity_type="risk_dollar_amount",
                  use_signal_quantity=False)  # fmt: skip
        assert traded(row).reason is Reason.NO_STOP
        assert traded(row, stopLoss={"stopPrice": 51000}).reason is Reason.NO_STOP
        assert legs(traded(row, stopLoss={"stopPrice": 49000})) == [("buy", 100, False)]

    def test_money_of_another_currency_is_exchanged(self):
        row = subscribed(currency="USD")
        entry = traded(row, quantity=1000, quantityType="dollar_amount")
        assert legs(entry) == [("buy", 400, False)]  # a lot is 5 USDT, 2.5 USD
        assert "0.5 USDT/USD" in entry.words

    def test_equity_without_unrealised_profit(self):
        now = AccountNow(equity=D(2000), unrealised=D(500))
        fields = {"quantity": 10, "quantityType": "percent_of_equity"}
        assert legs(traded(None, now=now, **fields)) == [("buy", 40, False)]
        row = own(equity_basis="without_unrealised")
        assert legs(traded(row, now=now, **fields)) == [("buy", 30, False)]

    def test_position_basis_of_the_account_trades_the_net(self):
        used = Usage(others=D(-4))
        row = own(position_basis="account")
        entry = traded(row, 1, usage=used, action="buy", quantity=5)
        assert legs(entry) == [("buy", 3, True), ("buy", 5, False)]
        mine = traded(None, 1, usage=used, action="exit")
        assert legs(mine) == [
            ("sell", 1, False)
        ]  # the account is short: reduce-only would be refused


class TestPrices:
    @pytest.mark.parametrize(
        ("action", "price", "stop"), [("buy", "100.1", "101.3"), ("sell", "100.2", "101.2")]
    )
    def test_limits_go_to_the_safe_side_and_stops_away_from_the_market(self, action, price, stop):
        asked = {"orderType": "stop_limit", "limitPrice": "100.15", "stopPrice": "101.25"}
        (leg,) = traded(action=action, quantity=1, **asked).legs
        assert (leg.ord_type, leg.price, leg.stop_px) == ("stop_limit", D(price), D(stop))

    def test_nearest_where_the_subscription_says_so(self):
        row = own(price_rounding="nearest")
        (leg,) = traded(row, quantity=1, orderType="limit", limitPrice="100.19").legs
        assert leg.price == D("100.2")

    def test_left_out_prices_are_the_markets(self):
        (leg,) = traded(quantity=1, orderType="stop").legs
        assert leg.stop_px == 50_000

    def test_a_trailing_stop_begins_a_trail_away_from_the_market(self):
        (leg,) = traded(None, 3, action="exit", orderType="trailing_stop", trailPercent=1).legs
        assert (leg.stop_px, leg.trail_percent) == (49_500, 1)
        bare = own(override_order_type_entry="trailing_stop", use_signal_order_type_entry=False)
        assert traded(bare, quantity=1).reason is Reason.ORDER_TYPE_UNSUPPORTED

    def test_a_tick_table_has_its_own_tick_at_every_price(self):
        lots = instrument(tick_table=((D(0), D("0.01")), (D(10), D("0.05")), (D(50), D("0.1"))))

        def price(action: str, asked: str) -> Decimal:
            fields = {"action": action, "orderType": "limit", "limitPrice": asked, "quantity": 1}
            return traded(lots=lots, **fields).legs[0].price

        assert price("buy", "9.999") == D("9.99")
        assert price("sell", "9.999") == 10
        assert price("buy", "49.99") == D("49.95")
        assert price("sell", "49.99") == 50
        assert price("sell", "50.01") == D("50.1")


class TestBounds:
    def test_a_minimum_notional_is_skipped_or_raised_to(self):
        lots = instrument(min_notional=D(12))  # 5 USDT a lot
        assert traded(lots=lots, quantity=2).reason is Reason.BELOW_MINIMUM
        assert legs(traded(own(below_minimum="raise"), lots=lots, quantity=2)) == [
            ("buy", 3, False)
        ]

    def test_spread(self):
        wide = instrument(bid=D("49900"), ask=D("50100"))
        fine = {"bidAskSpreadFilter": 200}
        assert traded(lots=wide, quantity=1, **fine).reason is Reason.ORDER
        tighter = own(max_spread=D(199))
        assert traded(tighter, lots=wide, quantity=1, **fine).reason is Reason.SPREAD_TOO_WIDE
        percent = {"bidAskSpreadFilterPercent": "0.39"}
        assert traded(lots=wide, quantity=1, **percent).reason is Reason.SPREAD_TOO_WIDE
        assert traded(quantity=1, **fine).reason is Reason.NO_QUOTE
        assert traded(None, 3, action="exit", lots=wide, **percent).reason is Reason.ORDER

    def test_an_expired_signal_opens_nothing_and_closes_where_that_is_set(self):
        past = {"expiresAt": (NOW - timedelta(seconds=1)).isoformat()}
        assert traded(quantity=1, **past).reason is Reason.SIGNAL_EXPIRED
        assert traded(None, 3, action="exit", **past).reason is Reason.SIGNAL_EXPIRED
        row = own(closes_when_expired=True)
        assert traded(row, 3, action="exit", **past).reason is Reason.ORDER
        assert traded(row, quantity=1, **past).reason is Reason.SIGNAL_EXPIRED

    def test_an_instrument_has_states_of_its_own(self):
        def state(said: str) -> dict[str, Any]:
            return {"instrument_states": {("gateio", "BTC_USDT"): said}}

        assert traded(quantity=1, changed=state("halted")).reason is Reason.INSTRUMENT_HALTED
        assert traded(quantity=1, changed=state("reducing")).reason is Reason.REDUCE_ONLY
        assert traded(None, 3, action="exit", changed=state("reducing")).reason is Reason.ORDER
