"""The auditor finds each kind of damage, and nothing where there is none."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from loadtest.audit.facts import (
    Drift,
    Executed,
    Facts,
    Finding,
    Leg,
    Noted,
    Order,
    Plan,
    Record,
    Signal,
    Verified,
)
from loadtest.auditor import judge

BODY = '{"ticker": "BTC_USDT", "action": "sell"}'
LIVE, PAPER = "acc-live", "acc-paper"
TERMS = {"symbol": "BTC_USDT", "ord_type": "market"}


def leg(account: str, number: int, qty: int, broker: str, *, closes: bool = False) -> Leg:
    return Leg(
        "sig", account, number, broker, TERMS["symbol"], "sell", Decimal(qty), "market", closes
    )


def order(account: str, number: int, attempt: int, qty: int, broker: str, **changes) -> Order:
    name = f"{account}{number}"
    values = {
        "cl_ord_id": f"{name}.{attempt}", "order_id": name, "signal_id": "sig",
        "strategy_id": "strat", "account_id": account, "leg": number, "attempt": attempt,
        "broker": broker, **TERMS, "side": "sell", "order_qty": Decimal(qty),
        "reduce_only": False, "state": "filled", "cum_qty": Decimal(qty), "text": "",
        "reported": Decimal(qty),
    }  # fmt: skip
    return Order(**{**values, **changes})


def absent(account: str, number: int, attempt: int, qty: int) -> Order:
    """Never at the exchange, by the proof in `text`."""
    return order(
        account, number, attempt, qty, "gateio",
        state="absent", cum_qty=Decimal(0), reported=Decimal(0), text="asked twice",
    )  # fmt: skip


def executed(of: Order, number: int = 1, **changes) -> Executed:
    values = {
        "order_id": number, "key": "key-1", "text": f"t-{of.cl_ord_id}", "contract": of.symbol,
        "size": -of.order_qty, "filled": -of.cum_qty, "status": "finished",
    }  # fmt: skip
    return Executed(**{**values, **changes})


def record(index: int, kind: str, oid: str | None = None, **payload: str) -> Record:
    return Record("log", index, kind, oid, payload)


FIRST = absent(LIVE, 0, 1, 5)
SECOND = order(LIVE, 0, 2, 5, "gateio")
ASKED = replace(leg(LIVE, 0, 5, "gateio"), asked=True)
ON_PAPER = order(PAPER, 0, 1, 7, "paper")

CLEAN = Facts(
    noted=(
        Noted("msg", BODY, 0, None),
        Noted("msg", BODY, 202, "sig"),
        Noted("msg", BODY, 202, "sig"),
        Noted("refused", BODY, 401, None),
    ),
    signals=(Signal("sig", "msg", "planned", BODY),),
    plans=(Plan("sig", "d1", (leg(LIVE, 0, 5, "gateio"), leg(PAPER, 0, 7, "paper"))),),
    orders=(FIRST, SECOND, ON_PAPER),
    positions={
        (LIVE, "strat", "BTC_USDT"): Decimal(-5),
        (PAPER, "strat", "BTC_USDT"): Decimal(-7),
    },
    executed=(executed(SECOND),),
    held={("key-1", "BTC_USDT"): Decimal(-5), ("", "BTC_USDT"): Decimal(5)},
    keys={LIVE: "key-1"},
    records=(
        record(0, "signal.accepted", signal_id="sig"),
        record(1, "signal.planned", signal_id="sig", plan_sha256="d1"),
        record(2, "order.intent", FIRST.order_id, cl_ord_id=FIRST.cl_ord_id),
        record(3, "order.intent", SECOND.order_id, cl_ord_id=SECOND.cl_ord_id),
        record(4, "order.intent", ON_PAPER.order_id, cl_ord_id=ON_PAPER.cl_ord_id),
        record(5, "order.close", SECOND.order_id, cl_ord_id=SECOND.cl_ord_id),
        record(6, "order.close", ON_PAPER.order_id, cl_ord_id=ON_PAPER.cl_ord_id),
    ),
    logs=(Verified("log", "verified", 7, 7, 7),),
)


def without(kind: str) -> tuple[Record, ...]:
    return tuple(r for r in CLEAN.records if r.kind != kind)


def with_second(**changes) -> dict[str, object]:
    return {"orders": (FIRST, replace(SECOND, **changes), ON_PAPER)}


def test_a_clean_system_has_no_finding():
    opinion = judge(CLEAN, carried_out=True)
    assert opinion.findings == ()
    assert opinion.clean
    assert (opinion.signals, opinion.orders, opinion.log) == (1, 2, "unbroken")


DRIFT = Drift("drift-1", LIVE, "position", "BTC_USDT", "exchange_down", "closed")
FOUND = record(7, "drift.found", drift_id="drift-1")
CLOSED = record(8, "drift.closed", drift_id="drift-1")


def test_a_drift_that_was_found_and_ended_is_no_finding():
    settled = replace(
        CLEAN,
        drifts=(DRIFT,),
        records=(*CLEAN.records, FOUND, CLOSED),
        logs=(Verified("log", "verified", 9, 9, 9),),
    )
    assert judge(settled).clean


def told_after_its_end(**cancel) -> Facts:
    """A cancel that is recorded after the order's close, and one more close."""
    name = {"cl_ord_id": SECOND.cl_ord_id}
    more = (
        record(7, "order.cancel", SECOND.order_id, **name, **cancel),
        record(8, "order.close", SECOND.order_id, **name),
    )
    verified = (Verified("log", "verified", 9, 9, 9),)
    return replace(CLEAN, records=(*CLEAN.records, *more), logs=verified)


def test_a_cancel_past_postgresql_may_be_told_after_the_end_and_no_other():
    assert judge(told_after_its_end(spilled="file 1, line 3")).clean
    twice = judge(told_after_its_end()).findings
    assert [finding.line for finding in twice] == [
        f"order {SECOND.order_id} has 2 records order.close, there must be 1"
    ]


DAMAGE = {
    "a drift that is open": (
        "unexplained",
        {"drifts": (replace(DRIFT, state="open"),), "records": (*CLEAN.records, FOUND)},
        "is open: exchange_down",
    ),
    "a drift that nobody recorded": (
        "unexplained", {"drifts": (DRIFT,), "records": (*CLEAN.records, CLOSED)}, "drift.found",
    ),
    "a drift whose end nobody recorded": (
        "unexplained", {"drifts": (DRIFT,), "records": (*CLEAN.records, FOUND)}, "drift.closed",
    ),
    "a recorded drift without a row": (
        "unexplained", {"records": (*CLEAN.records, FOUND)}, "has no row",
    ),
    "a kill switch at work": ("unexplained", {"working": 1}, "kill switch"),
    "a 202 without a row": ("lost", {"signals": ()}, "message msg"),
    "a row of another message": (
        "lost", {"signals": (Signal("sig", "else", "planned", BODY),)}, "message msg",
    ),
    "a row with another body": (
        "lost", {"signals": (Signal("sig", "msg", "planned", "{}"),)}, "another body",
    ),
    "one message, two signals": (
        "doubled", {"noted": (*CLEAN.noted, Noted("msg", BODY, 202, "sig2"))}, "sig, sig2",
    ),
    "a signal without a plan": (
        "lost", {"signals": (*CLEAN.signals, Signal("sig3", "m3", "accepted", BODY))}, "sig3",
    ),
    "a leg without an order": ("lost", {"orders": (FIRST, SECOND)}, f"account {PAPER}"),
    "an order in no plan": ("unexplained", {"plans": (Plan("sig", "d1", ()),)}, "is in no plan"),
    "an order without the yes it needs": (
        "unexplained",
        {"plans": (Plan("sig", "d1", (ASKED, leg(PAPER, 0, 7, "paper"))),)},
        "had nobody's yes",
    ),
    "a yes without an order": (
        "lost",
        {
            "plans": (Plan("sig", "d1", (ASKED, leg(PAPER, 0, 7, "paper"))),),
            "yeses": frozenset({("sig", LIVE)}),
            "orders": (ON_PAPER,),
        },
        f"account {LIVE}",
    ),
    "another quantity": ("unexplained", with_second(order_qty=Decimal(6)), "order_qty is 6"),
    "another side": ("unexplained", with_second(side="buy"), "side is buy"),
    "an order that never ended": ("lost", with_second(state="in_doubt"), "still in_doubt"),
    "an end without a reason": (
        "lost", {"orders": (replace(FIRST, text=""), ON_PAPER), "executed": ()}, "nothing says why",
    ),
    "given up by us": (
        "lost", {"orders": (FIRST, ON_PAPER), "executed": ()}, "given up: absent",
    ),
    "an attempt after one that stands": (
        "doubled", {"orders": (replace(FIRST, state="filled"), SECOND, ON_PAPER)}, "later attempt",
    ),
    "more traded than planned": (
        "doubled",
        {"orders": (FIRST, SECOND, ON_PAPER, replace(ON_PAPER, cl_ord_id="x.2", attempt=2))},
        "traded 14, planned was 7",
    ),
    "executed twice under one name": (
        "doubled", {"executed": (executed(SECOND), executed(SECOND, 2))}, "executed 2 times",
    ),
    "executed in two attempts": (
        "doubled", {"executed": (executed(FIRST), executed(SECOND, 2))}, "executed 2 times",
    ),
    "executed and never intended": (
        "unexplained", {"executed": (executed(SECOND), executed(SECOND, 2, text="t-zz.1"))},
        "(t-zz.1) was never intended",
    ),
    "placed without a name of ours": (
        "unexplained", {"executed": (executed(SECOND), executed(SECOND, 2, text="web"))},
        "never intended",
    ),
    "placed for another account": (
        "unexplained", {"executed": (executed(SECOND, key="key-2"),)}, "another account's key",
    ),
    "executed with another size": (
        "unexplained", {"executed": (executed(SECOND, size=Decimal(-9)),)}, "intended was -5",
    ),
    "proven absent, but there": (
        "unexplained", {"executed": (executed(FIRST),)}, "is absent, but is exchange order 1",
    ),
    "a fill that nobody learned": (
        "lost", {"executed": (executed(SECOND, filled=Decimal(-6)),)}, "the book has 5",
    ),
    "a fill that never was": (
        "unexplained", {"executed": (executed(SECOND, filled=Decimal(-4)),)}, "the book has 5",
    ),
    "filled, and never arrived": ("unexplained", {"executed": ()}, "the exchange never had it"),
    "reports that add up to more": ("doubled", with_second(reported=Decimal(10)), "add up to 10"),
    "reports that add up to less": ("lost", with_second(reported=Decimal(0)), "add up to 0"),
    "a position folded twice": (
        "doubled", {"positions": {**CLEAN.positions, (LIVE, "strat", "BTC_USDT"): Decimal(-10)}},
        "is -10",
    ),
    "a position never folded": ("lost", {"positions": {}}, "is 0"),
    "another position at the exchange": (
        "unexplained", {"held": {("key-1", "BTC_USDT"): Decimal(-4)}}, "holds -4",
    ),
    "no record of acceptance": (
        "unexplained", {"records": without("signal.accepted")}, "0 records signal.accepted",
    ),
    "no record of the plan": (
        "unexplained", {"records": without("signal.planned")}, "0 records signal.planned",
    ),
    "a plan changed later": (
        "unexplained", {"plans": (replace(CLEAN.plans[0], sha256="d2"),)}, "is not the one",
    ),
    "no record of an intent": (
        "unexplained", {"records": without("order.intent")}, "0 records order.intent",
    ),
    "no record of an end": (
        "unexplained", {"records": without("order.close")}, "0 records order.close",
    ),
    "an end recorded twice": (
        "unexplained", {"records": (*CLEAN.records, CLEAN.records[-1])}, "2 records order.close",
    ),
    "an outcome told twice": (
        "unexplained",
        {"records": (*CLEAN.records, *(record(9, "signal.outcome", signal_id="sig"),) * 2)},
        "2 records signal.outcome",
    ),
    "an intent without a row": (
        "unexplained",
        {"records": (*CLEAN.records, record(9, "order.intent", "zz", cl_ord_id="zz.1"))},
        "zz.1 was recorded as intended",
    ),
    "a payload that does not fit": (
        "unexplained",
        {"records": (replace(CLEAN.records[0], opens=False), *CLEAN.records[1:])},
        "no payload that fits",
    ),
    "records left in the inbox": ("unexplained", {"inbox": 3}, "3 audit records"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_every_kind_of_damage_is_found(name):
    kind, changes, words = DAMAGE[name]
    opinion = judge(replace(CLEAN, **changes), carried_out=True)
    assert not opinion.clean
    assert any(f.kind == kind and words in f.line for f in opinion.findings), opinion.findings


def test_an_order_that_overtook_an_earlier_signals_is_found():
    earlier = Plan("sig0", "d0", (leg(LIVE, 0, 5, "gateio"),), rotation=0)
    later = replace(CLEAN.plans[0], rotation=1)
    slow = order(LIVE, 0, 1, 5, "gateio", signal_id="sig0", order_id="slow", cl_ord_id="slow.1")
    facts = replace(CLEAN, plans=(earlier, later), orders=(*CLEAN.orders, slow))
    turns = (executed(slow, 1), executed(SECOND, 2))
    overtaken = (executed(SECOND, 1), executed(slow, 2))
    words = "slow.1 of signal sig0 was executed after"
    assert not any(words in f.line for f in judge(replace(facts, executed=turns)).findings)
    assert any(words in f.line for f in judge(replace(facts, executed=overtaken)).findings)


def test_what_we_gave_up_with_a_reason_is_a_loss_only_where_everything_must_be_carried_out():
    changes = {
        "orders": (FIRST, ON_PAPER),
        "executed": (),
        "held": {},
        "positions": {(PAPER, "strat", "BTC_USDT"): Decimal(-7)},
        "records": tuple(r for r in CLEAN.records if r.index != 3),
    }
    assert judge(replace(CLEAN, **changes)).findings == ()
    assert judge(replace(CLEAN, **changes), carried_out=True).findings == (
        Finding("lost", f"{FIRST.cl_ord_id} was given up: absent, asked twice"),
    )


def test_what_was_wanted_cancelled_need_not_be_carried_out():
    changes = {
        "orders": (replace(FIRST, cancel_wanted=True), ON_PAPER),
        "executed": (),
        "held": {},
        "positions": {(PAPER, "strat", "BTC_USDT"): Decimal(-7)},
        "records": tuple(r for r in CLEAN.records if r.index != 3),
    }
    assert judge(replace(CLEAN, **changes), carried_out=True).findings == ()


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ((), "there is no log"),
        ((Verified("log", "tampered (bundle 0)", 7, 7, 7),), "tampered"),
        ((Verified("log", "verified", 6, 7, 7),), "6 records are signed, 7 are in the rows"),
        ((Verified("log", "verified", 9, 7, 8),), "9 records are signed, 7 to 8 are in the rows"),
    ],
)
def test_a_log_that_is_not_whole_is_named(logs, words):
    opinion = judge(replace(CLEAN, logs=logs))
    assert words in opinion.log
    assert not opinion.clean


def test_what_was_recorded_while_the_files_were_read_is_no_gap():
    """A running system may have something to record at any time: a daily check of fills."""
    opinion = judge(replace(CLEAN, logs=(Verified("log", "verified", 8, 7, 9),)))
    assert opinion.clean


def test_what_a_signal_wanted_and_nobody_has_may_stay_open():
    """Book and broker agree; the order's own row says why it ended."""
    short = replace(DRIFT, kind="shortfall", state="open")
    assert judge(replace(CLEAN, drifts=(short,), records=(*CLEAN.records, FOUND))).clean


STOP = replace(order(LIVE, 0, 1, 5, "gateio"), role="target", state="canceled", cum_qty=Decimal(0))
AGAIN = replace(order(LIVE, 0, 2, 5, "gateio"), role="target")


@pytest.mark.parametrize(
    ("changed", "doubled"),
    [({}, False), ({"status": "open"}, True), ({"filled": Decimal(-5)}, True)],
)
def test_what_stands_behind_a_position_goes_again_only_after_an_end_without_its_fill(
    changed, doubled
):
    first = executed(STOP, 1, **changed)
    facts = replace(CLEAN, orders=(STOP, AGAIN, ON_PAPER), executed=(first, executed(AGAIN, 2)))
    assert any("was executed 2 times" in str(one) for one in judge(facts).findings) is doubled
