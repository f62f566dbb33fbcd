"""An attempt is sent again only where it certainly did not arrive: opens to their deadline, closes until done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from fanout.breaker import Breakers, BreakerSettings
from fanout.carry import Carrier, Patience
from fanout.lesson import Lesson
from fanout.order import Order, OrdState
from fanout.ports import InDoubt, Maintenance, Outcome, RateLimited, Rejected, Unsent
from tenancy.clock import SystemClock
from tests.builders import broker_account
from tests.builders import order as an_order
from tests.fakes.broker import FakeBroker
from tests.unit.fanout.test_audit_wait import Noted, Ours, Quiet

AWAY = Unsent(cause="connection refused")


class Scripted(FakeBroker):
    """Answers as it is told, and then as ever."""

    def __init__(self, *answers: Outcome) -> None:
        super().__init__()
        self.answers = list(answers)
        self.at: list[float] = []
        self.turns: list[bool] = []
        self.always: Outcome | None = None
        self.after: Callable[[], None] = lambda: None

    async def turn(self, account: Any, *, closes: bool = False) -> None:
        self.turns.append(closes)

    async def submit(self, account: Any, order: Order, *, not_after: Any) -> Outcome:
        self.at.append(asyncio.get_running_loop().time())
        self.after()
        if self.always is not None:
            return self.always
        if self.answers:
            return self.answers.pop(0)
        return await super().submit(account, order, not_after=not_after)


class Halted(Quiet):
    """Thrown when told."""

    thrown = False

    async def refusal(self, order: Order) -> Any:
        from fanout.reasons import Reason
        from fanout.switch import Refused

        return Refused(Reason.ACCOUNT_HALTED) if self.thrown else None


async def carried(
    broker: Scripted,
    order: Order,
    *,
    open_for_s: float = 5.0,
    switch: Any = None,
    unwanted: bool = False,
    breakers: Breakers | None = None,
) -> Lesson:
    """What was learned last of the order."""
    learner = Noted()

    async def is_unwanted(scope: Any, order: Order) -> bool:
        return unwanted

    carrier = Carrier(
        {"gateio": broker}, cast(Any, Ours()), cast(Any, learner), SystemClock(),
        Patience(unsent_first_s=0.01, unsent_most_s=0.05), switch or cast(Any, Quiet()),
        breakers=breakers, unwanted=is_unwanted,
    )  # fmt: skip
    now = SystemClock().now()
    order = Order(**{f: getattr(order, f) for f in order.__struct_fields__} | {
        "intent_at": now, "deadline": now + timedelta(seconds=open_for_s)})  # fmt: skip
    async with asyncio.timeout(10):
        await carrier.send(cast(Any, None), broker_account(), order, epoch=1)
    return learner.lessons[-1]


NEGATIVE: list[Outcome] = [
    AWAY,
    RateLimited(retry_after_s=0.0),
    Maintenance(until=None, text="closed"),
]


@pytest.mark.parametrize("outcome", NEGATIVE)
@pytest.mark.parametrize("closes", [False, True])
async def test_what_certainly_did_not_arrive_is_sent_again(outcome: Outcome, closes: bool):
    broker = Scripted(outcome, outcome)
    lesson = await carried(broker, an_order(reduce_only=closes))
    assert lesson.report is not None
    assert len(broker.at) == 3
    assert broker.turns == [closes] * 3, "it takes a place each time, and says whether it closes"


@pytest.mark.parametrize(
    "outcome", [InDoubt(cause="reset", not_after=None), Rejected(code="X", kind="funds", text="")]
)
async def test_nothing_else_is_ever_sent_again(outcome: Outcome):
    broker = Scripted(outcome)
    await carried(broker, an_order())
    assert len(broker.at) == 1


async def test_pauses_grow():
    broker = Scripted(*[AWAY] * 4)
    await carried(broker, an_order(reduce_only=True))
    pauses = [b - a for a, b in zip(broker.at, broker.at[1:], strict=False)]
    for pause, least in zip(pauses, [0.01, 0.02, 0.04, 0.05], strict=True):
        assert pause >= least


async def test_what_opens_ends_with_its_deadline_and_says_why():
    broker = Scripted()
    broker.always = AWAY
    patient = Breakers(BreakerSettings(account_failures=1000, broker_failures=1000))
    lesson = await carried(broker, an_order(), open_for_s=0.2, breakers=patient)
    assert (lesson.state, lesson.code) == (OrdState.UNSENT, "unsent")
    assert len(broker.at) > 1


async def test_a_maintenance_that_outlasts_the_deadline_ends_it_at_once():
    until = SystemClock().now() + timedelta(hours=1)
    broker = Scripted(Maintenance(until=until, text="closed until ten"))
    lesson = await carried(broker, an_order())
    assert (lesson.state, lesson.code, lesson.text) == (
        OrdState.UNSENT, "maintenance", "closed until ten",
    )  # fmt: skip
    assert len(broker.at) == 1


async def test_what_closes_waits_for_the_end_of_a_maintenance_and_goes_then():
    until = SystemClock().now() + timedelta(seconds=0.3)
    broker = Scripted(Maintenance(until=until, text="closed"))
    sending = asyncio.create_task(carried(broker, an_order(reduce_only=True), open_for_s=0.0))
    lesson = await sending
    assert lesson.report is not None
    assert len(broker.at) == 2
    assert broker.at[1] - broker.at[0] >= 0.25


async def test_a_person_who_halts_stops_what_closes_and_waits():
    broker, switch = Scripted(), Halted()
    broker.always = AWAY
    broker.after = lambda: setattr(switch, "thrown", len(broker.at) > 3)
    lesson = await carried(broker, an_order(reduce_only=True), switch=switch)
    assert (lesson.state, lesson.code) == (OrdState.DENIED, "account_halted")


async def test_a_wish_to_cancel_stops_what_waits_to_be_sent_again():
    broker = Scripted(AWAY)
    lesson = await carried(broker, an_order(reduce_only=True), unwanted=True)
    assert (lesson.state, lesson.code) == (OrdState.UNSENT, "canceled")
    assert len(broker.at) == 1


def open_breakers(pause_s: float, order: Order) -> Breakers:
    settings = BreakerSettings(account_failures=1, pause_first_s=pause_s, pause_most_s=pause_s)
    breakers = Breakers(settings)
    breakers.heard(order, AWAY, SystemClock().monotonic())
    return breakers


async def test_while_the_breaker_is_open_what_opens_waits_and_is_then_the_probe():
    broker, order = Scripted(), an_order()
    breakers = open_breakers(0.2, order)
    began = asyncio.get_running_loop().time()
    lesson = await carried(broker, order, breakers=breakers)
    assert lesson.report is not None
    assert broker.at[0] - began >= 0.15
    assert breakers.words() == "all brokers answer"


async def test_what_cannot_be_tried_before_its_deadline_is_denied_at_once():
    broker, order = Scripted(), an_order()
    lesson = await carried(broker, order, breakers=open_breakers(60.0, order))
    assert (lesson.state, lesson.code) == (OrdState.DENIED, "broker_unavailable")
    assert broker.at == []
    assert broker.turns == [], "nor does it take a place"


async def test_while_the_breaker_is_open_what_closes_goes_through():
    broker, order = Scripted(), an_order(reduce_only=True)
    opening = an_order(account_id=order.account_id)
    lesson = await carried(broker, order, breakers=open_breakers(60.0, opening))
    assert lesson.report is not None


async def test_a_place_that_does_not_come_ends_what_opens_with_its_deadline():
    class Full(Scripted):
        async def turn(self, account: Any, *, closes: bool = False) -> None:
            await asyncio.Event().wait()

    broker = Full()
    lesson = await carried(broker, an_order(), open_for_s=0.1)
    assert (lesson.state, lesson.code) == (OrdState.UNSENT, "too_late")
    assert broker.at == []
