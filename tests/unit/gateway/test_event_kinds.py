"""Which records are told to people: named one by one, and never what opens a commitment."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from audit.record import Kind
from gateway.admin import event_kinds
from gateway.admin.event_kinds import ALERTS, TOLD, Group, alert_of, facts, told
from tenancy.roles import ACTIONS


def test_every_kind_that_is_told_has_a_group_and_an_action_that_exist():
    for kind, known in TOLD.items():
        assert known.group in get_args(Group), kind
        assert known.action in ACTIONS, kind


def test_every_alert_is_told_and_has_a_name_of_its_own():
    assert {alert.kind for alert in ALERTS} <= set(TOLD)
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


def test_no_fact_is_a_key_a_body_or_the_words_of_a_wire():
    named = {name for known in TOLD.values() for name in known.facts}
    assert not named & {"k_rec", "body", "raw", "client", "before", "after", "token", "password"}
    assert (
        "broker" not in TOLD[Kind.ORDER_ACKNOWLEDGED].facts
    )  # there it is the broker's raw answer


def test_a_payload_that_comes_to_hold_more_tells_no_more():
    assert facts("order.fill", {"last_qty": "1", "k_rec": "00", "api_secret": "x"}) == {
        "last_qty": "1"
    }


@pytest.mark.parametrize("kind", ["export", "deployment", "a.kind.of.later"])
def test_what_is_not_named_is_told_to_nobody(kind: str):
    assert told(kind) is None
    assert facts(kind, {"a": 1}) == {}


def test_a_login_is_an_alert_only_where_it_is_locked_or_stolen():
    assert alert_of("login", {"event": "in"}) is None
    assert getattr(alert_of("login", {"event": "login_locked"}), "name", "") == "login_locked"
    assert getattr(alert_of("kill_switch", {}), "name", "") == "kill_switch"


def test_every_alert_is_written_by_some_part_of_the_product():
    """What nobody writes would be a promise to whoever subscribes to it."""
    root = Path(event_kinds.__file__).parents[2]
    sources = [
        path.read_text()
        for package in ("audit", "fanout", "gateway", "ops")
        for path in (root / package).rglob("*.py")
        if path.name not in {"event_kinds.py", "record.py", "verifier.py", "bundle.py"}
    ]
    for alert in ALERTS:
        assert any(f"Kind.{alert.kind.name}" in text for text in sources), alert.name
        for event in alert.events:
            assert any(f'"{event}"' in text for text in sources), (alert.name, event)
