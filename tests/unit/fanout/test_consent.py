"""A yes holds only while everything is as it was when it was asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from fanout.consent import VOID_SENTENCES, Void, ask, terms_of, void
from fanout.market import AccountNow
from fanout.reasons import Reason
from fanout.windows import Windows
from tenancy.limits import Limits, tightest
from tenancy.subscription import SubscriptionSettings
from tenancy.windows import TradingWindow
from tests.builders import NOW, snapshot, subscribed

ROW = subscribed(SubscriptionSettings(needs_approval=True))
ASKED = ask(ROW, NOW, heeds_windows=True)
POSITION = Decimal(2)
HELD = AccountNow(position=POSITION)
CLOSED = (TradingWindow(days=("sun",), start="00:00", end="00:00", time_zone="UTC"),)


def asked_of(row, now: AccountNow = HELD, *, opens=True, too_late=False, windows=None, **snap):
    return void(
        ask(row, NOW, heeds_windows=True), snapshot(row, **snap), now,
        position=POSITION, opens=opens, too_late=too_late, windows=windows,
    )  # fmt: skip


def after(row, now: AccountNow = HELD):
    """The question was put for ROW; this is what holds now."""
    return void(
        ASKED, snapshot(row), now, position=POSITION, opens=True, too_late=False, windows=None
    )


def test_every_word_has_a_sentence():
    assert set(VOID_SENTENCES) == set(Void)


def test_a_yes_holds_while_nothing_has_changed():
    assert after(ROW) is None


def test_the_product_gives_ten_minutes():
    assert ASKED.expires_at == NOW + timedelta(minutes=10)


def changed(**changes):
    return msgspec.structs.replace(ROW, **changes)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (subscribed(), Void.NO_SUBSCRIPTION),
        (changed(enabled=False), Reason.SUBSCRIPTION_DISABLED),
        (
            changed(limits=tightest([("tenant", Limits(max_order_quantity=Decimal(9)))])),
            Void.TERMS_CHANGED,
        ),
        (
            changed(
                settings=subscribed(
                    SubscriptionSettings(needs_approval=True, direction="long")
                ).settings
            ),
            Void.TERMS_CHANGED,
        ),
        (
            changed(account=msgspec.structs.replace(ROW.account, leverage=Decimal(3))),
            Void.TERMS_CHANGED,
        ),
        (
            changed(account=msgspec.structs.replace(ROW.account, state="halted")),
            Reason.ACCOUNT_HALTED,
        ),
    ],
)
def test_a_change_makes_it_void(row, why):
    assert after(row) is why


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (AccountNow(position=Decimal(3)), Void.POSITION_CHANGED),
        (AccountNow(position=POSITION, under_way=Decimal(1)), Void.POSITION_CHANGED),
        (AccountNow(), Void.POSITION_CHANGED),
        (AccountNow(position=POSITION, in_doubt=True), Reason.IN_DOUBT),
    ],
)
def test_another_position_makes_it_void(now, why):
    assert after(ROW, now) is why


@pytest.mark.parametrize("level", ["platform_state", "tenant_state", "state"])
def test_a_halt_makes_it_void_and_reducing_only_what_opens(level):
    assert asked_of(ROW, **{level: "halted"}) in (
        Reason.PLATFORM_HALTED, Reason.TENANT_HALTED, Reason.STRATEGY_HALTED,
    )  # fmt: skip
    assert asked_of(ROW, **{level: "reducing"}) is Reason.REDUCE_ONLY
    assert asked_of(ROW, opens=False, **{level: "reducing"}) is None


def test_too_late_is_too_late_to_open_and_not_to_close():
    assert asked_of(ROW, too_late=True) is Void.TOO_LATE
    assert asked_of(ROW, opens=False, too_late=True) is None


def test_a_window_that_has_closed_makes_an_entry_void():
    row = subscribed(SubscriptionSettings(needs_approval=True, trading_windows=CLOSED))
    windows = Windows(datetime(2026, 11, 20, tzinfo=UTC), {})
    assert asked_of(row, windows=windows) is Reason.OUTSIDE_TRADING_WINDOW
    assert asked_of(row, windows=windows, opens=False) is None


def test_terms_are_the_same_for_the_same_settings_however_they_were_read():
    again = msgspec.json.decode(msgspec.json.encode(ROW.settings), type=type(ROW.settings))
    assert terms_of(changed(settings=again)) == terms_of(ROW)
