"""What is a dead letter, and that a replay never comes to more than was left undone."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.dead_letters import (
    DEAD,
    PASSING,
    TOLERANCE,
    Attempt,
    DeadAccount,
    NewLeg,
    dead_of_orders,
    dead_of_plan,
    grows,
    moved,
)
from fanout.order import FINAL, OrdState
from fanout.reasons import Reason

ROOT = Path(__file__).parents[3]
ONE, OTHER = UUID(int=1), UUID(int=2)
S = OrdState


def attempt(
    state: OrdState, *, leg: int = 0, number: int = 1, qty: int = 2, cum: int = 0, closes: bool = False,
    side: str = "buy", account: UUID = ONE, cancelled: bool = False,
) -> Attempt:  # fmt: skip
    return Attempt(
        account_id=account, cl_ord_id=f"o{leg}.{number}", leg=leg, attempt=number, broker="gateio",
        symbol="BTC_USDT", side=side, order_qty=Decimal(qty), cum_qty=Decimal(cum), reduce_only=closes,
        state=state, text="why", cancelled=cancelled,
    )  # fmt: skip


def new(qty: int, side: str = "buy", leg: int = 0, kind: str = "market") -> NewLeg:
    return NewLeg(leg=leg, side=side, order_qty=Decimal(qty), ord_type=kind, reduce_only=False)


@pytest.mark.parametrize(
    ("attempts", "reason", "why_not"),
    [
        ([attempt(S.UNSENT)], "unsent", ""),
        ([attempt(S.REJECTED)], "rejected", ""),
        ([attempt(S.DENIED)], "denied", ""),
        ([attempt(S.ABSENT)], "absent", ""),
        ([attempt(S.ABSENT), attempt(S.FILLED, number=2, cum=2)], None, None),
        ([attempt(S.ABSENT), attempt(S.UNSENT, number=2)], "unsent", ""),
        ([attempt(S.FILLED, cum=2)], None, None),
        ([attempt(S.CANCELED)], None, None),
        ([attempt(S.EXPIRED, cum=1)], None, None),
        ([attempt(S.UNSENT, cancelled=True)], None, None),
        ([attempt(S.FILLED, cum=2, closes=True), attempt(S.REJECTED, leg=1)], "rejected", ""),
        ([attempt(S.CANCELED, cum=1, closes=True), attempt(S.DENIED, leg=1)], "denied", ""),
        ([attempt(S.FILLED, cum=2), attempt(S.REJECTED, leg=1)], "rejected", "has opened a part"),
        ([attempt(S.REJECTED), attempt(S.IN_DOUBT, leg=1)], "rejected", "open or in doubt"),
    ],
)  # fmt: skip
def test_what_is_a_dead_letter_and_whether_it_can_be_replayed(attempts, reason, why_not):
    found = dead_of_orders(attempts)
    if reason is None:
        assert found == []
    else:
        (dead,) = found
        assert dead.reason == reason
        assert why_not in dead.why_not
        assert bool(why_not) == bool(dead.why_not)


def test_of_a_plan_only_what_passes_is_a_dead_letter():
    left_out = {ONE: ("not_connected", "no key"), OTHER: ("position_exists", "")}
    assert [(d.account_id, d.reason) for d in dead_of_plan(left_out)] == [(ONE, "not_connected")]


attempts_of_accounts = st.lists(
    st.builds(
        attempt,
        st.sampled_from(sorted(OrdState)),
        leg=st.integers(0, 1),
        number=st.integers(1, 3),
        qty=st.integers(1, 9),
        cum=st.integers(0, 9),
        closes=st.booleans(),
        side=st.sampled_from(("buy", "sell")),
        account=st.sampled_from((ONE, OTHER)),
        cancelled=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda a: (a.account_id, a.leg, a.attempt),
)
legs = st.lists(
    st.builds(new, st.integers(1, 20), st.sampled_from(("buy", "sell")), st.integers(0, 1)),
    max_size=2,
)


@given(attempts_of_accounts, legs)
def test_a_replay_never_sends_more_than_was_left_undone(attempts, sent):
    """Whatever became of the orders: what may be replayed is final, has opened nothing, and is bounded."""
    for dead in dead_of_orders(attempts):
        mine = [a for a in attempts if a.account_id == dead.account_id]
        if dead.why_not or grows(dead, sent):
            continue
        last = {a.leg: a for a in sorted(mine, key=lambda a: a.attempt)}
        assert all(a.state in FINAL for a in last.values())
        assert not any(a.cum_qty for a in mine if not a.reduce_only)
        for side in ("buy", "sell"):
            undone = sum(
                a.order_qty for a in last.values()
                if a.side == side and a.state in DEAD and not a.cancelled
            )  # fmt: skip
            wanted = sum(leg.order_qty for leg in sent if leg.side == side)
            assert wanted <= undone * (1 if dead.done else 1 + TOLERANCE)


def test_an_account_that_was_left_out_has_no_bound():
    assert grows(DeadAccount(account_id=ONE, reason="no_price", text=""), [new(99)]) == ""


@pytest.mark.parametrize(
    ("now", "is_moved"),
    [
        ([new(100)], False),
        ([new(105)], False),
        ([new(106)], True),
        ([new(94)], True),
        ([new(100, side="sell")], True),
        ([new(100, kind="limit")], True),
        ([], True),
        ([new(100), new(1, leg=1)], True),
    ],
)
def test_what_was_shown_has_moved_beyond_a_little(now, is_moved):
    assert moved([new(100)], now) is is_moved


def test_the_index_names_the_reasons_that_pass():
    sql = (ROOT / "ops" / "migrations" / "0029_doubt.sql").read_text()
    index = sql[sql.index("CREATE INDEX signal_outcomes_left") :]
    listed = index[index.index("[") + 1 : index.index("]")]
    assert {word.strip().strip("'") for word in listed.split(",")} == PASSING
    # What other parts of this version plan with; recon adds the last.
    assert PASSING - {reason.value for reason in Reason} <= {"not_reconciled"}
