"""Signed signals to the VIP from a machine of no group: each order once, at the exchange that counts them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.hosts.client import as_client
from tests.hosts.fund import new_fund
from tests.hosts.lab import Lab
from tests.hosts.main_job import ACCOUNTS, SIGNALS, Told, filled_at_the_exchange, trade


@pytest.fixture(scope="module")
def traded(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A tenant by ceremony on the first host, its keys on the others; then what its strategy sends."""
    fund = new_fund(deployed, tmp_path_factory.mktemp("client"), "Lab Fund")
    return as_client(deployed.wire, trade, fund)


def test_every_signal_is_accepted_and_comes_to_its_end(traded: Told) -> None:
    assert [one.first.status for one in traded.answered] == [202] * len(SIGNALS)
    for one in traded.answered:
        assert one.outcome["accounts"] == ACCOUNTS
        assert one.outcome["states"].keys() <= {"filled", "skipped"}, one.outcome
        assert one.outcome["states"]["filled"] >= ACCOUNTS // 2, one.outcome


def test_each_order_is_at_the_exchange_once(traded: Told) -> None:
    """Counted there, and held against what the product says that it filled: none missing, none twice.

    An order may have several attempts, of which one at most was executed.
    """
    executed = Counter(order.order for order in traded.executed)
    filled = filled_at_the_exchange(account for one in traded.answered for account in one.accounts)
    assert executed == dict.fromkeys(filled, 1)
    assert len(executed) >= len(SIGNALS) * ACCOUNTS // 2


def test_a_signal_again_is_answered_the_same_and_does_nothing(traded: Told) -> None:
    for one in traded.answered:
        assert (one.again.status, one.again.signal_id) == (202, one.first.signal_id)


def test_another_ones_signature_is_refused(traded: Told) -> None:
    assert traded.forged.status == 401, traded.forged.answer
