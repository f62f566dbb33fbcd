"""What the pages of accounts and steering work out themselves: gauges, forms, differences, the picture."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest

from gateway.admin.changes import Verb
from gateway.admin.kinds import KINDS
from gateway.console.effective_rows import setting_rows
from gateway.console.gauges import WIDTH, gauges
from gateway.console.preview_chart import COLUMNS_MOST, MIDDLE, chart, size
from gateway.console.proof_words import PROOF
from gateway.console.setting_fields import (
    ACCOUNT_FIELDS,
    STRATEGY_FIELDS,
    SUBSCRIPTION_FIELDS,
    changed,
    filled,
    typed,
)
from gateway.console.steering_words import STEERING
from gateway.console.view import Sent
from gateway.console.words import WORDS, word
from tenancy.effective import resolve
from tenancy.limits import Limits
from tenancy.scope import ActorKind
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.tenant import FourEyes


def used(used: str | None, limit: str | None) -> dict[str, Any]:
    return {"used": used, "limit": limit, "source": "account" if limit else None}


def usage(leverage: dict[str, Any], *positions: dict[str, Any]) -> dict[str, Any]:
    nothing = used("0", None)
    return {
        "leverage": leverage, "daily_loss": nothing, "orders_last_minute": nothing, "positions": list(positions),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("now", "limit", "level", "width", "percent"),
    [
        ("1", "4", "well", 250.0, 25),
        ("3.2", "4", "warning", 800.0, 80),
        ("4", "4", "wrong", 1000.0, 100),
        ("9", "4", "wrong", 1000.0, 225),
        (None, "4", "unknown", None, None),
        ("9", None, "free", None, None),
    ],
)
def test_a_gauge_is_as_full_as_the_limit_is_used(now, limit, level, width, percent):
    first = gauges(usage(used(now, limit)))[0]

    assert (first.level, first.width, first.percent) == (level, width, percent)
    assert width is None or width <= WIDTH, "what is over its limit does not leave the drawing"


def test_positions_have_gauges_where_there_is_a_limit_on_them():
    position = {"symbol": "BTC", "quantity": used("3", "10"), "notional": used("5", None)}

    found = gauges(usage(used("0", None), position))

    assert [(one.name, one.of) for one in found[3:]] == [("position_quantity", "BTC")]


DOCUMENT = {
    "name": "trend", "sequence": "rotate",
    "settings": {"direction": "long", "needs_approval": True, "tickers_allowed": ["BTC", "ETH"]},
    "limits": {"max_leverage": "3"},
}  # fmt: skip


def form(**over: str) -> Sent:
    shown = filled(DOCUMENT, STRATEGY_FIELDS)
    was = {f"was-{name}": text for name, text in shown.items()}
    return Sent(list((shown | was | over).items()))


def test_a_form_sent_as_it_was_shown_changes_nothing():
    assert changed(STRATEGY_FIELDS, form()) == {}


def test_a_form_changes_what_was_changed_and_an_empty_field_inherits_again():
    sent = form(**{
        "settings-direction": "", "settings-needs_approval": "false", "settings-approval_minutes": "5",
        "settings-tickers_allowed": "BTC,  SOL ,", "limits-max_leverage": "2.5", "name": "trend 2",
    })  # fmt: skip

    assert changed(STRATEGY_FIELDS, sent) == {
        "name": "trend 2",
        "settings": {
            "direction": None, "needs_approval": False, "approval_minutes": 5,
            "tickers_allowed": ["BTC", "SOL"],
        },
        "limits": {"max_leverage": "2.5"},
    }  # fmt: skip


def test_a_field_that_was_not_in_the_form_is_left_alone():
    """Who may not change limits is not shown them: their absence takes none away."""
    sent = Sent([(name, text) for name, text in form().pairs if not name.startswith("limits-")])

    assert changed(STRATEGY_FIELDS, sent) == {}


def test_a_form_that_came_too_late_keeps_what_was_typed_and_undoes_nobody():
    """Somebody else has set the direction meanwhile; who is told to look again changes the minutes alone."""
    sent = form(**{"settings-approval_minutes": "7"})
    now = filled(DOCUMENT | {"settings": {"direction": "short"}}, STRATEGY_FIELDS)

    values = typed(now, STRATEGY_FIELDS, sent)

    assert (values["settings-approval_minutes"], values["settings-direction"]) == ("7", "short")
    again = Sent(list((values | {f"was-{name}": text for name, text in now.items()}).items()))
    assert changed(STRATEGY_FIELDS, again) == {"settings": {"approval_minutes": 7}}


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        (STRATEGY_FIELDS, StrategySettings),
        (SUBSCRIPTION_FIELDS, SubscriptionSettings),
        (ACCOUNT_FIELDS, None),
    ],
)
def test_every_field_is_a_member_of_what_it_changes(fields, settings):
    for field in fields:
        above, _, last = field.path.rpartition(".")
        if above == "settings":
            assert last in settings.__struct_fields__, field.path
        elif above == "limits":
            assert last in Limits.__struct_fields__, field.path


def effective(subscription: SubscriptionSettings) -> dict[str, Any]:
    settings = resolve(StrategySettings(), None, subscription, asset_class="crypto")
    return {"settings": msgspec.json.decode(msgspec.json.encode(settings)), "limits": {}}


def test_only_values_that_differ_from_the_strategys_are_marked():
    own = SubscriptionSettings(
        override_quantity=Decimal("0.5"), override_quantity_type="multiplier", rounding="down",
        use_signal_order_type_exit=False, override_order_type_exit="market",
    )  # fmt: skip
    rows = {
        row.name: row
        for row in setting_rows(effective(own), {"settings": {}, "asset_class": "crypto"})
    }

    assert {name for name, row in rows.items() if row.differs} == {"quantity", "order_type_exit"}
    assert rows["quantity"].value == {"quantity": "0.5", "type": "multiplier"}
    assert rows["rounding"].layer == "subscription", "said once more, and the same"
    assert (rows["direction"].signal, rows["stop_loss"].signal) == (None, True)


def test_what_a_crypto_strategy_would_say_alone_is_not_what_another_would():
    (row,) = [
        row
        for row in setting_rows(
            effective(SubscriptionSettings()), {"settings": {}, "asset_class": "stock"}
        )
        if row.name == "time_in_force_entry"
    ]

    assert (row.value, row.default, row.differs) == ("gtc", "day", True)


def entry(lots: str, side: str = "buy", decision: str = "order") -> dict[str, Any]:
    legs = [{"side": side, "order_qty": lots}] if Decimal(lots) else []
    return {"legs": legs, "decision": decision}


def test_columns_stand_up_for_buys_and_hang_down_for_sells():
    made = chart(
        [
            entry("10"),
            entry("0", decision="nothing"),
            entry("5", "sell"),
            entry("5", decision="asked"),
        ]
    )

    assert [one.kind for one in made.columns] == ["buy", "sell", "asked"]
    assert [(one.y, one.height) for one in made.columns] == [
        (0.0, MIDDLE), (MIDDLE, MIDDLE / 2), (MIDDLE / 2, MIDDLE / 2),
    ]  # fmt: skip
    assert (made.each, made.most) == (1, Decimal(10))


def test_of_ten_thousand_accounts_the_largest_of_each_column_is_seen():
    entries = [entry("1") for _ in range(10_000)]
    entries[4321] = entry("1000", "sell")

    made = chart(entries)

    assert len(made.columns) == COLUMNS_MOST
    assert made.each == 40
    assert [one.height for one in made.columns if one.kind == "sell"] == [MIDDLE]


def test_a_turn_counts_both_of_its_legs_and_nothing_draws_nothing():
    both = {"legs": [{"side": "sell", "order_qty": "3"}, {"side": "sell", "order_qty": "4"}]}

    assert size(both) == Decimal(-7)
    assert chart([]).columns == []


def test_each_level_of_the_switch_says_what_it_does():
    for group in ("level", "level_verb", "level_hint"):
        said = {word(level, group) for level in ("no_open", "cancel_open", "flatten", "block_all")}
        assert len(said) == 4
        assert not any("_" in one for one in said)


def test_no_two_files_name_the_same_group_of_words():
    """The later one would take the other's words away, and its pages would say the API's."""
    assert not STEERING.keys() & PROOF.keys()
    assert all(WORDS[group] is words for group, words in (STEERING | PROOF).items())


def test_whatever_can_wait_for_a_second_person_has_a_name_for_people():
    assert KINDS.keys() <= STEERING["object"].keys()
    assert set(get_args(FourEyes)) <= STEERING["category"].keys()
    assert {*get_args(Verb), "apply"} == STEERING["operation"].keys()
    assert set(get_args(ActorKind)) == STEERING["actor"].keys()
