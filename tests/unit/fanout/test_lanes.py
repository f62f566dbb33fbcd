"""A lane asks all its doubts before it sends anew, and a broken one sends nothing until its rows are adopted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Literal, cast

import msgspec

from fanout.asking import AHEAD
from fanout.lanes import Job, Lanes
from fanout.lesson import Consequence
from fanout.order import Order, OrdState, cl_ord_id
from tests.builders import broker_account
from tests.builders import order as an_order

ACCOUNT = broker_account()


class Noting:
    """A carrier that notes what it does. Every doubt is proven absent, and is to be sent anew."""

    def __init__(self) -> None:
        self.did: list[tuple[str, str]] = []
        self.fails: set[str] = set()
        self.ahead: list[str] = []
        self.left: list[str] = []
        self.asking = SimpleNamespace(forget=lambda order: self.left.append(order.cl_ord_id))

    def waited_s(self, order: Order) -> float:
        return 0.0

    async def send(self, scope: Any, account: Any, order: Order, **more: Any) -> Consequence:
        self._note("send", order)
        return Consequence(order=msgspec.structs.replace(order, state=OrdState.FILLED))

    async def resolve(self, scope: Any, account: Any, order: Order, **more: Any) -> Consequence:
        self._note("resolve", order)
        await asyncio.sleep(0)
        again = msgspec.structs.replace(order, attempt=2, cl_ord_id=cl_ord_id(order.order_id, 2))
        absent = msgspec.structs.replace(order, state=OrdState.ABSENT)
        return Consequence(order=absent, sends=again)

    def ask_ahead(self, account: Any, order: Order, **more: Any) -> None:
        if order.cl_ord_id not in self.ahead:
            self.ahead.append(order.cl_ord_id)

    def _note(self, what: str, order: Order) -> None:
        if order.cl_ord_id in self.fails:
            raise RuntimeError("nobody foresaw this")
        self.did.append((what, order.cl_ord_id))


def job(order: Order, kind: Literal["send", "resolve"]) -> Job:
    return Job(
        kind=kind, scope=cast(Any, None), account=ACCOUNT, order=order, epoch=1,
        sent_by=order.intent_at,
    )  # fmt: skip


def lanes() -> tuple[Lanes, Noting]:
    carrier = Noting()
    return Lanes(cast(Any, carrier), lambda job: None, set()), carrier


async def test_all_doubts_of_a_lane_are_asked_about_before_anything_is_sent_in_it():
    made, carrier = lanes()
    a, b, c, new = (an_order(account_id=ACCOUNT.account_id) for _ in range(4))
    for doubt in (a, b, c):
        made.put(job(doubt, "resolve"))
    made.put(job(new, "send"))
    await made.idle()
    assert carrier.did == [
        *(("resolve", doubt.cl_ord_id) for doubt in (a, b, c)),
        *(("send", cl_ord_id(doubt.order_id, 2)) for doubt in (a, b, c)),
        ("send", new.cl_ord_id),
    ]
    assert made.known == set()


async def test_what_comes_into_a_broken_lane_is_left_to_the_adopter():
    made, carrier = lanes()
    first, second, later = (an_order(account_id=ACCOUNT.account_id) for _ in range(3))
    carrier.fails.add(first.cl_ord_id)
    made.put(job(first, "resolve"))
    made.put(job(second, "send"))
    await made.idle()
    made.known.add(later.cl_ord_id)  # its intent was being written all the while
    made.put(job(later, "send"))
    await made.idle()
    assert carrier.did == []
    assert made.known == set(), "else no sweep would find them"
    broken = made.broken()
    carrier.fails.clear()
    for order in (first, second, later):
        made.put(job(order, "resolve"))  # as the adopter does
    made.mended(broken)
    made.put(job(an_order(account_id=ACCOUNT.account_id), "send"))
    await made.idle()
    assert [what for what, _ in carrier.did] == ["resolve"] * 3 + ["send"] * 4


async def test_a_lane_that_breaks_again_while_it_is_adopted_stays_broken():
    made, carrier = lanes()
    order, new = an_order(account_id=ACCOUNT.account_id), an_order(account_id=ACCOUNT.account_id)
    carrier.fails.add(order.cl_ord_id)
    made.put(job(order, "resolve"))
    await made.idle()
    broken = made.broken()
    made.put(job(order, "resolve"))
    await made.idle()
    made.mended(broken)
    made.put(job(new, "send"))
    await made.idle()
    assert carrier.did == []


async def test_the_next_doubts_of_a_lane_are_asked_about_ahead_and_no_more_than_that_many():
    made, carrier = lanes()
    doubts = [an_order(account_id=ACCOUNT.account_id) for _ in range(AHEAD + 3)]
    names = [doubt.cl_ord_id for doubt in doubts]
    carrier.fails.add(names[1])
    for doubt in doubts:
        made.put(job(doubt, "resolve"))
    made.put(job(an_order(account_id=ACCOUNT.account_id), "send"))
    await made.idle()
    assert carrier.did == [("resolve", names[0])]
    assert carrier.ahead == names[1 : AHEAD + 1], "the last of them when the first was done"
    assert set(names[1:]) <= set(carrier.left), "the second failed: nobody will want those answers"
