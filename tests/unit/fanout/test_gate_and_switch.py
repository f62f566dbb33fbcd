"""The kill switch is released while an order waits for its account's agreement: the order goes on waiting."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from fanout.carry import Carrier, Patience
from fanout.lesson import Lesson
from fanout.order import OrdState
from fanout.reasons import Reason
from fanout.reconcile_gate import CODE, ReconcileGate
from fanout.switch import Refused, Stops
from tenancy.clock import SystemClock
from tests.builders import broker_account
from tests.builders import order as an_order
from tests.fakes.broker import FakeBroker
from tests.unit.fanout.test_audit_wait import Noted, Ours

EPOCH = 3


class ReleasedMeanwhile:
    """Thrown by what was read last; released by the time that somebody asks PostgreSQL."""

    def __init__(self, times: int = 1) -> None:
        self.stops = Stops()
        self.left = times

    def refused_now(self, order: Any) -> Refused | None:
        return Refused(Reason.STRATEGY_HALTED) if self.left else None

    async def refusal(self, order: Any) -> Refused | None:
        await asyncio.sleep(0)
        self.left = max(0, self.left - 1)
        return None


class House:
    """A carrier behind a gate; `send()` an order that opens."""

    def __init__(self, switch: Any) -> None:
        self.broker, self.learner = FakeBroker(), Noted()
        clock = SystemClock()
        self.wanted: list[Any] = []
        self.waits = asyncio.Event()
        self.gate = ReconcileGate(
            clock, cast(Any, Ours()), switch, lambda broker: True,
            self._want,
        )  # fmt: skip
        self.carrier = Carrier(
            {"gateio": self.broker}, cast(Any, Ours()), cast(Any, self.learner), clock, Patience(),
            switch, gate=self.gate,
        )  # fmt: skip

    def _want(self, scope: Any, order: Any) -> None:
        self.wanted.append(order)
        self.waits.set()

    async def send(self, within_s: float = 20.0, **changed: Any) -> Lesson:
        now = SystemClock().now()
        order = msgspec.structs.replace(
            an_order(**changed), intent_at=now, deadline=now + timedelta(seconds=within_s)
        )
        await self.carrier.send(cast(Any, None), broker_account(), order, epoch=EPOCH)
        return self.learner.lessons[-1]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_released_order_waits_for_its_accounts_agreement_all_the_same(times: int) -> None:
    house = House(ReleasedMeanwhile(times))
    sending = asyncio.create_task(house.send())
    async with asyncio.timeout(10):
        await house.waits.wait()
    await asyncio.sleep(0.1)  # long enough for an order that does not wait
    assert house.broker.executed == [], "nobody has compared its account"
    house.gate.agree(house.wanted[0].account_id, EPOCH)
    async with asyncio.timeout(10):
        await sending
    assert len(house.broker.executed) == 1


async def test_one_that_waits_to_its_deadline_ends_as_not_reconciled() -> None:
    house = House(ReleasedMeanwhile())
    lesson = await house.send(within_s=0.4)
    assert (lesson.state, lesson.code) == (OrdState.UNSENT, CODE)
    assert house.broker.executed == []


async def test_what_closes_waits_for_nobody() -> None:
    house = House(ReleasedMeanwhile())
    await house.send(reduce_only=True)
    assert len(house.broker.executed) == 1
    assert house.wanted == []
