"""Each row of the table in signal.md, for both sides."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.action import Move, decide
from fanout.reasons import Reason
from tests.builders import signal

SIDES = [("buy", 1, "bullish", "bearish"), ("sell", -1, "short", "long")]


@pytest.mark.parametrize(("action", "sign", "same", "against"), SIDES)
class TestEntries:
    def test_flat_account_opens(self, action, sign, same, against):
        for sentiment in ({}, {"sentiment": same}):
            move = decide(signal(action=action, **sentiment), Decimal(0), allow_add=False)
            assert move == Move(side=action, opens=True)

    def test_same_side_does_nothing_unless_adding_is_allowed(self, action, sign, same, against):
        held = Decimal(3 * sign)
        assert decide(signal(action=action), held, allow_add=False) is Reason.POSITION_EXISTS
        assert decide(signal(action=action), held, allow_add=True) == Move(
            side=action, opens=True, adds=True
        )

    def test_opposite_position_is_flipped(self, action, sign, same, against):
        move = decide(signal(action=action), Decimal(-3 * sign), allow_add=False)
        assert move == Move(side=action, close="whole", opens=True)

    def test_flat_closes_the_opposite_and_never_opens(self, action, sign, same, against):
        flat = signal(action=action, sentiment="flat")
        assert decide(flat, Decimal(0), allow_add=True) is Reason.NO_POSITION
        assert decide(flat, Decimal(3 * sign), allow_add=True) is Reason.NO_POSITION
        assert decide(flat, Decimal(-3 * sign), allow_add=True) == Move(side=action, close="whole")
        some = signal(action=action, sentiment="flat", quantity=1)
        assert decide(some, Decimal(-3 * sign), allow_add=True) == Move(
            side=action, close="quantity"
        )

    def test_exit_closes_whole_or_the_quantity(self, action, sign, same, against):
        held = Decimal(3 * sign)
        other = "sell" if action == "buy" else "buy"
        assert decide(signal(action="exit"), Decimal(0), allow_add=True) is Reason.NO_POSITION
        assert decide(signal(action="exit"), held, allow_add=True) == Move(
            side=other, close="whole"
        )
        assert decide(signal(action="exit", quantity=2), held, allow_add=True) == Move(
            side=other, close="quantity"
        )

    def test_add_needs_a_position_on_its_side(self, action, sign, same, against):
        held = Decimal(3 * sign)
        assert decide(signal(action="add"), Decimal(0), allow_add=False) is Reason.NO_POSITION
        added = Move(side=action, opens=True, adds=True)
        assert decide(signal(action="add"), held, allow_add=False) == added
        assert decide(signal(action="add", sentiment=same), held, allow_add=False) == added
        assert (
            decide(signal(action="add", sentiment=against), held, allow_add=False)
            is Reason.OPPOSITE_POSITION
        )


def test_cancel_only_cancels():
    assert decide(signal(action="cancel"), Decimal(5), allow_add=True) is Reason.CANCEL_ONLY


@pytest.mark.parametrize(
    ("action", "sentiment", "held"), [("sell", "long", Decimal(5)), ("buy", "short", Decimal(-5))]
)
def test_a_side_with_the_other_sentiment_takes_a_part_off_and_turns_nothing(
    action, sentiment, held
):
    """TradingView's message of a partial exit: the order sells, the strategy stays long."""
    said = signal(action=action, sentiment=sentiment, quantity=2)
    assert decide(said, held, allow_add=True) == Move(side=action, close="quantity")
    assert decide(said, Decimal(0), allow_add=True) is Reason.NO_POSITION
    assert decide(said, -held, allow_add=True) is Reason.OPPOSITE_POSITION
