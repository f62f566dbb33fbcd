"""What Prometheus hears of the fan-out is what there is: lanes, stops, limits, outcomes."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
from prometheus_client import REGISTRY

from fanout import metrics
from fanout.lanes import Job, Lanes
from fanout.lesson import Consequence
from fanout.order import Order, OrdState
from fanout.outcome import end
from fanout.switch import WHATS, Stop, Stops
from tests.builders import broker_account
from tests.builders import order as an_order

ACCOUNT = broker_account()


def value(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found


class Slow:
    """A carrier whose orders leave when it is told so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    def waited_s(self, order: Order) -> float:
        return 0.0

    async def send(self, scope: Any, account: Any, order: Order, **more: Any) -> Consequence:
        await self.go.wait()
        return Consequence(order=msgspec.structs.replace(order, state=OrdState.FILLED))


async def test_a_lane_waits_that_has_more_than_it_is_at_and_its_age_is_of_what_it_is_at():
    carrier = Slow()
    lanes = Lanes(cast(Any, carrier), lambda job: None, set())
    assert (lanes.waiting(), lanes.oldest_s()) == (0, 0.0)
    for symbol in ("A", "A", "B"):
        order = an_order(account_id=ACCOUNT.account_id, symbol=symbol)
        lanes.put(Job(kind="send", scope=cast(Any, None), account=ACCOUNT, order=order, epoch=1))
    assert lanes.waiting() == 1
    await asyncio.sleep(0)
    first = lanes.oldest_s()
    await asyncio.sleep(0.01)
    assert lanes.oldest_s() >= first + 0.01
    carrier.go.set()
    await lanes.idle()
    assert (lanes.waiting(), lanes.oldest_s()) == (0, 0.0)


def test_each_kind_of_stop_is_counted_by_its_state_and_is_0_again_when_it_is_gone():
    account, tenant = UUID(int=1), UUID(int=2)
    stops = Stops([
        Stop("tenant", tenant, None, None, "halted", None),
        Stop("account", account, None, None, "reducing", None),
        Stop("account", tenant, None, None, "reducing", None),
        Stop("exit", account, None, None, "active", None),
    ])  # fmt: skip
    metrics.stopped(stops.counted(), WHATS)
    assert value("portcullis_switch_stops", what="tenant", state="halted") == 1
    assert value("portcullis_switch_stops", what="account", state="reducing") == 2
    assert value("portcullis_switch_stops", what="platform", state="halted") == 0
    metrics.stopped(Stops().counted(), WHATS)
    assert value("portcullis_switch_stops", what="account", state="reducing") == 0


@pytest.mark.parametrize(
    ("state", "states", "word"),
    [
        ("refused", {}, "refused"),
        ("done", {}, "nothing"),
        ("done", {"skipped": 4, "declined": 1, "cancels": 1}, "nothing"),
        ("done", {"filled": 3, "skipped": 2}, "filled"),
        ("done", {"filled": 3, "failed": 1}, "partly_filled"),
        ("done", {"partly_filled": 1}, "partly_filled"),
        ("done", {"failed": 2, "skipped": 1}, "failed"),
        ("done", {"filled": 1, "working": 1}, "working"),
        ("done", {"failed": 1, "working": 1}, "partly_filled"),
    ],
)
def test_a_signal_that_is_done_has_one_word(state, states, word):
    assert end(state, states) == word
    assert value("portcullis_signal_outcomes_total", outcome=word) >= 0  # there before the first


def test_every_limit_is_there_before_it_is_hit():
    assert value("portcullis_limits_hit_total", limit="max_daily_loss") >= 0
