"""An order that opens is not sent when its audit record was durable too late; one that closes is."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from fanout.carry import Carrier, Patience
from fanout.lesson import Consequence, Lesson
from fanout.order import Order, OrdState
from tenancy.clock import SystemClock
from tests.builders import broker_account
from tests.builders import order as an_order
from tests.fakes.broker import FakeBroker


class Noted:
    """A learner that keeps what it is told."""

    def __init__(self) -> None:
        self.lessons: list[Lesson] = []

    async def learn(self, scope: Any, lesson: Lesson) -> Consequence:
        self.lessons.append(lesson)
        return Consequence(order=lesson.order)


class Quiet:
    """A kill switch that nobody threw."""

    async def refusal(self, order: Order) -> None:
        return None


class Ours:
    """Leases that stand."""

    def require(self, part: int, epoch: int, for_s: float = 0.0) -> Any:
        return SystemClock().now().replace(year=2999)


async def sent(order: Order, waited_s: float) -> tuple[FakeBroker, Lesson]:
    broker, learner = FakeBroker(), Noted()
    carrier = Carrier(
        {"gateio": broker}, cast(Any, Ours()), cast(Any, learner), SystemClock(),
        Patience(durable_within_s=2.0), cast(Any, Quiet()),
    )  # fmt: skip
    now = SystemClock().now()
    order = msgspec.structs.replace(order, intent_at=now, deadline=now.replace(year=2999))
    await carrier.send(cast(Any, None), broker_account(), order, epoch=1, waited_s=waited_s)
    return broker, learner.lessons[-1]


async def test_too_late_a_record_refuses_the_order_and_nothing_is_sent():
    broker, lesson = await sent(an_order(), 2.1)
    assert broker.executed == []
    assert (lesson.state, lesson.code, lesson.left) == (OrdState.UNSENT, "audit_unavailable", False)


@pytest.mark.parametrize("changed", [{"reduce_only": True}, {"reduce_only": True, "role": "stop"}])
async def test_what_closes_goes_on_however_late_its_record_was(changed: dict[str, Any]):
    broker, lesson = await sent(an_order(**changed), 30.0)
    assert len(broker.executed) == 1
    assert lesson.left


async def test_in_time_is_sent():
    broker, _ = await sent(an_order(), 1.9)
    assert len(broker.executed) == 1
