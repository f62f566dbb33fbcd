"""What layers of settings and states do to a plan: the order of the checks, and what each is named."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import msgspec
import pytest

from fanout.market import AccountNow
from fanout.plan import Plan, PlanEntry
from fanout.reasons import Reason
from tenancy.group import Group
from tenancy.protection import StopLoss, TakeProfit
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import GroupID
from tenancy.windows import TradingWindow
from tests.builders import NOW, market, plan, signal, snapshot, subscribed

HELD = AccountNow(position=Decimal(3))
CLOSED = (TradingWindow(days=("sun",), start="00:00", end="00:00", time_zone="UTC"),)  # NOW: Friday
HOLIDAYS = (msgspec.structs.replace(CLOSED[0], days=("fri",), calendar="XNYS"),)


def group(**changes: object) -> Group:
    return Group(**{"group_id": GroupID(UUID(int=5)), "name": "g", **changes})  # type: ignore[arg-type]


def only(made: Plan) -> PlanEntry:
    (entry,) = made.entries
    return entry


def traded(row, now: AccountNow | None = None, *, snap: dict | None = None, **fields) -> PlanEntry:
    shot = snapshot(row, **(snap or {}))
    return only(
        plan(signal(**{"quantity": 1, **fields}), shot, market(shot, {0: now or AccountNow()}))
    )


STOPS = [
    ({"platform_state": "halted"}, {}, Reason.PLATFORM_HALTED),
    ({"tenant_state": "halted"}, {}, Reason.TENANT_HALTED),
    ({"state": "halted"}, {}, Reason.STRATEGY_HALTED),
    ({}, {"group": group(state="halted")}, Reason.GROUP_HALTED),
    ({}, {"state": "halted"}, Reason.ACCOUNT_HALTED),
    ({"archived": True}, {}, Reason.ARCHIVED),
    ({}, {"group": group(archived=True)}, Reason.ARCHIVED),
    ({}, {"archived": True}, Reason.ARCHIVED),
]


@pytest.mark.parametrize(("snap", "row", "reason"), STOPS)
@pytest.mark.parametrize("action", ["buy", "exit", "cancel"])
def test_what_is_halted_or_archived_does_nothing_at_all(snap, row, reason, action):
    entry = traded(subscribed(**row), HELD, snap=snap, action=action)
    assert (entry.reason, entry.legs, entry.cancel_open) == (reason, (), False)


def test_the_outermost_halt_is_named():
    row = subscribed(group=group(state="halted"), state="halted")
    assert traded(row).reason is Reason.GROUP_HALTED
    everywhere = {"platform_state": "halted", "tenant_state": "halted", "state": "halted"}
    assert traded(row, snap=everywhere).reason is Reason.PLATFORM_HALTED


@pytest.mark.parametrize(
    ("snap", "row"),
    [
        ({"platform_state": "reducing"}, {}),
        ({"tenant_state": "reducing"}, {}),
        ({"state": "reducing"}, {}),
        ({}, {"group": group(state="reducing")}),
        ({}, {"state": "reducing"}),
    ],
)
def test_reducing_anywhere_lets_exits_through_and_nothing_open(snap, row):
    assert traded(subscribed(**row), snap=snap).reason is Reason.REDUCE_ONLY
    assert traded(subscribed(**row), HELD, snap=snap, action="exit").reason is Reason.ORDER


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tickers_refused": ("BTC_USDT",)}, Reason.TICKER_NOT_ALLOWED),
        ({"tickers_allowed": ("ETH_USDT",)}, Reason.TICKER_NOT_ALLOWED),
        ({"direction": "short"}, Reason.DIRECTION_NOT_ALLOWED),
        ({"trading_windows": CLOSED}, Reason.OUTSIDE_TRADING_WINDOW),
        ({"trading_windows": HOLIDAYS}, Reason.TRADING_WINDOW_UNKNOWN),
    ],
)
def test_what_stops_an_entry_does_not_stop_the_exit(settings, reason):
    row = subscribed(SubscriptionSettings(**settings))
    assert traded(row).reason is reason
    assert traded(row, HELD, action="exit").reason is Reason.ORDER
    assert traded(row, HELD, action="sell", sentiment="flat").reason is Reason.ORDER


def test_of_ticker_direction_and_window_the_first_is_named():
    settings = SubscriptionSettings(direction="short", trading_windows=CLOSED)
    assert traded(subscribed(settings)).reason is Reason.DIRECTION_NOT_ALLOWED
    refused = msgspec.structs.replace(settings, tickers_refused=("BTC_USDT",))
    assert traded(subscribed(refused)).reason is Reason.TICKER_NOT_ALLOWED


def test_a_signal_may_ask_to_run_outside_of_windows():
    row = subscribed(SubscriptionSettings(trading_windows=CLOSED))
    assert traded(row, ignoreTradingWindows=True).reason is Reason.ORDER


def test_a_group_sets_what_its_accounts_do_not():
    shared = SubscriptionSettings(
        use_signal_quantity=False, override_quantity=Decimal(7), direction="long"
    )
    row = subscribed(SubscriptionSettings(direction="both"), group=group(settings=shared))
    entry = traded(row, action="sell")
    assert [leg.order_qty for leg in entry.legs] == [7]
    assert entry.source["quantity"] == "group"


@pytest.mark.parametrize(
    ("layers", "source"),
    [
        ({"strategy": StrategySettings(default_stop_loss=StopLoss(percent=Decimal(2)))}, "strategy"),
        (
            {
                "settings": SubscriptionSettings(
                    override_take_profit=TakeProfit(percent=Decimal(2)),
                )
            },
            "subscription",
        ),
    ],
)  # fmt: skip
def test_protection_that_a_layer_wants_is_never_left_off(layers, source):
    row = subscribed(**layers)
    entry = traded(row)
    assert [leg.protect is not None for leg in entry.legs] == [True]
    assert source in (entry.source.get("stop_loss"), entry.source.get("take_profit"))
    assert [leg.protect for leg in traded(row, HELD, action="exit").legs] == [None]


def test_a_signals_protection_is_not_wanted_where_it_is_not_listened_to():
    """A layer's own protection is."""
    own = SubscriptionSettings(
        use_signal_stop_loss=False, override_stop_loss=StopLoss(percent=Decimal(9))
    )
    (leg,) = traded(subscribed(own), stopLoss={"percent": 1}).legs
    assert leg.protect.stop_loss.percent == 9


class TestApproval:
    ROW = SubscriptionSettings(needs_approval=True, approval_minutes=5)

    def test_the_entry_says_what_would_be_sent_and_sends_nothing(self):
        made = plan(signal(quantity=4), snapshot(subscribed(self.ROW)))
        entry = only(made)
        assert entry.reason is Reason.AWAITS_APPROVAL
        assert [leg.order_qty for leg in entry.legs] == [4]
        assert made.parts == []
        assert (entry.asked.expires_at - made.planned_at).total_seconds() == 300

    def test_an_exit_asks_too(self):
        assert traded(subscribed(self.ROW), HELD, action="exit").reason is Reason.AWAITS_APPROVAL

    def test_nobody_is_asked_about_nothing(self):
        assert traded(subscribed(self.ROW), action="exit").asked is None

    def test_cancelling_needs_nobodys_yes(self):
        entry = traded(subscribed(self.ROW), action="cancel")
        assert (entry.reason, entry.cancel_open, entry.asked) == (Reason.CANCEL_ONLY, True, None)

    def test_limits_come_before_the_question(self):
        row = subscribed(self.ROW, state="reducing")
        assert traded(row).reason is Reason.REDUCE_ONLY

    def test_others_of_the_same_signal_trade_at_once(self):
        snap = snapshot(subscribed(self.ROW), subscribed())
        made = plan(signal(quantity=1), snap)
        assert made.parts == [snap.rows[1].account.part]


def test_the_plan_names_both_versions():
    shot = snapshot(subscribed(), version=8)
    platform = msgspec.structs.replace(shot.platform, revision=41)
    made = plan(signal(quantity=1), msgspec.structs.replace(shot, platform=platform))
    assert (made.version, made.platform_revision) == (8, 41)
    assert made.planned_at > NOW
