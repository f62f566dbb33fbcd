"""Gate.io's kinds of accounts: hedge and one-way, cross and isolated, classic and unified, sub-accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout.brokers.gateio.adapter import GateioBroker
from fanout.ports import Acked, BrokerAccount, BrokerPosition, Outcome, Rejected, Unsent
from fanout.proof import NotProven, Proven
from loadtest.exchanges.gateio.control import NewAccount
from loadtest.exchanges.gateio.faults import Rule
from tenancy.clock import SystemClock
from tenancy.errors import Unavailable
from tests.contract.venues import GateioVenue, gateio, gateio_settings
from tests.fakes.orders import an_account, an_order, submitted
from tests.fakes.signer import InProcessSigner

HEDGE = {"position_mode": "hedge", "margin_mode": "cross", "leverage": "20"}
READS_UNIFIED: dict[str, Any] = {"permissions": ("futures", "unified"), "read_only": ("unified",)}
POSITION = "/api/v4/futures/usdt/positions/BTC_USDT"
LEVERAGE = f"{POSITION}/leverage"


@pytest.fixture
async def venue() -> AsyncIterator[GateioVenue]:
    async with gateio() as up:
        yield up


def said(venue: GateioVenue, **settings: Any) -> BrokerAccount:
    return msgspec.structs.replace(venue.account, settings=settings)


async def place(venue: GateioVenue, account: BrokerAccount, **changed: Any) -> Outcome:
    return await submitted(venue.broker, account, an_order(account, **changed))


async def held(venue: GateioVenue, account: BrokerAccount) -> dict[str, BrokerPosition]:
    return {one.side: one for one in await venue.broker.positions(account)}


# ------------------------------------------------------------------ hedge and one-way


async def test_in_hedge_mode_both_sides_are_held_and_reduced_each_by_itself(
    venue: GateioVenue,
) -> None:
    account = said(venue, **HEDGE)
    for changed in (
        {"side": "buy", "order_qty": Decimal(10)},
        {"side": "sell", "order_qty": Decimal(6)},
        {"side": "sell", "order_qty": Decimal(4), "reduce_only": True},
        {"side": "buy", "order_qty": Decimal(1), "reduce_only": True},
    ):
        assert isinstance(await place(venue, account, **changed), Acked)
    sides = await held(venue, account)
    assert {side: one.qty for side, one in sides.items()} == {"long": 6, "short": -5}
    assert {(one.margin_mode, one.leverage) for one in sides.values()} == {("cross", Decimal(20))}


async def test_a_position_is_numbered_so_that_an_older_state_is_known(venue: GateioVenue) -> None:
    versions = []
    for _ in range(2):
        assert isinstance(await place(venue, venue.account), Acked)
        version = (await held(venue, venue.account))["net"].version
        assert version is not None
        versions.append(version)
    assert versions[0] < versions[1]


async def test_a_mode_that_gate_will_not_change_ends_the_order_and_not_an_exit(
    venue: GateioVenue,
) -> None:
    assert isinstance(await place(venue, venue.account, order_qty=Decimal(5)), Acked)
    account = said(venue, **HEDGE)
    refused = await place(venue, account)
    assert isinstance(refused, Rejected), refused
    assert not refused.left
    assert "dual_mode" in refused.text
    exit_ = await place(venue, account, side="sell", order_qty=Decimal(5), reduce_only=True)
    assert isinstance(exit_, Acked), exit_


@pytest.mark.parametrize("hedge", [True, False], ids=["hedge", "one way"])
async def test_positions_of_an_account_in_another_mode_are_not_guessed_at(
    venue: GateioVenue, hedge: bool
) -> None:
    mine, other = said(venue, position_mode="hedge"), said(venue)
    await place(venue, mine if hedge else other)
    with pytest.raises(Unavailable, match="position_mode"):
        await venue.broker.positions(other if hedge else mine)


@pytest.mark.parametrize("dual", [True, False])
async def test_a_key_is_proven_for_the_mode_that_the_settings_say(
    venue: GateioVenue, dual: bool
) -> None:
    await venue.control.change_key("rich", dual_mode=dual)
    not_after = datetime.now(UTC) + timedelta(seconds=5)
    for settings in ({"position_mode": "hedge"}, {}):
        account = said(venue, **settings)
        proof = await venue.broker.prove(account, test_order=None, not_after=not_after)
        if bool(settings) == dual:
            assert isinstance(proof, Proven), proof
        else:
            assert isinstance(proof, NotProven), proof
            assert proof.code == "account_mode"


# ------------------------------------------------------------------ margin mode and leverage


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"margin_mode": "isolated", "leverage": "7"}, ("isolated", Decimal(7))),
        ({"margin_mode": "cross", "leverage": "25"}, ("cross", Decimal(25))),
        ({"margin_mode": "cross"}, ("cross", None)),
    ],
)
async def test_margin_mode_and_leverage_are_set_before_the_first_order(
    venue: GateioVenue, settings: dict[str, str], expected: tuple[str, Decimal | None]
) -> None:
    account = said(venue, **settings)
    assert isinstance(await place(venue, account), Acked)
    seen = (await held(venue, account))["net"]
    assert seen.margin_mode == expected[0]
    assert expected[1] in (None, seen.leverage)
    # Only the first order asks how the position stands.
    await venue.control.set_faults(Rule(kind="500_before", method="GET", path=POSITION))
    assert isinstance(await place(venue, account), Acked)


async def test_a_leverage_that_gate_refuses_ends_the_order(venue: GateioVenue) -> None:
    account = said(venue, margin_mode="isolated", leverage="150")
    outcome = await place(venue, account)
    assert isinstance(outcome, Rejected), outcome
    assert (outcome.code, outcome.kind, outcome.left) == ("LEVERAGE_TOO_HIGH", "risk", False)
    assert (await venue.control.audit()).orders == []


async def test_an_unclear_answer_to_the_leverage_leaves_the_order_unsent_and_it_may_come_again(
    venue: GateioVenue,
) -> None:
    account = said(venue, margin_mode="isolated", leverage="7")
    await venue.control.set_faults(Rule(kind="500_after", path=LEVERAGE, times=1))
    outcome = await place(venue, account)
    assert isinstance(outcome, Unsent), outcome
    assert (await venue.control.audit()).orders == []
    assert isinstance(await place(venue, account), Acked)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levrage": "5"}, "`levrage`; known are position_mode, margin_mode, leverage"),
        ({"leverage": "5"}, "needs margin_mode"),
        ({"margin_mode": "cross", "leverage": "NaN"}, "leverage"),
        ({"margin_mode": "cross", "leverage": "0.5"}, "1 to 200"),
        ({"position_mode": "dual"}, "position_mode"),
    ],
)
async def test_settings_that_are_not_gates_are_refused_in_words_and_an_exit_goes_all_the_same(
    venue: GateioVenue, settings: dict[str, str], words: str
) -> None:
    account = said(venue, **settings)
    outcome = await place(venue, account)
    assert isinstance(outcome, Rejected)
    assert not outcome.left
    assert words in outcome.text
    exit_ = await place(venue, account, side="sell", reduce_only=True)
    assert isinstance(exit_, Rejected)
    assert exit_.left  # Gate's own word: there is no position


# ------------------------------------------------------------------ classic, evolved, unified


@pytest.mark.parametrize("kind", ["classic", "evolved", "unified"])
async def test_equity_is_read_where_that_kind_of_account_has_it(
    venue: GateioVenue, kind: str
) -> None:
    if kind != "classic":
        await venue.control.change_key("rich", **{kind: True}, **READS_UNIFIED)
    assert isinstance(await place(venue, venue.account, order_qty=Decimal(100)), Acked)
    before = await venue.broker.equity(venue.account)
    await venue.move(await venue.price() * Decimal("1.01"))
    after = await venue.broker.equity(venue.account)
    assert before is not None
    assert after is not None
    assert after.currency == "USDT"
    assert 9_980 < before.equity < 10_000  # fees, and the spread
    gained = after.equity - before.equity
    assert gained == after.unrealised - before.unrealised > 0
    assert 0 < after.available < after.equity


async def test_a_unified_account_is_proven_only_where_the_settings_say_so(
    venue: GateioVenue,
) -> None:
    not_after = datetime.now(UTC) + timedelta(seconds=5)

    async def code(kind: str) -> str | None:
        account = said(venue, account_kind=kind)
        proof = await venue.broker.prove(account, test_order=None, not_after=not_after)
        return proof.code if isinstance(proof, NotProven) else None

    await venue.control.change_key("rich", unified=True)
    assert await code("unified") == "cannot_trade"  # the key may not read its equity
    await venue.control.change_key("rich", **READS_UNIFIED)
    assert await code("unified") is None
    assert await code("classic") == "account_mode"
    await venue.control.change_key("rich", unified=False)
    assert await code("unified") == "account_mode"


async def test_a_sub_accounts_key_is_its_own_user_with_its_own_book(venue: GateioVenue) -> None:
    await venue.control.create_accounts([NewAccount(key="sub", secret="s3", sub_of="rich")])
    sub = an_account(api_key="sub")
    broker = GateioBroker(
        gateio_settings(venue.control.url), InProcessSigner({sub.account_id: b"s3"}), SystemClock()
    )
    await broker.open()
    try:
        not_after = datetime.now(UTC) + timedelta(seconds=5)
        proof = await broker.prove(sub, test_order=None, not_after=not_after)
        assert isinstance(proof, Proven), proof
        assert isinstance(await submitted(broker, sub, an_order(sub)), Acked)
        assert [one.qty for one in await broker.positions(sub)] == [1]
    finally:
        await broker.close()
    assert await venue.broker.positions(venue.account) == []
