"""What stops or cuts an order, by whole plans: doubt, mandates, limits that count, blocks, quorum."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec
import pytest

from fanout.mandate import Mandate
from fanout.market import AccountNow, Usage
from fanout.reasons import Reason
from tenancy.limits import EffectiveLimits, Limits, tightest
from tenancy.protection import StopLoss
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tests.builders import market, plan, signal, snapshot, subscribed
from tests.unit.fanout.one_account import D, legs, own, traded


class TestDoubt:
    REDUCES: ClassVar = {"reduces": frozenset({"gateio"})}
    DOUBT = AccountNow(position=D(3), in_doubt=True)

    def test_a_pure_exit_goes_on_where_the_broker_has_reduce_only(self):
        assert traded(now=self.DOUBT, action="exit").reason is Reason.IN_DOUBT
        entry = traded(now=self.DOUBT, action="exit", changed=self.REDUCES)
        assert legs(entry) == [("sell", 3, True)]

    def test_what_opens_waits(self):
        for action in ("buy", "sell", "add"):
            entry = traded(now=self.DOUBT, action=action, quantity=1, changed=self.REDUCES)
            assert entry.reason is Reason.IN_DOUBT

    def test_a_shared_account_waits_too(self):
        entry = traded(
            now=self.DOUBT, action="exit", changed=self.REDUCES, usage=Usage(others=D(1))
        )
        assert entry.reason is Reason.IN_DOUBT


class TestHedgeMode:
    """Long and short are held side by side: an exit that is not reduce_only opens the other side."""

    SHORT_BESIDE = Usage(others=D(-3), others_short=D(3))

    def hedged(self) -> Any:
        row = subscribed()
        account = msgspec.structs.replace(row.account, settings={"position_mode": "hedge"})
        return msgspec.structs.replace(row, account=account)

    def test_an_exit_is_for_its_own_side_though_the_net_is_nothing(self):
        netted = traded(held=3, usage=self.SHORT_BESIDE, action="exit")
        assert legs(netted) == [("sell", 3, False)]
        entry = traded(self.hedged(), 3, usage=self.SHORT_BESIDE, action="exit")
        assert legs(entry) == [("sell", 3, True)]

    def test_a_pure_exit_goes_on_in_doubt(self):
        doubt, reduces = TestDoubt.DOUBT, TestDoubt.REDUCES
        entry = traded(
            self.hedged(), now=doubt, changed=reduces, usage=self.SHORT_BESIDE, action="exit"
        )
        assert legs(entry) == [("sell", 3, True)]

    def test_of_many_accounts_each_has_its_own_mode(self):
        modes = [False, True, True, False, True, False, False, True]  # enough for columns of both
        snap = snapshot(*(self.hedged() if hedge else subscribed() for hedge in modes))
        held = market(snap, {place: AccountNow(position=D(3)) for place in range(len(modes))})
        usage = {row.account.account_id: self.SHORT_BESIDE for row in snap.rows}
        made = plan(signal(action="exit"), snap, msgspec.structs.replace(held, usage=usage))
        reduces = {one.account_id: one.legs[0].reduce_only for one in made.entries}
        assert [reduces[row.account.account_id] for row in snap.rows] == modes


class TestMandates:
    FORCED = Mandate(origin="kill_switch")

    def test_the_kill_switch_closes_what_is_halted_and_asks_nobody(self):
        row = subscribed(SubscriptionSettings(needs_approval=True), state="halted")
        entry = traded(row, 3, mandate=self.FORCED, action="exit")
        assert (entry.reason, legs(entry)) == (Reason.ORDER, [("sell", 3, True)])

    def test_it_never_opens(self):
        assert traded(mandate=self.FORCED, quantity=1).reason is Reason.REDUCE_ONLY

    def test_others_are_not_addressed(self):
        nobody = Mandate(origin="kill_switch", accounts=frozenset())
        assert traded(None, 3, mandate=nobody, action="exit").reason is Reason.NOT_ADDRESSED


def limited(source: str = "account", over: str = "skip", **limits: Any) -> EffectiveLimits:
    numbers = {name: Decimal(value) for name, value in limits.items()}
    if "max_orders_per_minute" in numbers:
        numbers["max_orders_per_minute"] = int(numbers["max_orders_per_minute"])  # type: ignore[assignment]
    return tightest([(source, Limits(over_limit=over, **numbers))])  # type: ignore[arg-type]


class TestLimitsThatCount:
    @pytest.mark.parametrize(
        ("limits", "used", "reason"),
        [
            ({"max_orders_per_minute": 3}, Usage(orders_last_minute=2), Reason.ORDER),
            ({"max_orders_per_minute": 3}, Usage(orders_last_minute=3), Reason.MAX_ORDERS_PER_MINUTE),
            ({"max_orders_per_minute": 3}, None, Reason.USAGE_UNKNOWN),
            ({"max_daily_loss": 9}, Usage(loss_today=D("8.9")), Reason.ORDER),
            ({"max_daily_loss": 9}, Usage(loss_today=D(9)), Reason.MAX_DAILY_LOSS),
            ({"max_daily_loss": 9}, Usage(loss_today=D(5), risk_open=D(5)), Reason.MAX_DAILY_LOSS),
            ({"max_daily_loss": 9}, Usage(loss_today=None), Reason.USAGE_UNKNOWN),
            ({"max_daily_loss": 9}, None, Reason.USAGE_UNKNOWN),
            ({"max_leverage": 1}, Usage(worth_elsewhere=D(9950)), Reason.ORDER),
            ({"max_leverage": 1}, Usage(worth_elsewhere=D(9951)), Reason.MAX_LEVERAGE),
            ({"max_leverage": 1}, Usage(worth_elsewhere=None), Reason.USAGE_UNKNOWN),
            ({"max_leverage": 1}, None, Reason.USAGE_UNKNOWN),
            ({"max_position_quantity": 14}, Usage(others_long=D(4)), Reason.ORDER),
            ({"max_position_quantity": 13}, Usage(others_long=D(4)), Reason.MAX_POSITION_QUANTITY),
        ],
    )  # fmt: skip
    def test_what_was_used_counts_and_what_is_not_known_refuses(self, limits, used, reason):
        row = subscribed(held_to=limited(**limits))
        assert traded(row, usage=used, quantity=10).reason is reason

    def test_an_order_may_not_risk_what_is_left_of_the_day(self):
        row = subscribed(held_to=limited(max_daily_loss=9))
        used = Usage(loss_today=D(8))  # a lot loses 0.1 at its stop
        stop = {"stopLoss": {"percent": 2}}
        assert traded(row, usage=used, quantity=10, **stop).reason is Reason.ORDER
        assert traded(row, usage=used, quantity=11, **stop).reason is Reason.MAX_DAILY_LOSS

    def test_the_strategys_own_layer_counts_only_what_the_strategy_holds(self):
        row = subscribed(held_to=limited("strategy", max_position_quantity=10))
        assert traded(row, usage=Usage(others=D(99)), quantity=10).reason is Reason.ORDER
        assert traded(row, 1, quantity=10, action="add").reason is Reason.MAX_POSITION_QUANTITY

    def test_a_flip_is_two_orders(self):
        row = subscribed(held_to=limited(max_orders_per_minute=3))
        used = Usage(orders_last_minute=2)
        entry = traded(row, -3, usage=used, action="buy", quantity=1)
        assert entry.reason is Reason.MAX_ORDERS_PER_MINUTE

    def test_none_of_them_stops_an_exit(self):
        limits = limited(max_orders_per_minute=1, max_daily_loss=1, max_leverage=1)
        used = Usage(orders_last_minute=9, loss_today=D(99), worth_elsewhere=None)
        row = subscribed(held_to=limits)
        assert traded(row, 3, usage=used, action="exit").reason is Reason.ORDER
        assert traded(row, 3, action="exit").reason is Reason.ORDER

    def test_leverage_cuts(self):
        row = subscribed(held_to=limited(over="cut", max_leverage=1))
        entry = traded(row, usage=Usage(worth_elsewhere=D(9981)), quantity=10)
        assert legs(entry) == [("buy", 3, False)]


class TestSeveralAccounts:
    def plan_of(
        self, *rows: Any, settings: StrategySettings | None = None, held: Any = None, **f: Any
    ):
        snap = snapshot(*rows, settings=settings or StrategySettings())
        made = plan(signal(**{"quantity": 10, **f}), snap, market(snap, held))
        return [(e.reason, sum(leg.order_qty for leg in e.legs)) for e in made.entries]

    @pytest.mark.parametrize(
        ("kind", "parts"),
        [
            ("block_equal", [4, 3, 3]),
            ("block_net_liq", [1, 3, 6]),  # 1.25, 2.5 and 6.25: the rest to the largest remainder
            ("block_available", [5, 5, 0]),
            ("block_ratio", [2, 2, 6]),
        ],
    )
    def test_a_block_adds_up_to_its_total(self, kind, parts):
        rows = [
            subscribed(SubscriptionSettings(block_ratio=D(ratio)), name=str(ratio))
            for ratio in (1, 1, 3)
        ]
        held = {
            i: AccountNow(equity=D(equity), available=D(available))
            for i, (equity, available) in enumerate([(1000, 70), (2000, 70), (5000, 0)])
        }
        got = [lots for _, lots in self.plan_of(*rows, held=held, quantityType=kind)]
        assert got == parts
        assert sum(got) == 10

    def test_an_account_of_its_own_quantity_is_outside_the_block(self):
        apart = own(override_quantity=D(7), use_signal_quantity=False)
        got = self.plan_of(subscribed(), apart, subscribed(), quantityType="block_equal")
        assert [lots for _, lots in got] == [5, 7, 5]

    def test_who_does_not_pass_takes_no_part(self):
        halted = subscribed(state="halted")
        got = self.plan_of(subscribed(), halted, subscribed(), quantityType="block_equal")
        assert [lots for _, lots in got] == [5, 0, 5]

    def test_a_quorum_is_all_or_none(self):
        rows = [subscribed(), subscribed(), subscribed(state="reducing")]
        half, all_of_them = (StrategySettings(quorum_percent=D(share)) for share in ("66", "66.7"))
        assert [r for r, _ in self.plan_of(*rows, settings=half)] == [
            Reason.ORDER, Reason.ORDER, Reason.REDUCE_ONLY,
        ]  # fmt: skip
        assert [r for r, _ in self.plan_of(*rows, settings=all_of_them)] == [
            Reason.QUORUM_NOT_MET, Reason.QUORUM_NOT_MET, Reason.REDUCE_ONLY,
        ]  # fmt: skip

    def test_a_named_account_is_needed_and_a_closing_one_closes_anyway(self):
        needed = subscribed(state="reducing")
        settings = StrategySettings(quorum_accounts=(needed.account.account_id,))
        got = self.plan_of(subscribed(), needed, settings=settings)
        assert [r for r, _ in got] == [Reason.QUORUM_NOT_MET, Reason.REDUCE_ONLY]
        held = {0: AccountNow(position=D(3)), 1: AccountNow(position=D(3))}
        leaves = self.plan_of(subscribed(), needed, settings=settings, held=held, action="exit")
        assert [r for r, _ in leaves] == [Reason.ORDER, Reason.ORDER]


def test_a_flips_closing_leg_goes_by_what_holds_for_exits():
    row = own(override_order_type_exit="market", override_order_type_entry="limit",
              use_signal_order_type_exit=False)  # fmt: skip
    entry = traded(row, -3, quantity=5, limitPrice=100, orderType="limit")
    assert [leg.ord_type for leg in entry.legs] == ["market", "limit"]


def test_protection_stays_with_the_leg_that_opens_when_it_adds():
    (leg,) = traded(None, 3, action="add", quantity=1, stopLoss={"percent": 2}).legs
    assert leg.protect is not None
    assert leg.protect.stop_loss == StopLoss(percent=D(2))
