"""What a past signal would have done: from what its plan kept, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from fanout.market import AccountNow, Instruments
from fanout.replay import Then, added, lots, read_plan, replay
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tests.builders import NOW, instrument, market, plan, signal, snapshot, subscribed

ADDS = SubscriptionSettings(allow_add_to_position=True)


@dataclass
class Past:
    """A plan that was kept, and the strategy as it was."""

    then: Then
    rows: tuple[Any, ...]

    def now(self, **changes: Any) -> list[Any]:
        """Replayed today: the price has doubled since, and the lots are the same."""
        today = Instruments([instrument(mark_price=Decimal(100_000), last_price=Decimal(100_000))])
        snap = snapshot(*changes.pop("rows", self.rows), **changes)
        return replay(self.then, snap, {"gateio": today}, frozenset(), {})


def kept(*rows: Any, positions: Any = None, **fields: Any) -> Past:
    snap, sig = snapshot(*rows), signal(**fields)
    made = plan(sig, snap, market(snap, positions))
    then = Then(
        signal_id=made.signal_id,
        signal=sig,
        received_at=NOW,
        planned_at=made.planned_at,
        seed=made.seed,
        rotation=made.rotation,
        entries=read_plan(msgspec.json.encode(made)),
    )
    return Past(then, rows)


def resolved(row: Any, settings: SubscriptionSettings, **more: Any) -> Any:
    """The same row under other settings."""
    other = subscribed(settings, **more)
    return msgspec.structs.replace(row, settings=other.settings, limits=other.limits)


def test_under_the_same_configuration_nothing_differs_although_the_price_has_moved():
    """Equity, position and price are those of then: doubled prices of today would halve the size."""
    past = kept(
        subscribed(), subscribed(ADDS), positions={1: AccountNow(equity=Decimal(77), position=Decimal(2))},
        quantity=10, quantityType="percent_of_equity",
    )  # fmt: skip
    assert [one.kind for one in past.now()] == ["same", "same"]
    assert all(one.after.legs for one in past.now())


def test_a_proposed_quantity_is_a_difference_and_the_sums_say_how_much():
    past = kept(subscribed(), subscribed(), quantity=3)
    half = SubscriptionSettings(
        override_quantity=Decimal(2), override_quantity_type="multiplier"
    )  # fmt: skip
    compared = past.now(rows=(resolved(past.rows[0], half), past.rows[1]))
    assert [one.kind for one in compared] == ["different", "same"]
    assert [leg.order_qty for leg in compared[0].after.legs] == [6]
    (sums,) = lots(compared).values()
    assert (sums.symbol, sums.buy_before, sums.buy_after) == ("BTC_USDT", 6, 9)
    assert added(sums, sums).buy_after == 18


def test_a_reason_may_differ_and_one_who_trades_no_more_is_a_difference():
    past = kept(subscribed(), subscribed(), quantity=3)
    off = msgspec.structs.replace(past.rows[0], enabled=False)
    (compared,) = past.now(rows=(off,))[:1]
    assert (compared.kind, compared.after.reason) == ("different", "subscription_disabled")
    gone = past.now(rows=(off,))[1]
    assert (gone.kind, gone.after) == ("different", None)


def test_what_the_plan_did_not_keep_is_unknown_and_in_no_sum():
    """Who was switched off has no position in the plan; who came later was not in it."""
    off = msgspec.structs.replace(subscribed(), enabled=False)
    past = kept(off, quantity=3)
    on = msgspec.structs.replace(past.rows[0], enabled=True)
    compared = past.now(rows=(on, subscribed()))
    assert [one.kind for one in compared] == ["unknown", "unknown"]
    assert compared[1].before is None
    assert lots(compared) == {}
    assert [one.kind for one in past.now()] == ["same"], "still off: nothing needs to be known"


def test_another_instrument_than_the_one_that_was_looked_at_is_unknown():
    past = kept(subscribed(), quantity=3)
    mapped = SubscriptionSettings(symbol_map={"BTC_USDT": "ETH_USDT"})
    today = Instruments([instrument(), instrument("ETH_USDT")])
    snap = snapshot(resolved(past.rows[0], mapped))
    (compared,) = replay(past.then, snap, {"gateio": today}, frozenset(), {})
    assert (compared.kind, compared.after.symbol) == ("unknown", "ETH_USDT")


def test_without_a_picture_of_the_broker_everything_is_unknown():
    past = kept(subscribed(), quantity=3)
    (compared,) = replay(past.then, snapshot(*past.rows), {}, frozenset(), {})
    assert (compared.kind, compared.after.reason) == ("unknown", "not_connected")


def test_the_strategys_default_is_replayed_too():
    past = kept(subscribed())
    other = subscribed(strategy=StrategySettings(default_quantity=Decimal(5)))
    compared = past.now(rows=(msgspec.structs.replace(past.rows[0], settings=other.settings),))
    assert [leg.order_qty for leg in compared[0].after.legs] == [5]
    assert compared[0].kind == "different"
