"""The dead man's switch is fed while orders rest, called off when none does, and never relied on."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec
import pytest

from fanout.dead_man import DeadMen
from fanout.ports import BrokerAccount
from tenancy.account import dead_man_s
from tests.builders import broker_account
from tests.fakes.broker import FakeBroker


class Watching(FakeBroker):
    """Notes what it is told; `answers` come first, then it confirms."""

    caps = msgspec.structs.replace(FakeBroker.caps, dead_man=True)

    def __init__(self) -> None:
        super().__init__()
        self.told: list[float] = []
        self.answers: deque[bool | Exception] = deque()

    async def dead_man(self, account: BrokerAccount, seconds: float) -> bool:
        self.told.append(seconds)
        answer = self.answers.popleft() if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    def __init__(self, *, caps: bool = True, **settings: object) -> None:
        self.broker = Watching()
        if not caps:
            self.broker.caps = FakeBroker.caps  # type: ignore[misc]
        self.account = broker_account(settings=settings)
        self.now, self.rests, self.ours = 100.0, True, True
        self.dead_men = DeadMen(
            {"gateio": self.broker},
            lambda: [("gateio", self.account)] if self.rests else [],
            lambda part: self.ours,
            lambda: self.now,
        )

    async def looks(self, *at: float) -> list[float]:
        """What the broker was told at these moments."""
        before = len(self.broker.told)
        for self.now in at:
            self.dead_men.look()
            for _ in range(3):
                await asyncio.sleep(0)
        return self.broker.told[before:]


async def test_it_is_fed_every_third_of_its_time_while_orders_rest_and_called_off_after():
    world = World(dead_man_s=30)
    assert await world.looks(100, 105, 109.9) == [30]
    assert await world.looks(110, 115, 120, 125) == [30, 30]
    assert "not confirmed" not in world.dead_men.words()
    world.rests = False
    assert await world.looks(126, 127, 140) == [0], "once, and at once"
    assert world.dead_men.words().startswith("0 account")
    world.rests = True
    assert await world.looks(141) == [30]


async def test_what_is_not_confirmed_is_said_and_tried_again_soon():
    world = World(dead_man_s=30)
    world.broker.answers.extend([False, RuntimeError("the adapter has a bug"), True])
    assert await world.looks(100, 100.5) == [30]
    assert "1 not confirmed" in world.dead_men.words()
    assert await world.looks(101, 101.5) == [30]
    assert "1 not confirmed" in world.dead_men.words()
    assert await world.looks(102, 103) == [30]
    assert "not confirmed" not in world.dead_men.words()
    world.broker.answers.extend([False] * 100)
    await world.looks(*range(112, 135))
    assert "1 not confirmed" in world.dead_men.words(), "what it confirmed is over"


async def test_a_calling_off_that_was_not_confirmed_is_repeated():
    world = World(dead_man_s=30)
    await world.looks(100)
    world.rests = False
    world.broker.answers.append(False)
    assert await world.looks(101, 102, 103, 104) == [0, 0]


async def test_who_loses_the_partition_says_nothing_more_and_calls_nothing_off():
    world = World(dead_man_s=30)
    await world.looks(100)
    world.ours = world.rests = False
    assert await world.looks(101, 120, 140) == []


@pytest.mark.parametrize(
    "world", [World(), World(dead_man_s=30, caps=False)], ids=["unset", "broker"]
)
async def test_an_account_that_does_not_ask_for_it_or_whose_broker_has_none_is_left_alone(world):
    assert await world.looks(100, 200) == []


async def test_a_setting_that_changes_holds_at_once_and_one_that_goes_is_called_off():
    world = World(dead_man_s=30)
    await world.looks(100)
    world.account = msgspec.structs.replace(world.account, settings={"dead_man_s": 6})
    assert await world.looks(101, 102, 103) == [6, 6]
    world.account = msgspec.structs.replace(world.account, settings={})
    assert await world.looks(104, 105) == [0]


@pytest.mark.parametrize("wrong", [4, 0, -1, 3601, "30", True, 7.5])
def test_seconds_that_are_none_are_refused_with_what_would_be_right(wrong):
    from gateway.admin.accounts import AccountDocument

    with pytest.raises(ValueError, match=r"settings\.dead_man_s: .* 5 to 3600"):
        AccountDocument(name="a", broker="gateio", currency="USDT", settings={"dead_man_s": wrong})
    assert dead_man_s({"dead_man_s": wrong}) == 0, "and mean none where they are there all the same"
