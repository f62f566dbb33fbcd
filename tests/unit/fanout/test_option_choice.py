"""Each account of a plan gets the contract of its own broker and its own position."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from fanout import option_choice
from fanout.market import Instruments
from fanout.option_choice import choose
from fanout.options import Contract, NoContract
from fanout.reasons import Reason
from fanout.signal import Signal
from tenancy.subscription import SubscriptionSettings
from tests import builders
from tests.unit.fanout.test_options import CALL, CHAIN, PUT, STOCK, TODAY, option

OTHER = Instruments([STOCK, option("call", Decimal(75), date(2024, 5, 17))])
BROKERS = {"gateio": Instruments([STOCK, *CHAIN]), "other": OTHER}


def rows(*accounts: tuple[str, SubscriptionSettings]) -> Any:
    made = [builders.subscribed(settings, broker=broker) for broker, settings in accounts]
    return builders.snapshot(*made), [row.account.account_id for row in made]


def symbol(found: Any) -> str:
    assert isinstance(found, Contract), found
    return found.instrument.symbol


def test_each_broker_has_its_own_chain_and_each_subscription_its_own_names() -> None:
    plain, mapped = SubscriptionSettings(), SubscriptionSettings(symbol_map={"BLOCK": "SQ"})
    snapshot, ids = rows(("gateio", plain), ("other", plain), ("gateio", mapped), ("away", plain))
    signal = Signal(ticker="SQ", action="buy", option_type="call")
    found = choose(signal, snapshot, BROKERS, {}, TODAY)
    assert list(found) == ids[:3]
    assert symbol(found[ids[0]]) == symbol(found[ids[2]]) == "SQ240510C00068000"
    assert symbol(found[ids[1]]) == "SQ240517C00075000"
    renamed = Signal(ticker="BLOCK", action="buy", option_type="call")
    found = choose(renamed, snapshot, BROKERS, {}, TODAY)
    assert isinstance(found[ids[0]], NoContract)
    assert symbol(found[ids[2]]) == "SQ240510C00068000"


def test_invert_puts_is_each_subscriptions_own() -> None:
    on, off = (SubscriptionSettings(invert_puts=value) for value in (True, False))
    snapshot, ids = rows(("gateio", on), ("gateio", off))
    signal = Signal(ticker="SQ", action="buy", option_type="put")
    found = choose(signal, snapshot, BROKERS, {}, TODAY)
    assert [one.inverted for one in found.values() if isinstance(one, Contract)] == [True, False]
    assert list(found) == ids


def test_an_exit_is_of_what_each_account_holds() -> None:
    snapshot, ids = rows(*[("gateio", SubscriptionSettings())] * 3)
    signal = Signal(ticker="SQ", action="exit", option_type="both")
    held = {ids[0]: {CALL}, ids[1]: {PUT, "BTC_USDT"}}
    found = choose(signal, snapshot, BROKERS, held, TODAY)
    assert (symbol(found[ids[0]]), symbol(found[ids[1]])) == (CALL, PUT)
    nothing = found[ids[2]]
    assert isinstance(nothing, NoContract)
    assert nothing.reason is Reason.NO_POSITION


def test_a_signal_without_options_chooses_nothing() -> None:
    snapshot, _ = rows(("gateio", SubscriptionSettings()))
    assert choose(Signal(ticker="SQ", action="buy"), snapshot, BROKERS, {}, TODAY) == {}


def test_one_scan_serves_all_accounts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    scans: list[str] = []
    real = option_choice.resolve

    def counted(signal: Signal, ticker: str, *rest: Any, **more: Any) -> Any:
        scans.append(ticker)
        return real(signal, ticker, *rest, **more)

    monkeypatch.setattr(option_choice, "resolve", counted)
    snapshot, ids = rows(*[("gateio", SubscriptionSettings())] * 50)
    signal = Signal(ticker="SQ", action="buy", option_type="call")
    held = {account: {CALL} for account in ids[:20]}
    assert len(choose(signal, snapshot, BROKERS, held, TODAY)) == 50
    assert scans == ["SQ"]
