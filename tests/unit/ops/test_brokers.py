"""The brokers of a host: beside each real one stands its imitation on paper, for shadows."""

from __future__ import annotations

import msgspec

from ops.brokers import make_brokers
from tenancy.clock import SystemClock
from tenancy.database import Database
from tests.contract.venues import BTC, gateio_settings

GATEIO = msgspec.to_builtins(gateio_settings("http://127.0.0.1:1"))
PAPER = {"instruments": [msgspec.to_builtins(BTC)], "slippage_bps": "3"}


def made(**tables):
    database = Database("postgresql:///none", name="t", size=1)
    return make_brokers(tables, signer=None, database=database, clock=SystemClock())  # type: ignore[arg-type]


def test_shadows_of_a_broker_trade_at_its_prices_though_paper_has_instruments_of_its_own():
    brokers = made(gateio=GATEIO, paper=PAPER)
    assert {name: broker.name for name, broker in brokers.items()} == {
        "gateio": "gateio", "paper": "paper", "shadow-gateio": "shadow-gateio",
    }  # fmt: skip
    assert "0 own instruments" in repr(brokers["shadow-gateio"])
    assert not brokers["shadow-gateio"].caps.credential


def test_a_shadow_is_by_the_rules_of_its_twins_broker_and_paper_by_its_own():
    """Gate holds no stops and does not care for a second order of a name."""
    brokers = made(gateio=GATEIO, paper=PAPER)
    shadow, paper = brokers["shadow-gateio"].caps, brokers["paper"].caps
    assert shadow.times_in_force == brokers["gateio"].caps.times_in_force
    assert not shadow.unique_client_ids
    assert "stop" in paper.ord_types
    assert paper.unique_client_ids


def test_without_a_real_broker_there_is_nothing_to_imitate():
    assert set(made(paper=PAPER)) == {"paper"}
