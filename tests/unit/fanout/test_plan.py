"""What one signal does to accounts, as people set them up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from fanout.market import AccountNow
from fanout.order import Protect
from fanout.plan import Plan
from fanout.reasons import SENTENCES, Reason
from tenancy.protection import StopLoss
from tenancy.subscription import SubscriptionSettings
from tests.builders import NOW, instrument, market, plan, signal, snapshot, subscribed


def mine(**parameters: object) -> SubscriptionSettings:
    return SubscriptionSettings(**{f"override_{name}": value for name, value in parameters.items()})


def only(made: Plan):
    assert len(made.entries) == 1
    return made.entries[0]


def qty(made: Plan) -> Decimal:
    (leg,) = only(made).legs
    return leg.order_qty


def test_every_reason_has_a_sentence():
    assert set(SENTENCES) == set(Reason)


class TestSizing:
    def test_fixed_quantity_is_the_signals(self):
        assert qty(plan(signal(quantity=5), snapshot(subscribed()))) == 5

    def test_multiplier_scales_the_signals_quantity(self):
        row = subscribed(mine(quantity=Decimal("0.5"), quantity_type="multiplier"))
        made = plan(signal(quantity=5), snapshot(row))
        assert qty(made) == 2  # 2.5, toward zero
        assert only(made).source["quantity"] == "subscription"
        assert "5 × 0.5" in only(made).words

    def test_dollar_amount_divides_by_price_and_multiplier(self):
        row = subscribed(
            SubscriptionSettings(
                use_signal_quantity=False,
                override_quantity=Decimal(1000),
                override_quantity_type="dollar_amount",
            )
        )
        assert qty(plan(signal(), snapshot(row))) == 200  # 1000 / (50000 x 0.0001)

    def test_percent_of_equity_uses_the_brokers_equity_and_leverage(self):
        row = subscribed(mine(), leverage=Decimal(3))
        snap = snapshot(row)
        now = {0: AccountNow(equity=Decimal(2000))}
        made = plan(signal(quantity=10, quantityType="percent_of_equity"), snap, market(snap, now))
        assert qty(made) == 120  # 2000 x 10 % x 3 / 5
        assert only(made).equity == 2000

    def test_stated_equity_serves_where_the_broker_has_none(self):
        made = plan(signal(quantity=10, quantityType="percent_of_equity"), snapshot(subscribed()))
        assert qty(made) == 200

    def test_no_equity_at_all_is_said(self):
        row = subscribed(stated_equity=None)
        made = plan(signal(quantity=10, quantityType="percent_of_equity"), snapshot(row))
        assert only(made).reason is Reason.NO_EQUITY

    def test_another_currency_without_a_rate_is_said(self):
        row = subscribed(currency="EUR")
        made = plan(signal(quantity=10, quantityType="dollar_amount"), snapshot(row))
        assert only(made).reason is Reason.NO_FX_RATE

    def test_below_minimum_is_skipped_or_raised(self):
        tiny = signal(quantity=0.4)
        assert only(plan(tiny, snapshot(subscribed()))).reason is Reason.BELOW_MINIMUM
        raised = subscribed(SubscriptionSettings(below_minimum="raise"))
        assert qty(plan(tiny, snapshot(raised))) == 1

    def test_over_the_maximum_is_cut_and_said(self):
        snap = snapshot(subscribed())
        small = instrument(max_qty=Decimal(3))
        made = plan(signal(quantity=5), snap, market(snap, None, small))
        assert qty(made) == 3
        assert "cut to the maximum 3" in only(made).words

    def test_limit_prices_go_to_the_tick_on_the_safe_side(self):
        bought = plan(
            signal(quantity=1, orderType="limit", limitPrice=100.19), snapshot(subscribed())
        )
        assert only(bought).legs[0].price == Decimal("100.1")
        sold = plan(
            signal(action="sell", quantity=1, orderType="limit", limitPrice=100.11),
            snapshot(subscribed()),
        )
        assert only(sold).legs[0].price == Decimal("100.2")


class TestPositions:
    def test_flip_closes_first_and_reduces_only(self):
        snap = snapshot(subscribed())
        made = plan(signal(quantity=5), snap, market(snap, {0: AccountNow(position=Decimal(-3))}))
        close, opening = only(made).legs
        assert (close.side, close.order_qty, close.reduce_only) == ("buy", 3, True)
        assert (opening.side, opening.order_qty, opening.reduce_only) == ("buy", 5, False)

    def test_subtract_exit_quantity_counts_both_legs(self):
        snap = snapshot(subscribed(SubscriptionSettings(subtract_exit_quantity=True)))
        made = plan(signal(quantity=5), snap, market(snap, {0: AccountNow(position=Decimal(-3))}))
        assert [leg.order_qty for leg in only(made).legs] == [3, 2]

    def test_exit_never_flips(self):
        snap = snapshot(subscribed())
        held = market(snap, {0: AccountNow(position=Decimal(3))})
        (leg,) = only(plan(signal(action="exit", quantity=50), snap, held)).legs
        assert (leg.side, leg.order_qty, leg.reduce_only) == ("sell", 3, True)

    def test_an_entrys_own_size_says_nothing_about_an_exit(self):
        own = SubscriptionSettings(use_signal_quantity=False, override_quantity=Decimal(2))
        snap = snapshot(subscribed(own))
        held = market(snap, {0: AccountNow(position=Decimal(9))})
        assert qty(plan(signal(action="exit", quantity=1), snap, held)) == 9

    def test_what_is_under_way_counts_as_filled(self):
        snap = snapshot(subscribed())
        sent = market(snap, {0: AccountNow(under_way=Decimal(5))})
        assert only(plan(signal(quantity=5), snap, sent)).reason is Reason.POSITION_EXISTS

    def test_doubt_stops_the_account(self):
        snap = snapshot(subscribed())
        doubt = market(snap, {0: AccountNow(in_doubt=True)})
        assert only(plan(signal(action="exit"), snap, doubt)).reason is Reason.IN_DOUBT


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"tenant_state": "halted"}, Reason.TENANT_HALTED),
            ({"state": "halted"}, Reason.STRATEGY_HALTED),
            ({"state": "reducing"}, Reason.REDUCE_ONLY),
        ],
    )
    def test_kill_states(self, changes, reason):
        made = plan(signal(quantity=1), snapshot(subscribed(), **changes))
        assert only(made).reason is reason

    def test_reducing_lets_an_exit_through(self):
        snap = snapshot(subscribed(state="reducing"))
        held = market(snap, {0: AccountNow(position=Decimal(3))})
        assert only(plan(signal(action="exit"), snap, held)).reason is Reason.ORDER

    def test_an_untrusted_clock_opens_nothing_but_still_closes(self):
        snap = snapshot(subscribed())
        flat = msgspec.structs.replace(market(snap), clock_untrusted=True)
        assert only(plan(signal(quantity=1), snap, flat)).reason is Reason.CLOCK_UNTRUSTED
        held = market(snap, {0: AccountNow(position=Decimal(3))})
        held = msgspec.structs.replace(held, clock_untrusted=True)
        assert only(plan(signal(action="exit"), snap, held)).reason is Reason.ORDER

    def test_a_signal_that_waited_too_long_opens_nothing_but_still_closes(self):
        snap = snapshot(subscribed())
        late = {"planned_at": NOW + timedelta(seconds=61)}
        assert only(plan(signal(quantity=1), snap, **late)).reason is Reason.SIGNAL_TOO_OLD
        held = market(snap, {0: AccountNow(position=Decimal(3))})
        assert only(plan(signal(action="exit"), snap, held, **late)).reason is Reason.ORDER

    def test_direction(self):
        row = subscribed(SubscriptionSettings(direction="short"))
        assert only(plan(signal(quantity=1), snapshot(row))).reason is Reason.DIRECTION_NOT_ALLOWED

    def test_an_account_without_a_key_trades_only_where_none_is_needed(self):
        snap = snapshot(subscribed(), subscribed(sealed=b"row"), subscribed(broker="paper"))
        keyed = msgspec.structs.replace(market(snap), keyed=frozenset({"gateio"}))
        assert [entry.reason for entry in plan(signal(quantity=1), snap, keyed).entries] == [
            Reason.NOT_CONNECTED,
            Reason.ORDER,
            Reason.ORDER,
        ]

    def test_unknown_ticker_is_not_guessed(self):
        made = plan(signal(ticker="NOPE", quantity=1), snapshot(subscribed()))
        assert only(made).reason is Reason.TICKER_UNKNOWN

    def test_punctuation_of_a_ticker_does_not_matter(self):
        made = plan(signal(ticker="BTCUSDT", quantity=1), snapshot(subscribed()))
        assert only(made).symbol == "BTC_USDT"

    def test_protection_goes_with_the_leg_that_opens(self):
        made = plan(signal(quantity=1, stopLoss={"percent": 2}), snapshot(subscribed()))
        (leg,) = only(made).legs
        assert leg.protect == Protect(stop_loss=StopLoss(percent=Decimal(2)))


class TestThePlanAsARow:
    def test_rotation_shifts_the_order_by_one_account(self):
        snap = snapshot(*(subscribed(name=str(i)) for i in range(4)), sequence="rotate")
        names = {row.account.account_id: row.account.name for row in snap.rows}

        def order_of(rotation):
            made = plan(signal(quantity=1), snap, rotation=rotation)
            return [names[entry.account_id] for entry in made.entries]

        assert order_of(0) == ["0", "1", "2", "3"]
        assert order_of(5) == ["1", "2", "3", "0"]

    def test_a_plan_is_a_pure_function_and_survives_json(self):
        snap = snapshot(*(subscribed() for _ in range(5)), sequence="random")
        fixed = {"signal_id": snap.rows[0].account.account_id, "seed": 42}
        first = plan(signal(quantity=3), snap, **fixed)
        assert plan(signal(quantity=3), snap, **fixed) == first
        assert msgspec.json.decode(msgspec.json.encode(first), type=Plan) == first

    def test_nobody_is_dropped_silently(self):
        rows = [subscribed(), subscribed(state="halted"), subscribed(broker="elsewhere")]
        snap = snapshot(*rows)
        known = market(snap)
        del known.instruments["elsewhere"]
        made = plan(signal(quantity=1), snap, known)
        assert [entry.reason for entry in made.entries] == [
            Reason.ORDER,
            Reason.ACCOUNT_HALTED,
            Reason.NOT_CONNECTED,
        ]


def test_doubt_stops_orders_but_not_a_cancel():
    """Found by the chaos run: orders of an account in doubt stayed open after a cancel."""
    snap = snapshot(subscribed())
    doubtful = market(snap, {0: AccountNow(in_doubt=True)})
    (bought,) = plan(signal(quantity=1), snap, doubtful).entries
    (cancelled,) = plan(signal(action="cancel"), snap, doubtful).entries
    assert (bought.reason, bought.cancel_open) == (Reason.IN_DOUBT, False)
    assert (cancelled.reason, cancelled.cancel_open) == (Reason.CANCEL_ONLY, True)
