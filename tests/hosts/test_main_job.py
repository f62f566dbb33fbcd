"""Signed signals to the VIP from a machine of no group: each order once, at the exchange that counts them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.hosts.client import as_client
from tests.hosts.lab import Lab
from tests.hosts.main_job import ACCOUNTS, SIGNALS, Asked, Told, filled_at_the_exchange, trade
from tests.hosts.play import ADMIN_URL, HOOKS_URL


@pytest.fixture(scope="module")
def traded(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A tenant by ceremony on the first host, its keys on the others; then what its strategy sends."""
    return as_client(deployed.wire, trade, new_fund(deployed, tmp_path_factory.mktemp("client")))


def new_fund(lab: Lab, directory: Path, name: str = "Lab Fund") -> Asked:
    """As docs/operating/hsm-backup.md says, SoftHSM on several hosts."""
    first, controller = lab.hosts[0], lab.controller
    here = "--url https://127.0.0.1:8443 --as operator"
    made = controller.said(first, f'sudo portcullis tenant create "{name}" {here} --json')
    tenant = json.loads(made)
    copied = controller.play("site_app", "--tags", "hsm_client,portcullis_installation")
    assert copied.worked, copied.end
    key = controller.said(first, f"sudo cat {tenant['key_file']}")
    return Asked(
        hooks=HOOKS_URL, admin=ADMIN_URL, authority=str(controller.authority),
        tenant_id=tenant["tenant_id"], service_key=key.strip(), log=str(directory / "exchange.log"),
    )  # fmt: skip


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
