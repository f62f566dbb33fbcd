"""Simulated time, and hosts on it: what dies runs no `finally`, what freezes goes on later."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

import pytest

from ops.sim.loop import HOST, Host, SimulatedLoop, Stuck


@pytest.fixture
def loop():
    made = SimulatedLoop()
    yield made
    made.close()


def on(host: Host, loop: SimulatedLoop, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    context = Context()
    context.run(HOST.set, host)
    return context.run(loop.create_task, coroutine)


def test_time_jumps_and_timers_come_in_their_order(loop):
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time()))

    async def main() -> None:
        await asyncio.gather(sleeper("b", 3600), sleeper("a", 5))

    loop.run_until_complete(main())
    assert seen == [("a", 5), ("b", 3600)]


def test_what_waits_for_nothing_that_can_happen_is_an_error(loop):
    with pytest.raises(Stuck):
        loop.run_until_complete(loop.create_future())


def test_a_dead_host_runs_nothing_more_not_even_its_finally_blocks(loop):
    host, seen = Host("w1", loop), list[str]()

    async def worker() -> None:
        try:
            await asyncio.sleep(2)
            seen.append("slept")
        finally:
            seen.append("finally")

    task = on(host, loop, worker())
    loop.outside(1, loop.kill, host)
    loop.run_until_complete(asyncio.sleep(10))
    assert seen == []
    host.dead = False
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    assert seen == ["finally"]


def test_a_frozen_host_goes_on_later_and_finds_that_time_has_passed(loop):
    host, seen = Host("w1", loop), list[float]()

    async def worker() -> None:
        await asyncio.sleep(2)
        seen.append(host.monotonic())

    on(host, loop, worker())
    loop.outside(1, setattr, host, "frozen", True)
    loop.outside(7, host.thaw)
    loop.run_until_complete(asyncio.sleep(10))
    assert seen == [7]


def test_a_hosts_time_of_day_can_be_set_and_its_monotonic_clock_cannot(loop):
    host = Host("w1", loop)
    before, ticks = host.now(), host.monotonic()
    host.step_s = -5.0
    assert (host.now() - before).total_seconds() == -5
    assert host.monotonic() == ticks
    assert host.now_ns() == int(host.now().timestamp()) * 10**9
