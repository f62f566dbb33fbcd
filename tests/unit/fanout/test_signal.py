"""The signal language, field by field: what is read, and what is refused with which words."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fanout.signal import MAX_BYTES, InvalidSignal, Signal, decode

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def read(**fields: object) -> Signal:
    return decode(json.dumps({"ticker": "BTC_USDT", "action": "buy", **fields}).encode())


def refused(**fields: object) -> InvalidSignal:
    with pytest.raises(InvalidSignal) as caught:
        read(**fields)
    return caught.value


class TestNumbers:
    @pytest.mark.parametrize("said", [1.5, "1.5", "+1.5", "1.50", "15e-1"])
    def test_a_number_may_come_as_text(self, said):
        assert read(quantity=said).quantity == Decimal("1.5")

    @pytest.mark.parametrize(
        "said", ["1_000", " 5", "5 ", "1,5", "NaN", "Infinity", "", "٣", "0x10", "{{strategy.order.contracts}}",
                 True, [1], {"a": 1}],
    )  # fmt: skip
    def test_what_is_no_plain_number_is_refused_with_what_was_found(self, said):
        error = refused(quantity=said)
        assert error.field == "$.quantity"
        assert "a number is needed" in str(error)
        assert "found" in str(error)

    def test_json_numbers_are_exact_to_the_last_digit(self):
        signal = decode(b'{"ticker":"T","action":"buy","signalPrice":0.123456789012345678}')
        assert signal.signal_price == Decimal("0.123456789012345678")

    @pytest.mark.parametrize("said", [0, -1, "0", "-0.5", 1e19, "1e999"])
    def test_prices_and_quantities_are_above_zero_and_of_sane_size(self, said):
        for name in ("quantity", "signalPrice", "limitPrice", "strikePrice", "bidAskSpreadFilter"):
            assert refused(**{name: said}).field == f"$.{name}"

    def test_a_number_of_a_thousand_digits_costs_nothing_but_its_refusal(self):
        for digits in ("9" * 5000, "1" + "0" * 5000 + ".5", "1e99999999"):
            with pytest.raises(InvalidSignal, match="more digits"):
                decode(b'{"ticker":"T","action":"buy","quantity":%s}' % digits.encode())

    def test_null_is_as_good_as_left_out(self):
        assert read(quantity=None, stopLoss=None) == read()


class TestShape:
    def test_an_unknown_field_is_named_with_the_one_that_was_meant(self):
        error = refused(quantitty=1)
        assert error.field == "$.quantitty"
        assert "did you mean quantity?" in str(error)

    def test_a_member_named_twice_is_refused(self):
        with pytest.raises(InvalidSignal, match="more than once") as caught:
            decode(b'{"ticker":"T","action":"buy","action":"sell"}')
        assert caught.value.field == "$.action"

    @pytest.mark.parametrize("missing", ["ticker", "action"])
    def test_ticker_and_action_are_required(self, missing):
        said = {"ticker": "T", "action": "buy"}
        del said[missing]
        with pytest.raises(InvalidSignal, match="is required") as caught:
            decode(json.dumps(said).encode())
        assert caught.value.field == f"$.{missing}"

    def test_a_word_outside_its_list_gets_the_list(self):
        assert "one of add, buy, cancel, exit, reverse, sell, target" in str(refused(action="by"))
        assert "one of stop, stop_limit, trailing_stop" in str(
            refused(stopLoss={"type": "x", "percent": 1})
        )

    @pytest.mark.parametrize("ticker", ["", "x" * 51, " T", "T ", "A\nB", "A\x00"])
    def test_a_ticker_is_printable_short_and_bare(self, ticker):
        assert refused(ticker=ticker).field == "$.ticker"

    def test_the_length_is_bounded(self):
        with pytest.raises(InvalidSignal, match="at most"):
            decode(b" " * (MAX_BYTES + 1))

    def test_extras_hold_anything(self):
        extras = {"a": [1, {"b": None}], "n": 1.5}
        assert read(extras=extras).extras == {"a": [1, {"b": None}], "n": Decimal("1.5")}

    @pytest.mark.parametrize("name", ["delayedUntil", "delayed_until"])
    def test_what_only_we_say_cannot_be_sent(self, name):
        assert refused(**{name: "2026-11-20T12:00:00Z"}).field == f"$.{name}"

    @pytest.mark.parametrize(("said", "meant"), [(True, True), ("true", True), ("false", False)])
    def test_a_switch_may_come_as_text(self, said, meant):
        assert read(cancel=said).cancel is meant
        assert refused(cancel="yes").field == "$.cancel"


class TestHostile:
    """Each of these once escaped as an error of another kind, or cost far more than its bytes."""

    def test_what_was_sent_cannot_pass_for_a_path(self):
        error = refused(action="x - at `$.foo")
        assert error.field == "$.action"
        assert "one of add" in str(error)

    @pytest.mark.parametrize(
        "body",
        [rb'{"ticker":"T","action":"\ud800"}', rb'{"\ud800":1}', rb'{"extras":{"\uDFFF":1}}',
         rb'{"stopLoss":{"\ud800":1}}', rb'{"ticker":"\udc00"}'],
    )  # fmt: skip
    def test_half_a_surrogate_pair_is_no_text(self, body):
        with pytest.raises(InvalidSignal, match="surrogate"):
            decode(body)

    def test_a_whole_surrogate_pair_is_a_character(self):
        assert read(extras={"a": "😀"}).extras == {"a": "😀"}

    def test_no_digit_is_rounded_away(self):
        """28 digits are the decimal module's own measure: more must not be cut silently."""
        longest = "123456789012345678.123456789012345678"
        assert str(read(quantity=longest).quantity) == longest
        assert "more than 18 decimal places" in str(refused(quantity=longest + "9"))
        assert "larger than 10^18" in str(refused(quantity="1000000000000000000.0000000000001"))
        assert str(read(quantity="1." + "0" * 30).quantity) == "1"

    def test_deep_nesting_is_refused_whatever_reads_it(self):
        for depth in range(900, 1100, 7):
            for name in (b"extras", b"quantity"):
                body = b'{"%s":{"a":%s%s}}' % (name, b"[" * depth, b"]" * depth)
                with pytest.raises(InvalidSignal):
                    decode(body)

    def test_an_error_is_short_however_long_what_was_sent(self):
        long = "a" * 50_000
        for said in ({"action": long}, {long: 1}, {"quantity": long}, {"stopLoss": {long: 1}}, {"delay": long},
                     {"time": long}, {"expiration": long}, {"cancelAfter": 1e300}):  # fmt: skip
            error = refused(**said)
            assert len(str(error)) < 300
            assert len(error.field) < 100

    def test_many_members_of_which_the_last_comes_twice_cost_little(self):
        members = b",".join(b'"%x":1' % i for i in range(6000))
        began = time.perf_counter()
        with pytest.raises(InvalidSignal, match="more than once"):
            decode(b'{"extras":{%s,"176f":1}}' % members)
        assert time.perf_counter() - began < 0.3


class TestOrders:
    @pytest.mark.parametrize("kind", ["market", "limit", "stop", "stop_limit"])
    def test_only_a_trailing_stop_trails(self, kind):
        assert refused(orderType=kind, trailPercent=1).field == "$.trailPercent"
        assert refused(trailAmount=1, trailPercent=1).field == "$.trailPercent"
        assert read(trailPercent=1).trail_percent == 1, "the strategy's order type may trail"

    def test_a_trailing_stop_trails_by_one_of_two(self):
        assert read(orderType="trailing_stop", trailPercent=1).trail_percent == 1
        assert "exactly one of trailAmount, trailPercent" in str(refused(orderType="trailing_stop"))
        assert "exactly one" in str(
            refused(orderType="trailing_stop", trailPercent=1, trailAmount=1)
        )

    @pytest.mark.parametrize(
        ("kind", "price"),
        [("market", "limitPrice"), ("stop", "limitPrice"), ("trailing_stop", "limitPrice"),
         ("market", "stopPrice"), ("limit", "stopPrice")],
    )  # fmt: skip
    def test_a_price_that_the_order_cannot_have_is_refused_not_dropped(self, kind, price):
        trail = {"trailAmount": 1} if kind == "trailing_stop" else {}
        assert refused(orderType=kind, **trail, **{price: 5}).field == f"$.{price}"

    def test_take_profit_is_one_of_three(self):
        assert read(takeProfit={"percent": "10"}).take_profit.percent == 10
        for wrong in ({}, {"percent": 1, "amount": 1}):
            error = refused(takeProfit=wrong)
            assert error.field == "$.takeProfit"
            assert "exactly one of limitPrice, percent, amount" in str(error)

    def test_stop_loss_by_its_type(self):
        assert read(stopLoss={"percent": 5}).stop_loss.type == "stop"
        assert (
            read(stopLoss={"type": "trailing_stop", "trailPercent": 1}).stop_loss.trail_percent == 1
        )
        assert "stop_limit needs limitPrice" in str(
            refused(stopLoss={"type": "stop_limit", "percent": 1})
        )
        assert refused(stopLoss={"percent": -5}).field == "$.stopLoss.percent"
        assert refused(stopLoss={"percnt": 5}).field == "$.stopLoss.percnt"
        assert "did you mean percent?" in str(refused(stopLoss={"percnt": "five"}))
        both = refused(stopLoss={"percent": 5, "breakevenPercent": 1, "breakevenAmount": 1})
        assert "breakevenPercent and breakevenAmount" in str(both)

    def test_two_names_of_one_price_must_agree(self):
        assert read(price=5, signalPrice=5).reference_price == 5
        assert "differ" in str(refused(price=5, signalPrice=6))

    @pytest.mark.parametrize(
        ("action", "sentiment"), [("buy", "bearish"), ("buy", "short"), ("sell", "long"), ("sell", "bullish")]
    )  # fmt: skip
    def test_a_sentiment_against_its_action_closes_a_part_or_is_refused(self, action, sentiment):
        assert "against action" in str(refused(action=action, sentiment=sentiment))
        assert read(action=action, sentiment=sentiment, quantity=1).sentiment == sentiment

    def test_with_options_the_sentiment_may_differ_from_the_action(self):
        assert read(sentiment="bearish", optionType="both").sentiment == "bearish"


class TestTargets:
    @pytest.mark.parametrize("said", [3, "-3", 0, "0.5"])
    def test_a_target_is_signed_and_may_be_flat(self, said):
        signal = decode(json.dumps({"ticker": "T", "targetPosition": said}).encode())
        assert (signal.action, signal.target_position) == ("target", Decimal(str(said)))

    def test_a_target_wins_over_the_action_that_templates_always_send(self):
        assert read(action="sell", targetPosition=3).action == "target"

    def test_a_target_says_how_much_alone(self):
        assert "one of them" in str(refused(targetPosition=3, quantity=1))
        assert refused(action="target").field == "$.targetPosition"

    def test_an_expected_position_is_signed(self):
        assert read(expectedPosition="-2").expected_position == -2
        assert refused(expectedPosition="short").field == "$.expectedPosition"


class TestTime:
    @pytest.mark.parametrize(
        "said",
        ["2026-11-20T12:00:00Z", "2026-11-20T20:00:00+08:00", 1795176000, 1795176000000, "1795176000",
         "1795176000000"],
    )  # fmt: skip
    def test_a_moment_is_iso_or_unix(self, said):
        assert read(time=said).time == NOON
        assert read(expiresAt=said).expires_at == NOON

    @pytest.mark.parametrize(
        "said", ["yesterday", "2026-13-01T00:00:00Z", -1, 0, "1e30", 9e30, True, "9999-12-31T23:59:59-14:00"]
    )  # fmt: skip
    def test_what_is_no_moment_is_refused(self, said):
        error = refused(expiresAt=said)
        assert error.field == "$.expiresAt"
        assert "found" in str(error)

    def test_a_moment_without_a_zone_is_refused(self):
        assert "time zone" in str(refused(time="2026-11-20T12:00:00"))

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [(30, 30), ("30", 30), (0.5, 0.5), ("+5 minutes", 300), ("+1 hour 30 seconds", 3630), ("+90sec", 90),
         ("+1 day", 86_400), (86_400, 86_400)],
    )  # fmt: skip
    def test_a_delay_is_waited_for(self, said, seconds):
        assert read(delay=said).due(NOON) == NOON + timedelta(seconds=seconds)

    def test_a_delay_may_be_a_moment_and_no_delay_is_none(self):
        assert read(delay="2026-11-20T13:00:00Z").due(NOON) == NOON + timedelta(hours=1)
        assert read(delay="2026-11-20T11:00:00Z").due(NOON) is None
        assert read().due(NOON) is None
        assert read(delay=0).due(NOON) is None

    @pytest.mark.parametrize(
        "said", [86_401, "+25 hours", "+2 days", -1, "+ 5 minutes", "+5 fortnights", "+", "soon", "5 minutes",
                 "", True, [1]]
    )  # fmt: skip
    def test_a_delay_over_a_day_or_unreadable_is_refused(self, said):
        assert refused(delay=said).field == "$.delay"

    def test_an_unreadable_delay_is_answered_with_how_a_delay_is_said(self):
        assert '"+5 minutes"' in str(refused(delay="5 minutes"))

    def test_a_moment_over_a_day_away_is_refused_when_it_comes(self):
        with pytest.raises(InvalidSignal, match="24 hours"):
            read(delay="2026-11-21T12:00:01Z").due(NOON)

    @pytest.mark.parametrize(
        ("said", "good"),
        [(1, True), (3600, True), ("60", True), (0, False), (3601, False), (1.5, False)],
    )
    def test_cancel_after_is_one_second_to_an_hour(self, said, good):
        if good:
            assert read(cancelAfter=said).cancel_after == int(said)
        else:
            assert refused(cancelAfter=said).field == "$.cancelAfter"


class TestOptions:
    @pytest.mark.parametrize("said", ["2026-12-18", "+6 months", "+1 week"])
    def test_an_expiration_is_a_date_or_a_distance(self, said):
        assert read(optionType="call", expiration=said).expiration == said

    @pytest.mark.parametrize("said", ["soon", "+six months", "2026-02-30", "", 20261218])
    def test_what_is_neither_is_refused(self, said):
        assert refused(optionType="call", expiration=said).field == "$.expiration"

    def test_a_strike_is_said_in_one_way(self):
        assert "one of them" in str(refused(strikePrice=5, strikesAway=1))
        assert refused(strikesAway=201).field == "$.strikesAway"
