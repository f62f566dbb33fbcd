"""Whole plans equal an oracle of fractions (tests/oracle), in columns and account by account."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from fanout.plan import PlanEntry
from fanout.sequence import fan_out_order
from tenancy.ids import new_id
from tenancy.values import SignalID
from tests.builders import plan
from tests.oracle.whole import Verdict, plan_of
from tests.worlds import any_world


def verdict(entry: PlanEntry) -> Verdict:
    def exact(price: Decimal | None) -> Fraction | None:
        return None if price is None else Fraction(price)

    legs = tuple(
        (leg.side, Fraction(leg.order_qty), leg.reduce_only, exact(leg.price), exact(leg.stop_px))
        for leg in entry.legs
    )
    return entry.reason.value, legs


@pytest.mark.parametrize("hundred", range(12))
def test_every_account_of_random_strategies_gets_what_the_oracle_says(hundred):
    for seed in range(hundred * 100, hundred * 100 + 100):
        sig, snap, market = any_world(seed, accounts=30, kinds=4)
        order = fan_out_order(30, snap.strategy.sequence, seed=seed, rotation=seed)
        want = plan_of(sig, snap, market, order)
        asked = {"signal_id": SignalID(new_id()), "seed": seed, "rotation": seed}
        narrow = plan(sig, snap, market, wide_from=10**9, **asked)
        wide = plan(sig, snap, market, wide_from=1, **asked)
        assert list(narrow.entries) == list(wide.entries), f"seed {seed}"
        for row, entry in zip(order, narrow.entries, strict=True):
            assert verdict(entry) == want[row], f"seed {seed}, row {row}: {entry.words}"
