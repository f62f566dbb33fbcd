"""Why our book and the broker's differ: one name for each, by what is known of the account."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout.abilities import BrokerFill
from fanout.drift import Difference
from fanout.drift_causes import Known, Leg, Named, cause_of, name, shortfall
from fanout.order import OrdState
from fanout.reconcile_judging import decided
from fanout.reconcile_rows import Policy
from tenancy.ids import new_id
from tenancy.values import StrategyID
from tests.builders import NOW

D = Decimal


def differs(ours: int = 0, theirs: int = 2, **more: Any) -> Difference:
    values = {"kind": "position", "subject": "X", "symbol": "X", **more}
    return Difference(ours=D(ours), theirs=D(theirs), **values)


def leg(lots: int = 2, state: OrdState = OrdState.UNSENT, text: str = "", **more: Any) -> Leg:
    values = {
        "cl_ord_id": "a.1", "strategy_id": StrategyID(new_id()), "symbol": "X", "at": NOW, **more,
    }  # fmt: skip
    side = "buy" if lots > 0 else "sell"
    return Leg(side=side, leaves=D(abs(lots)), state=state, text=text, **values)


def trade(qty: int = 2, **more: Any) -> BrokerFill:
    values = {"trade_id": "t1", "broker_order_id": "b1", "cl_ord_id": None, "symbol": "X", **more}
    side = "buy" if qty > 0 else "sell"
    return BrokerFill(side=side, qty=D(abs(qty)), price=D(1), at=NOW, **values)


AGREED = Known(since=NOW, traded=frozenset({"X"}))


def known(**more: Any) -> Known:
    return msgspec.structs.replace(AGREED, **more)


CASES = {
    "a trade by hand": (differs(), known(foreign=(trade(),)), "manual_order", True),
    "a trade by hand that does not add up": (
        differs(), known(foreign=(trade(1),), legs=(leg(),)), "manual_order", False,
    ),
    "a trade by hand in another symbol": (
        differs(), known(foreign=(trade(symbol="Y"),)), "unexplained", False,
    ),
    "a liquidation": (
        differs(2, 0), known(foreign=(trade(-2, liquidation=True),)), "liquidated", True,
    ),
    "an order that is not ours": (
        differs(0, 0, kind="order", subject="b9", symbol=None), known(), "manual_order", True,
    ),
    "there before we came": (differs(), Known(), "just_subscribed", True),
    "never agreed, but traded": (
        differs(), Known(traded=frozenset({"X"})), "unexplained", False,
    ),
    "a leg that was not sent": (differs(), known(legs=(leg(),)), "missed_signal", True),
    "a leg of another size": (differs(), known(legs=(leg(3),)), "unexplained", False),
    "a leg refused for funds": (
        differs(), known(legs=(leg(2, OrdState.REJECTED, "INSUFFICIENT_AVAILABLE: no"),)),
        "insufficient_funds", True,
    ),
    "a leg while the exchange was away": (
        differs(), known(legs=(leg(2, OrdState.UNSENT, "maintenance: closed"),)),
        "exchange_down", True,
    ),
    "away since they agreed": (
        differs(), known(away_at=NOW + timedelta(seconds=1)), "exchange_down", False,
    ),
    "away before they agreed": (
        differs(), known(away_at=NOW - timedelta(seconds=1)), "unexplained", False,
    ),
    "set up anew": (differs(), known(changed=("account a revision 2",)), "settings_changed", False),
    "nothing known": (differs(), known(), "unexplained", False),
}  # fmt: skip


@pytest.mark.parametrize(("difference", "of", "cause", "exact"), CASES.values(), ids=list(CASES))
def test_a_difference_is_named_by_what_is_known(difference, of, cause, exact):
    named = name(difference, of)
    assert (named.cause, named.evidence["exact"]) == (cause, exact)


@pytest.mark.parametrize(
    ("state", "text", "cause"),
    [
        (OrdState.REJECTED, "INSUFFICIENT_AVAILABLE: x", "insufficient_funds"),
        (OrdState.REJECTED, "SIZE_TOO_LARGE: x", "missed_signal"),
        (OrdState.UNSENT, "unsent: connection refused", "exchange_down"),
        (OrdState.UNSENT, "too_late: its deadline passed", "missed_signal"),
        (OrdState.DENIED, "unsent leg", "missed_signal"),
        (OrdState.EXPIRED, "", "missed_signal"),
    ],
)
def test_a_leg_without_its_fill_says_why(state, text, cause):
    assert cause_of(leg(2, state, text)) == cause


def test_a_shortfall_is_what_was_meant_against_what_is_held():
    found = shortfall(leg(-2), held=D(5))
    assert (found.kind, found.ours, found.theirs) == ("shortfall", D(3), D(5))


@pytest.mark.parametrize(
    ("policy", "kind", "cause", "wanted"),
    [
        (Policy("report", by_hand=True), "position", "missed_signal", None),
        (Policy("correct", by_hand=False), "position", "missed_signal", "correct"),
        (Policy("correct", by_hand=False), "shortfall", "exchange_down", "correct"),
        (Policy("correct", by_hand=False), "position", "manual_order", None),
        (Policy("correct", by_hand=True), "position", "manual_order", "correct"),
        (Policy("correct", by_hand=True), "order", "manual_order", None),
        (Policy("correct", by_hand=True), "position", "unexplained", None),
        (Policy("correct", by_hand=True), "position", "liquidated", None),
        (Policy("correct", by_hand=True), "shortfall", "insufficient_funds", None),
        (Policy("halt", by_hand=False), "position", "manual_order", "halt"),
        (Policy("halt", by_hand=False), "shortfall", "missed_signal", None),
    ],
)
def test_a_policy_decides_only_what_is_its_own(policy, kind, cause, wanted):
    assert decided(policy, differs(kind=kind), Named(cause, {})) == wanted
