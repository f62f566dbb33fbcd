"""Shioaji's pure decisions: names, steps, sessions of the day, which order is ours, the record, endings."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.brokers.shioaji import contracts, names, reading
from fanout.brokers.shioaji.journal import Journal
from fanout.brokers.shioaji.reading import Deal, Seen, Several, Wanted, match
from fanout.brokers.shioaji.settings import from_json, to_json
from fanout.order import OrdState
from ops.brokers import shioaji_settings as read_table
from ops.session import ending
from ops.session.__main__ import until
from ops.session.logins import Logins
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError
from tests.contract.shioaji_venue import RICH, shioaji_settings
from tests.fakes.orders import an_account, an_order

D = Decimal
NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)  # 12:00 in Taipei, a Monday


def test_a_name_is_six_of_the_alphabet_and_the_same_everywhere() -> None:
    """A changed name would lose every order that is under way at the change."""
    assert names.custom_field("mfzgcy3fojsxgzlooruxi2dp.1") == "7QT2EY"
    assert names.custom_field("mfzgcy3fojsxgzlooruxi2dp.2") != "7QT2EY"


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567.", min_size=1, max_size=28))
def test_every_name_is_taken_by_sinopac(cl_ord_id: str) -> None:
    name = names.custom_field(cl_ord_id)
    assert len(name) == 6
    assert name.isascii()
    assert name.isalnum()
    assert name == name.upper()


def test_a_broker_s_name_has_its_day_in_taipei() -> None:
    late = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
    name = names.BrokerName(names.day_of(late), "c21b876d", "429832")
    assert str(name) == "20261123.c21b876d.429832"
    assert names.broker_name(str(name)) == name
    for wrong in ("", "c21b876d", "2026.c.d", "20261123..429832"):
        assert names.broker_name(wrong) is None


@pytest.mark.parametrize(
    ("steps", "price", "step"),
    [
        (contracts.STOCK_STEPS, "9.99", "0.01"), (contracts.STOCK_STEPS, "10", "0.05"),
        (contracts.STOCK_STEPS, "50", "0.1"), (contracts.STOCK_STEPS, "100", "0.5"),
        (contracts.STOCK_STEPS, "500", "1"), (contracts.STOCK_STEPS, "1000", "5"),
        (contracts.FUND_STEPS, "49.99", "0.01"), (contracts.FUND_STEPS, "50", "0.05"),
        (contracts.OPTION_STEPS, "9.9", "0.1"), (contracts.OPTION_STEPS, "10", "0.5"),
        (contracts.OPTION_STEPS, "50", "1"), (contracts.OPTION_STEPS, "500", "5"),
        (contracts.OPTION_STEPS, "1000", "10"),
    ],
)  # fmt: skip
def test_steps_of_prices(steps: contracts.Steps, price: str, step: str) -> None:
    contract = contracts.Contract(
        symbol="X", code="X", kind="stock", multiplier=D(1), most=D(1), steps=steps,
        limit_up=None, limit_down=None, reference=None,
    )  # fmt: skip
    assert contract.tick_at(D(price)) == D(step)
    assert contracts.instrument(contract, None, NOON).tick_at(D(price)) == D(step)


def test_what_is_no_price_is_none() -> None:
    for number in (None, 0.0, -1.0, float("nan"), float("inf")):
        assert contracts.decimal_of(number) is None
    assert contracts.decimal_of(23456.5) == D("23456.5")


# ------------------------------------------------------------------ reading


def seen(**changed: Any) -> Seen:
    facts: dict[str, Any] = {
        "id": "c21b876d", "seqno": "1", "ordno": "W1", "account": RICH, "code": "TXFL6",
        "stock": False, "action": "Buy", "qty": D(2), "price": D(23000), "custom_field": "AAAAAA",
        "status": "Submitted", "status_code": "", "text": "", "ordered_at": NOON,
        "canceled_qty": D(0), "dealt_qty": D(0), "deals": (),
    }  # fmt: skip
    return Seen(**(facts | changed))


DEAL = (Deal("1", D(23000), D(1)),)


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"status": "PendingSubmit"}, None),
        ({"status": "Inactive"}, None),
        ({"status": "PreSubmitted"}, OrdState.NEW),
        ({}, OrdState.NEW),
        ({"status": "PendingSubmit", "deals": DEAL}, OrdState.PARTIALLY_FILLED),
        ({"status": "PartFilled", "deals": DEAL}, OrdState.PARTIALLY_FILLED),
        ({"status": "PartFilled", "dealt_qty": D(2)}, OrdState.FILLED),
        ({"status": "Filled", "dealt_qty": D(2)}, OrdState.FILLED),
        ({"status": "Cancelled", "canceled_qty": D(2)}, OrdState.CANCELED),
        ({"status": "Cancelled", "canceled_qty": D(1), "deals": DEAL}, OrdState.CANCELED),
        ({"status": "Failed"}, OrdState.REJECTED),
        ({"status": "Failed", "deals": DEAL}, OrdState.CANCELED),
    ],
)
def test_states_by_what_sinopac_says(changed: dict[str, Any], state: OrdState | None) -> None:
    assert reading.state_of(seen(**changed), D(2), NOON) is state


def test_a_deal_of_less_than_was_asked_for_is_the_end_of_a_reducing_order() -> None:
    whole = seen(status="Filled", qty=D(1), deals=DEAL)
    assert reading.state_of(whole, D(3), NOON) is OrdState.CANCELED


@pytest.mark.parametrize(
    ("stock", "ordered", "ends"),
    [
        (True, "09:00", "23 13:30"), (False, "09:00", "23 13:45"), (False, "13:45", "24 05:00"),
        (False, "15:01", "24 05:00"), (False, "23:59", "24 05:00"), (False, "00:30", "23 05:00"),
        (False, "08:31", "23 13:45"),
    ],
)  # fmt: skip
def test_what_rests_ends_with_its_session(stock: bool, ordered: str, ends: str) -> None:
    at = datetime.combine(date(2026, 11, 23), time.fromisoformat(ordered), names.TAIPEI)
    end = reading.session_end(at, stock)
    assert f"{end.astimezone(names.TAIPEI):%d %H:%M}" == ends
    it = seen(stock=stock, ordered_at=at)
    assert reading.state_of(it, D(2), end + timedelta(minutes=14)) is OrdState.NEW
    assert reading.state_of(it, D(2), end + timedelta(minutes=16)) is OrdState.EXPIRED
    waiting = seen(stock=stock, ordered_at=at, status="PreSubmitted")
    assert reading.state_of(waiting, D(2), end + timedelta(minutes=16)) is OrdState.NEW


def wanted(**changed: Any) -> Wanted:
    order = an_order(an_account(), symbol="TXFL6", order_qty=D(2), ord_type="limit", price=D(23000))
    facts: dict[str, Any] = {
        "order": order, "account": RICH, "code": "TXFL6", "custom_field": "AAAAAA", "since": NOON,
    }  # fmt: skip
    return Wanted(**(facts | changed))


@pytest.mark.parametrize(
    "other",
    [
        {"custom_field": "BBBBBB"}, {"code": "MXFL6"}, {"action": "Sell"}, {"qty": D(3)},
        {"account": "F002000-9"}, {"ordered_at": NOON - timedelta(seconds=1)},
    ],
)  # fmt: skip
def test_an_order_of_our_name_is_ours_where_all_else_agrees(other: dict[str, Any]) -> None:
    assert match(wanted(), [seen()], frozenset()) == seen()
    assert match(wanted(), [seen(**other)], frozenset()) is None
    assert match(wanted(), [seen(**other), seen()], frozenset()) == seen()


def test_of_two_that_fit_none_is_taken_unless_the_record_knows_the_other() -> None:
    two = [seen(), seen(id="ffffffff")]
    assert isinstance(match(wanted(), two, frozenset()), Several)
    assert match(wanted(), two, frozenset({"ffffffff"})) == two[0]
    assert match(wanted(id="ffffffff"), two, frozenset()) == two[1]
    assert match(wanted(id="ffffffff", day="20261122"), two, frozenset()) is None
    assert isinstance(match(wanted(), [seen(custom_field="")], frozenset()), Several)


# ------------------------------------------------------------------ the record


class Stepped(SystemClock):
    """Goes where it is told."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def test_the_record_proves_what_never_left_and_nothing_else(tmp_path: Path) -> None:
    clock = Stepped(NOON)
    path, after = tmp_path / "j", NOON + timedelta(seconds=1)
    first = Journal(path, clock, lambda: 100.0)
    first.handed("a", "one.1")
    first.known("a", "one.1", "c21b876d")
    first.op()
    assert not first.never_left("a", "one.1", after)
    assert not first.never_left("a", "old.1", NOON), "from before the record"
    assert first.never_left("a", "two.1", after)
    with path.open("a") as file:
        file.write("handed a three.1 2026")  # killed in the middle of the line: not handed over
    clock.at = NOON + timedelta(hours=1)
    second = Journal(path, clock, lambda: 105.0)
    assert second.was_handed("a", "one.1")
    assert second.is_gone("a", "two.1")
    assert second.never_left("a", "three.1", after)
    assert not second.never_left("a", "old.1", NOON)
    assert (second.broker_id("a", "one.1"), second.cl_ord_id("a", "c21b876d")) == (
        "c21b876d",
        "one.1",
    )
    assert second.others("a", "two.1") == {"c21b876d"}
    assert second.ops == [100.0]
    clock.at = NOON + timedelta(days=5)
    third = Journal(path, clock, lambda: 500_000.0)
    assert not third.was_handed("a", "one.1")
    assert not third.never_left("a", "one.1", after), "what is forgotten proves nothing"
    for journal in (first, second, third):
        journal.close()


def test_a_record_of_another_boot_is_not_believed(tmp_path: Path) -> None:
    clock, path = Stepped(NOON), tmp_path / "j"
    path.write_text("since another-boot 2026-11-01T00:00:00+00:00\n")
    journal = Journal(path, clock)
    assert journal.since == NOON
    journal.close()


# ------------------------------------------------------------------ processes


def test_how_a_session_ended_says_when_the_next_begins() -> None:
    assert ending.pause(ending.PLANNED, 80_000, 0) == 0
    assert ending.pause(ending.REFUSED, 1, 1) == "another_key"
    assert ending.pause(ending.BANNED, 9_000, 1) == 65
    assert ending.pause(ending.TOKEN, 9_000, 1) == 2
    pauses = [ending.pause(-9, 0.1, failures) for failures in range(1, 9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_session_is_restarted_at_its_time_in_taipei() -> None:
    assert until(time(6, 0), NOON) == 18 * 3600
    assert until(time(6, 0), NOON - timedelta(hours=6, seconds=1)) == 1
    assert until(time(6, 0), NOON - timedelta(hours=6)) == 24 * 3600


def test_logins_are_counted_over_a_day_and_over_restarts(tmp_path: Path) -> None:
    clock = Stepped(NOON)
    for hour in range(3):
        clock.at = NOON + timedelta(hours=hour)
        Logins(tmp_path / "l", clock, 3).count()
    again = Logins(tmp_path / "l", clock, 3)
    assert again.wait_s() == 22 * 3600
    clock.at = NOON + timedelta(days=1, seconds=1)
    assert again.wait_s() == 0


def test_settings_go_to_the_session_as_they_are(tmp_path: Path) -> None:
    settings = shioaji_settings(tmp_path)
    assert from_json(to_json(settings)) == settings
    table = msgspec.to_builtins(settings, enc_hook=str)
    assert read_table({"shioaji": table}) == settings


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"order_ops": 251}, "order_ops must be 1 to 250"),
        ({"accounting_ops": 26}, "accounting_ops must be 1 to 25"),
        ({"logins_per_day": 1001}, "logins_per_day"),
        ({"persons": []}, "persons"),
        ({"odd_stocks": ["2330"]}, "2330 is in stocks and in odd_stocks"),
        ({"restart_at": "09:00:00"}, "restart_at must be 05:15 to 08:15"),
        ({"ack_wait_s": 0}, "ack_wait_s must be greater than 0"),
        ({"simulation": None}, "simulation"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    table = msgspec.to_builtins(shioaji_settings(tmp_path), enc_hook=str) | changed
    with pytest.raises(ConfigurationError, match=words):
        read_table({"shioaji": table})


def test_production_needs_a_certificate(tmp_path: Path) -> None:
    table = msgspec.to_builtins(shioaji_settings(tmp_path), enc_hook=str)
    table["persons"][0]["ca_file"] = None
    with pytest.raises(ConfigurationError, match="ca_file"):
        read_table({"shioaji": table})
    assert read_table({"shioaji": table | {"simulation": True}}).simulation
