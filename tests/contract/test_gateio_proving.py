"""A key is taken at Gate.io only where every answer says that it can trade and move nothing out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.sealing import stays_inside
from fanout.ports import BrokerAccount
from fanout.proof import NotProven, Proof, Proven
from hsm.errors import SealBroken
from loadtest.exchanges.gateio.faults import Rule
from tenancy.clock import SystemClock
from tenancy.errors import Unavailable
from tests.contract import venues
from tests.contract.venues import GateioVenue, gateio_settings

NAME = "p" + "a" * 25


@pytest.fixture
async def gate() -> AsyncIterator[GateioVenue]:
    async with venues.gateio() as up:
        yield up


async def prove(gate: GateioVenue, account: BrokerAccount | None = None, **asked: Any) -> Proof:
    not_after = datetime.now(UTC) + timedelta(seconds=5)
    wanted: dict[str, Any] = {"test_order": None, "not_after": not_after} | asked
    return await gate.broker.prove(account or gate.account, **wanted)


async def refused(gate: GateioVenue, **asked: Any) -> tuple[str, str]:
    proof = await prove(gate, **asked)
    assert isinstance(proof, NotProven), proof
    return proof.code, proof.words


async def test_a_key_for_futures_alone_is_proven_and_says_whose_it_is(gate: GateioVenue) -> None:
    proof = await prove(gate)
    assert isinstance(proof, Proven)
    assert proof.scopes == ("futures:write",)
    assert proof.broker_user == "10001"
    assert proof.checks == ("scopes", "not_ip_bound", "account_read")


async def test_both_forms_in_which_gate_lists_keys_are_read(gate: GateioVenue) -> None:
    """In the list another key of the same user can withdraw; that is not this key's fault."""
    await gate.control.change_key("rich", listed="list")
    with_long_key = await gate.control.create_account("c5dcfbf1f3a70123", "s9")
    assert with_long_key
    await gate.control.change_key("c5dcfbf1f3a70123", listed="list")
    account = msgspec.structs.replace(gate.account, api_key="c5dcfbf1f3a70123")
    broker = GateioBroker(
        gateio_settings(gate.control.url), _signing(account, b"s9"), SystemClock()
    )
    await broker.open()
    try:
        not_after = datetime.now(UTC) + timedelta(seconds=5)
        proof = await broker.prove(account, test_order=None, not_after=not_after)
    finally:
        await broker.close()
    assert isinstance(proof, Proven), proof
    assert proof.scopes == ("futures:write",)


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"permissions": ("futures", "wallet")}, "can_withdraw", "wallet"),
        ({"permissions": ("futures", "account")}, "can_withdraw", "account"),
        ({"permissions": ("futures", "earn", "spot")}, "can_withdraw", "earn"),
        ({"permissions": ("futures", "moonshot")}, "scope_unknown", "moonshot"),
        (
            {"permissions": ("futures", "moonshot"), "read_only": ("moonshot",)},
            "scope_unknown",
            "moonshot",
        ),
        ({"permissions": ()}, "scope_unknown", "none at all"),
        ({"listed": "forbidden"}, "scope_unknown", "FORBIDDEN"),
        ({"permissions": ("spot",)}, "cannot_trade", "futures"),
        ({"read_only": ("futures",)}, "cannot_trade", "futures"),
        ({"key_state": 2}, "locked", "locked"),
        ({"revoked": True}, "key", "INVALID_KEY"),
        ({"unified": True}, "account_mode", "unified"),
        ({"dual_mode": True}, "account_mode", "hedge"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
async def test_any_other_key_is_refused_and_the_words_say_why(
    gate: GateioVenue, changed: dict[str, Any], code: str, words: str
) -> None:
    await gate.control.change_key("rich", **changed)
    got, said = await refused(gate)
    assert got == code
    assert words in said


async def test_what_only_reads_the_wallet_moves_nothing(gate: GateioVenue) -> None:
    await gate.control.change_key("rich", permissions=("futures", "wallet"), read_only=("wallet",))
    proof = await prove(gate)
    assert isinstance(proof, Proven)
    assert proof.scopes == ("futures:write", "wallet:read")


async def test_a_user_who_never_funded_futures_has_a_good_key(gate: GateioVenue) -> None:
    await gate.control.create_account("new", "s1", balance=None)
    proof = await prove(gate, msgspec.structs.replace(gate.account, api_key="new"))
    assert isinstance(proof, Proven)
    assert proof.checks[-1] == "never_funded"


async def test_a_wrong_secret_is_refused_in_gates_own_words(gate: GateioVenue) -> None:
    wrong = msgspec.structs.replace(gate.account, api_key="poor")  # signed with rich's secret
    code, words = await refused(gate, account=wrong)
    assert (code, "INVALID_SIGNATURE" in words) == ("sign", True)


@pytest.mark.parametrize("kind", ["500_before", "429", "drop_after", "empty_201"])
@pytest.mark.parametrize("path", ["account/detail", "account/main_keys", "futures/usdt/accounts"])
async def test_an_unclear_answer_proves_nothing_either_way(
    gate: GateioVenue, kind: str, path: str
) -> None:
    """Never a yes, and never a no that a person would have to put right."""
    await gate.control.set_faults(Rule(kind=kind, path=f"/api/v4/{path}", method="GET"))  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await prove(gate)


# ------------------------------------------------------------------ the test order


async def test_a_test_order_rests_is_cancelled_and_fills_nothing(gate: GateioVenue) -> None:
    proof = await prove(gate, test_order=NAME)
    assert isinstance(proof, Proven)
    assert proof.checks[-1] == "test_order"
    (order,) = (await gate.control.audit()).orders
    assert (order.text, order.tif, order.size) == ("t-" + NAME, "poc", 1)
    assert (order.status, order.filled) == ("finished", 0)
    assert order.price < await gate.price_at("0.91")


async def test_one_that_a_crash_left_resting_is_cancelled_before_the_next(
    gate: GateioVenue,
) -> None:
    """The answer is lost after the order was placed; nothing may rest when the key is proven."""
    await gate.control.set_faults(Rule(kind="drop_after", nth=1))
    with pytest.raises(Unavailable):
        await prove(gate, test_order=NAME)
    assert [o.status for o in (await gate.control.audit()).orders] == ["open"]
    assert isinstance(await prove(gate, test_order=NAME), Proven)
    orders = (await gate.control.audit()).orders
    assert [(o.status, o.filled) for o in orders] == [("finished", Decimal(0))] * 2


async def test_a_test_order_that_gate_refuses_is_told_in_its_words(gate: GateioVenue) -> None:
    await gate.control.create_account("new", "s1", balance=None)
    account = msgspec.structs.replace(gate.account, api_key="new")
    code, words = await refused(gate, account=account, test_order=NAME)
    assert code == "test_order"
    assert "USER_NOT_FOUND" in words


@pytest.mark.parametrize(
    ("left_s", "words"),
    [(-1.0, "the lease ended"), (0.3, "REQUEST_EXPIRED")],
    ids=["before", "on its way"],
)
async def test_after_the_lease_has_ended_gate_takes_no_test_order(
    gate: GateioVenue, left_s: float, words: str
) -> None:
    late = Rule(kind="delay_before", method="POST", seconds=0.4, times=1)
    await gate.control.set_faults(late)
    with pytest.raises(Unavailable, match=words):
        await prove(gate, test_order=NAME, not_after=datetime.now(UTC) + timedelta(seconds=left_s))
    assert (await gate.control.audit()).orders == []


# ------------------------------------------------------------------ the vault


class Broken:
    """A signer that finds the row altered."""

    async def sign_request(self, account: BrokerAccount, **asked: Any) -> str:
        raise SealBroken("the MAC does not fit")


async def test_a_row_that_the_vault_does_not_take_is_refused_and_not_asked_for_ever(
    gate: GateioVenue,
) -> None:
    broker = GateioBroker(gateio_settings(gate.control.url), Broken(), SystemClock())
    await broker.open()
    try:
        proof = await broker.prove(
            gate.account, test_order=None, not_after=datetime.now(UTC) + timedelta(seconds=5)
        )
    finally:
        await broker.close()
    assert isinstance(proof, NotProven)
    assert proof.code == "not_signed"


async def test_the_adapter_and_the_api_agree_where_the_secret_stays(gate: GateioVenue) -> None:
    assert gate.broker.caps.secret_stays_inside == stays_inside("gateio") is True


def _signing(account: BrokerAccount, secret: bytes) -> Any:
    return venues.InProcessSigner({account.account_id: secret})
