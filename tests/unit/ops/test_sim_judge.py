"""The simulation's auditor on hand-made facts: a clean story, and each way in which one is not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from ops.sim.facts import Drift, Facts, Left, Leg, Order, Plan, Record, Stop, There
from ops.sim.judge import judge

D = Decimal
LEG = Leg("s1", "a1", 0, "BTC_USDT", "buy", D(5), "market", False, False)
ORDER = Order(
    name="o.1", order="o", signal="s1", strategy="t1", account="a1", leg=0, attempt=1,
    symbol="BTC_USDT", side="buy", qty=D(5), ord_type="market", asked_type=None, reduce_only=False,
    role="main", state="filled", cum_qty=D(5), text="", cancel_wanted=False, deadline_s=10.0,
    reported=D(5),
)  # fmt: skip
THERE = There(1, "a1", "o.1", "BTC_USDT", "buy", D(5), D(5), False, 2.0)
LEFT = Left("o.1", "w1", 1.9, "intent", epoch=3, seq=2, qty=D(5))


def record(seq: int, kind: str, **payload: Any) -> Record:
    oid = "o" if kind.startswith("order.") else None
    return Record(seq, kind, oid, payload)


AGREED = record(0, "account.reconciled", account_id="a1", epoch=3)
RECORDS = (
    record(1, "signal.planned", signal_id="s1", plan_sha256="f"),
    record(2, "order.intent", cl_ord_id="o.1"),
    record(3, "order.acknowledged", cl_ord_id="o.1"),
    record(4, "order.fill", cl_ord_id="o.1", last_qty="5"),
    record(5, "order.close", cl_ord_id="o.1"),
    record(6, "signal.outcome", signal_id="s1"),
)
CLEAN = Facts(
    sent=("s1",),
    signals={"s1": ("planned", "sender")},
    plans=(Plan("s1", "f", 0, (LEG,)),),
    orders=(ORDER,),
    positions={("a1", "t1", "BTC_USDT"): D(5)},
    records=(AGREED, *RECORDS),
    there=(THERE,),
    trades=((2.0, "o.1", D(5)),),
    left=(LEFT,),
)


def test_a_signal_that_was_traded_as_planned_is_no_finding():
    assert judge(CLEAN) == []


SECOND = replace(ORDER, name="o.2", attempt=2)
BROKEN = {
    "lost: signal s1 is accepted": replace(CLEAN, signals={"s1": ("accepted", "sender")}),
    "lost: leg 0 of signal s1": replace(CLEAN, orders=()),
    "unexplained: order o is in no plan": replace(CLEAN, plans=(Plan("s1", "f", 0, ()),)),
    "unexplained: o.1 is ('ETH_USDT'": replace(CLEAN, orders=(replace(ORDER, symbol="ETH_USDT"),)),
    "doubled: o.1 left 2 times": replace(CLEAN, left=(LEFT, LEFT)),
    "unexplained: o.1 left w1 without": replace(CLEAN, left=(replace(LEFT, state=None),)),
    "doubled: o.1 left w1 when it was absent": replace(
        CLEAN, left=(replace(LEFT, state="absent"),)
    ),
    "doubled: o.1 left w1 when it was in_doubt": replace(
        CLEAN, left=(replace(LEFT, state="in_doubt", expired=True),)
    ),
    "unexplained: o.1 left with reduce_only False": replace(
        CLEAN, orders=(replace(ORDER, reduce_only=True),)
    ),
    "unexplained: o.1 left with 4, its row says 5": replace(CLEAN, left=(replace(LEFT, qty=D(4)),)),
    "unexplained: #1 x.1 was never": replace(CLEAN, there=(THERE, replace(THERE, name="x.1"))),
    "doubled: order o was executed as": replace(
        CLEAN, orders=(ORDER, SECOND), there=(THERE, replace(THERE, number=2, name="o.2"))
    ),
    "lost: #1 o.1 filled 5, the book has 3": replace(CLEAN, orders=(replace(ORDER, cum_qty=D(3)),)),
    "lost: o.1 is still in_doubt": replace(CLEAN, orders=(replace(ORDER, state="in_doubt"),)),
    "unexplained: o.1 is denied, and nothing": replace(
        CLEAN, orders=(replace(ORDER, state="denied"),)
    ),
    "lost: o.1 only closes, and was given up": replace(
        CLEAN, orders=(replace(ORDER, state="absent", reduce_only=True, text="twice"),)
    ),
    "lost: position": replace(CLEAN, positions={}),
    "doubled: reports of o.1": replace(CLEAN, orders=(replace(ORDER, reported=D(10)),)),
    "doubled: o.1 only reduces": replace(CLEAN, orders=(replace(ORDER, reduce_only=True),)),
    "unexplained: o.1 opened 3.00 s after": replace(CLEAN, there=(replace(THERE, at_s=14.1),)),
    "unexplained: o.1 opened under the kill": replace(
        CLEAN, there=(replace(THERE, at_s=5.0),), stops=(Stop("account", "a1", 1.0, 9.0),)
    ),
    "unexplained: o.1 opens, and its account's book": replace(CLEAN, records=RECORDS),
    "unexplained: o.1 opens, and its account": replace(CLEAN, left=(replace(LEFT, epoch=4),)),
    "unexplained: o.1 opens": replace(
        CLEAN,
        records=(*RECORDS, replace(AGREED, seq=3)),  # its request had left before
    ),
    "unexplained: position BTC_USDT of a1 is missed_signal": replace(
        CLEAN, drifts=(Drift("d", "a1", "position", "BTC_USDT", "closed", "missed_signal"),)
    ),
    "unexplained: book and exchange are at last compared as differs": replace(
        CLEAN, disagreeing={"a1": "differs"}
    ),
    "unexplained: signal s1 has records": replace(CLEAN, records=RECORDS[1:]),
    "unexplained: o.1 has 0 records order.intent": replace(
        CLEAN, records=(RECORDS[0], *RECORDS[2:])
    ),
    "unexplained: the records of o.1 begin": replace(
        CLEAN, records=(RECORDS[0], RECORDS[2], RECORDS[1], *RECORDS[3:])
    ),
    "unexplained: records say 0 of o.1": replace(CLEAN, records=RECORDS[:3] + RECORDS[4:]),
    "unexplained: order o is filled, records order.close: 0": replace(
        CLEAN, records=RECORDS[:4] + RECORDS[5:]
    ),
    "unexplained: signal s1 has 0 records signal.outcome": replace(CLEAN, records=RECORDS[:-1]),
}


@pytest.mark.parametrize("finding", BROKEN)
def test_what_is_wrong_is_found(finding):
    assert any(said.startswith(finding) for said in judge(BROKEN[finding])), judge(BROKEN[finding])


def test_an_earlier_signals_order_after_a_later_ones_is_found():
    early, late = replace(ORDER, signal="s0", name="e.1", order="e"), ORDER
    facts = replace(
        CLEAN,
        plans=(Plan("s0", "f", 0, ()), Plan("s1", "f", 1, (LEG,))),
        orders=(early, late),
        there=(THERE, replace(THERE, number=2, name="e.1")),
    )
    assert "unexplained: e.1 was executed after o.1 of a later signal" in judge(facts)


def test_a_second_leg_that_did_not_wait_for_its_first_is_found():
    first = replace(ORDER, cum_qty=D(2), reported=D(2), reduce_only=True, side="sell")
    second = replace(ORDER, name="p.1", order="p", leg=1)
    facts = replace(CLEAN, orders=(first, second), there=(replace(THERE, name="p.1"),))
    said = "unexplained: p.1 opened, and the leg before it closed 2 of 5"
    assert said in judge(facts)
    whole = replace(facts, orders=(replace(first, cum_qty=D(5)), second))
    assert not [line for line in judge(whole) if "p.1 opened" in line]


def test_what_leaves_after_its_deadline_is_worth_nothing_and_no_finding():
    """A host slept between its look at the lease and its send: the exchange takes it no more."""
    late = replace(LEFT, name="o.1", state="absent", expired=True)
    assert judge(replace(CLEAN, left=(late,))) == []


def test_a_second_leg_may_wait_only_for_a_first_that_is_there():
    first = replace(ORDER, state="new", cum_qty=D(0), reported=D(0))
    second = replace(ORDER, name="p.1", order="p", leg=1, state="waiting", cum_qty=D(0))
    rests = replace(THERE, open=True, filled=D(0))
    said = "lost: p.1 is still waiting"
    assert said not in judge(replace(CLEAN, orders=(first, second), there=(rests,)))
    assert said in judge(replace(CLEAN, orders=(first, second), there=()))
