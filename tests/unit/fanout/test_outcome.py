"""One word for each account, and counts that say the same of all of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.order import OrdState
from fanout.outcome import Attempt, account_outcome, signal_state, state_of_account, states_of

D = Decimal
AT = datetime(2026, 1, 1, tzinfo=UTC)


def attempt(**changes: Any) -> Attempt:
    made: dict[str, Any] = {
        "leg": 0, "side": "buy", "order_qty": D(2), "cum_qty": D(2), "avg_px": D(101),
        "signal_px": D(100), "arrival_px": D(101), "state": OrdState.FILLED,
        "sent_at": AT + timedelta(milliseconds=5), "acked_at": AT + timedelta(milliseconds=7),
        "done_at": AT + timedelta(milliseconds=11),
    }  # fmt: skip
    return Attempt(**(made | changes))


def of(*attempts: Attempt, reason: str = "order", answer: Any = None) -> Any:
    return account_outcome(reason, attempts, answer=answer, since=AT)


NOTHING = {"cum_qty": D(0), "avg_px": None}


@pytest.mark.parametrize(
    ("attempts", "state"),
    [
        ([attempt()], "filled"),
        ([attempt(state=OrdState.NEW, **NOTHING)], "working"),
        ([attempt(state=OrdState.HELD, **NOTHING)], "working"),
        ([attempt(state=OrdState.IN_DOUBT, **NOTHING)], "working"),
        ([attempt(state=OrdState.CANCELED, cum_qty=D(1))], "partly_filled"),
        ([attempt(state=OrdState.REJECTED, **NOTHING)], "failed"),
        ([attempt(state=OrdState.ABSENT, **NOTHING), attempt()], "filled"),
        ([attempt(), attempt(leg=1, state=OrdState.DENIED, **NOTHING)], "partly_filled"),
        ([attempt(), attempt(leg=1, state=OrdState.WAITING, **NOTHING)], "working"),
    ],
)
def test_orders_have_one_word(attempts, state):
    assert of(*attempts).state == state


@pytest.mark.parametrize(
    ("reason", "answer", "state"),
    [
        ("order", None, "planned"),
        ("awaits_approval", "pending", "asked"),
        ("awaits_approval", "approved", "asked"),
        ("awaits_approval", "void", "declined"),
        ("awaits_approval", "expired", "declined"),
        ("awaits_approval", "rejected", "declined"),
        ("cancel_only", None, "cancels"),
        ("no_position", None, "skipped"),
        ("a_reason_of_another_version", None, "skipped"),
    ],
)
def test_an_account_without_orders_has_one_too(reason, answer, state):
    assert of(reason=reason, answer=answer).state == state


def test_both_legs_of_a_flip_are_weighed_by_what_they_filled():
    flip = of(
        attempt(cum_qty=D(2), avg_px=D(100)),
        attempt(leg=1, order_qty=D(6), cum_qty=D(6), avg_px=D(104)),
    )
    assert (flip.order_qty, flip.cum_qty, flip.avg_px) == ("8", "8", "103")
    # (2 * 0 + 6 * 400) / 8 against 100; (2 * -99.0099 + 6 * 297.0297) / 8 against 101.
    assert (flip.slippage_signal_bps, flip.slippage_arrival_bps) == ("300", "198.0198")


def test_latencies_follow_each_other():
    made = of(attempt())
    assert (made.send_ms, made.ack_ms, made.fill_ms) == (5.0, 2.0, 4.0)


def test_what_did_not_fill_whole_has_no_time_to_fill():
    assert of(attempt(state=OrdState.CANCELED, cum_qty=D(1))).fill_ms is None


@pytest.mark.parametrize(
    ("kept", "done", "with_orders", "state"),
    [
        ("accepted", False, 0, "accepted"),
        ("refused", True, 0, "refused"),
        ("planned", False, 0, "planned"),
        ("planned", False, 3, "working"),
        ("planned", True, 3, "done"),
    ],
)
def test_a_signal_has_one_word(kept, done, with_orders, state):
    assert signal_state(kept, done=done, with_orders=with_orders) == state


ACCOUNTS = st.lists(
    st.one_of(
        st.sampled_from([("no_position", None, None), ("cancel_only", None, None)]),
        st.tuples(st.just("order"), st.none(), st.sampled_from([None, "working", "filled"])),
        st.tuples(
            st.just("awaits_approval"),
            st.sampled_from(["pending", "rejected", "void"]),
            st.none(),
        ),
        st.tuples(
            st.just("awaits_approval"), st.just("carried"), st.sampled_from(["failed", "filled"])
        ),
    ),
    max_size=40,
)


@given(ACCOUNTS)
def test_the_counts_are_those_of_the_accounts(accounts):
    """From counts alone the same comes out as from every account."""
    legs = {"working": (D(0), True), "filled": (D(1), False), "failed": (D(0), False)}
    one_by_one: Counter[str] = Counter()
    for reason, answer, orders in accounts:
        has = []
        if orders:
            filled, is_open = legs[orders]
            state = OrdState.NEW if is_open else OrdState.CANCELED
            has = [attempt(order_qty=D(1), cum_qty=filled, state=state)]
        one_by_one[
            of(*has, reason=reason, answer=None if answer == "carried" else answer).state
        ] += 1
    counted = states_of(
        Counter(reason for reason, _, _ in accounts),
        Counter(orders for _, _, orders in accounts if orders),
        declined=sum(answer in ("rejected", "void") for _, answer, _ in accounts),
        carried=sum(answer == "carried" for _, answer, _ in accounts),
    )
    assert counted == dict(one_by_one)
    assert sum(counted.values()) == len(accounts)


def test_a_reason_is_enough_for_who_was_left_out():
    assert state_of_account("max_daily_loss", []) == "skipped"
