"""On spot nothing is sold that is not held: a plan that would is cut to the close, or refused with words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fanout.market import AccountNow
from fanout.order import Side
from fanout.reasons import Reason
from tenancy.subscription import SubscriptionSettings
from tests.builders import instrument, market, plan, signal, snapshot, subscribed

SPOT = instrument(
    kind="spot",
    multiplier=Decimal(1),
    lot_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    min_notional=Decimal(3),
)
HELD = AccountNow(position=Decimal("0.998"))
ADDS = SubscriptionSettings(allow_add_to_position=True)


def planned(sent: dict[str, Any], now: AccountNow | None = None, row: Any = None) -> Any:
    snap = snapshot(row or subscribed())
    (entry,) = plan(signal(**sent), snap, market(snap, {0: now} if now else None, SPOT)).entries
    return entry


def legs(entry: Any) -> list[tuple[Side, Decimal, bool]]:
    return [(leg.side, leg.order_qty, leg.reduce_only) for leg in entry.legs]


@pytest.mark.parametrize(
    "sent",
    [
        {"action": "sell", "quantity": 1},
        {"action": "sell", "quantity": 1, "sentiment": "short"},
        {"targetPosition": -1},
    ],
)
def test_a_short_is_refused_where_nothing_is_held(sent):
    assert planned(sent).reason is Reason.NO_SHORTS


@pytest.mark.parametrize(
    "sent",
    [
        {"action": "sell", "quantity": 5},
        {"action": "reverse"},
        {"action": "reverse", "quantity": 5},
        {"targetPosition": -5},
    ],
)
def test_what_would_turn_a_position_round_closes_it_and_says_why_no_more(sent):
    entry = planned(sent, HELD)
    assert entry.reason is Reason.ORDER
    assert legs(entry) == [("sell", Decimal("0.998"), True)]
    assert "spot has no short positions: nothing is opened" in entry.words


def test_a_sell_of_a_part_is_never_more_than_there_is():
    entry = planned({"action": "exit", "quantity": 5}, HELD)
    assert legs(entry) == [("sell", Decimal("0.998"), True)]


def test_buying_and_adding_go_on_in_the_pairs_own_steps():
    assert legs(planned({"quantity": "0.0125"})) == [("buy", Decimal("0.012"), False)]
    more = planned({"quantity": "0.5"}, HELD, subscribed(ADDS))
    assert legs(more) == [("buy", Decimal("0.5"), False)]


def test_less_than_the_pair_takes_in_money_is_below_its_minimum():
    """3 USDT at 50000 are 0.00006; a step is 0.001, so only the quantity's own minimum is in the way."""
    assert planned({"quantity": "0.0009"}).reason is Reason.BELOW_MINIMUM


def test_other_kinds_go_short_as_before():
    snap = snapshot(subscribed())
    (entry,) = plan(signal(action="sell", quantity=5), snap).entries
    assert legs(entry) == [("sell", Decimal(5), False)]
