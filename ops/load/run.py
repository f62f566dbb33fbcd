"""One run, from an empty directory to its report.

1. Installation, exchange, tenants and accounts (ground.py).
2. The host's floors (floors.py), before the swarm is there.
3. The swarm searches (generators.py), while every process' cost is looked at (usage.py).
4. Everything that was accepted comes to its end; then the auditor looks, and only then the figures are made.

Whatever happens, all that was started is ended.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from uuid import UUID

from fanout.order import order_id
from loadtest.swarm.run import Sent, gathered, read_asked, read_sent, read_steps
from ops.bench.crowd import Following
from ops.bench.stage import Say, until
from ops.load.figures import Evidence, at_the_knee, step_figures
from ops.load.floors import floors
from ops.load.generators import Swarm, swarm
from ops.load.ground import Ground, ground
from ops.load.report import Report, knee, read_requests, verdict
from ops.load.scene import Scene, scene
from ops.load.settings import Settings
from ops.load.soak import growths
from ops.load.usage import Usage, groups
from ops.load.waves import loud_wave, main_wave
from ops.trial.auditing import audited
from ops.trial.exchange import Executed
from tenancy.errors import Unavailable
from tenancy.values import SignalID

LOUD_ONES = ("neighbour", "overload")
MAIN, LOUD = "locust", "loud"
"""The waves' names: of their directories, and of what Locust writes."""


async def measure(
    settings: Settings, out: Path, say: Say, *, command: str, conditions: str
) -> Report:
    """Raises PortcullisError where a part does not work, or what was accepted does not come to an end."""
    async with ground(settings, say) as here:
        with tempfile.TemporaryDirectory(prefix="pc-load-") as name:
            directory = Path(name)
            say("the floors of this host")
            floor = await floors(here.authority.parent, directory, settings.workers)
            usage = await _sent(here, settings, directory, out, say)
            say("everything that was accepted comes to its end")
            await here.market.clear_faults()
            await here.settled()
            say("the auditor looks")
            sent = read_sent(directory)
            opinion = await audited(here.here, here.market, gathered(directory))
            done = read_steps(directory / MAIN)
            arrived = arrivals(sent, here.crowd, await here.market.executed())
            disturbed = _scene(here, settings, directory, arrived)
    evidence = Evidence(sent=sent, arrivals=arrived, samples=usage.samples)
    steps = [step_figures(step, evidence, settings.pace_per_s) for step in done.steps]
    return Report(
        command=command,
        conditions=conditions,
        cores=len(os.sched_getaffinity(0)),
        settings=settings,
        floors=floor,
        knee=knee(at_the_knee(steps, done.good), floor, found=done.found),
        scene=disturbed,
        verdict=verdict(sent, opinion),
        growths=growths(steps) if settings.scenario == "soak" else [],
        steps=steps,
        requests=read_requests(out / f"{MAIN}_stats.csv"),
        samples=usage.samples,
    )


async def _sent(here: Ground, settings: Settings, directory: Path, out: Path, say: Say) -> Usage:
    """All that is sent. Raises Unavailable where a process of Locust's fails."""
    run = here.write_run(directory / MAIN, settings, main_wave(here.crowd, settings))
    async with swarm(run, out, settings.generators, MAIN) as main:
        usage = _usage(here, main)
        watching = asyncio.create_task(usage.watch())
        try:
            say(f"{settings.scenario}: {settings.generators} generators; {out}/{MAIN}.log")
            if settings.scenario in LOUD_ONES:
                await _loud(here, settings, directory, out, say, usage)
            await main.wait()
        finally:
            watching.cancel()
    return usage


async def _loud(
    here: Ground, settings: Settings, directory: Path, out: Path, say: Say, usage: Usage
) -> None:
    """The loud wave, once it was quiet for as long as was asked for."""
    await _first_note(directory / MAIN)
    await asyncio.sleep(settings.timing.settle_s + settings.noise.quiet_s)
    run = here.write_run(directory / LOUD, settings, loud_wave(here.tenants, here.crowd, settings))
    async with swarm(run, out, settings.generators, LOUD) as loud:
        usage.add("locust", list(loud.pids.values()))
        say(f"{settings.loud} senders more for {settings.noise.loud_s:g} s")
        await loud.wait()


async def _first_note(directory: Path) -> None:
    """Raises Unavailable where nobody sends anything."""

    async def noted() -> int:
        return await asyncio.to_thread(lambda: len(read_sent(directory)))

    await until(noted, 1, "signals sent")


def _scene(
    here: Ground, settings: Settings, directory: Path, arrived: dict[str, list[float]]
) -> Scene | None:
    """None where nobody was loud."""
    if settings.scenario not in LOUD_ONES:
        return None
    loud = read_sent(directory / LOUD)
    if not loud:
        raise Unavailable(f"nothing loud was sent; {LOUD}.log says why")
    return scene(
        read_sent(directory / MAIN),
        loud,
        read_asked(directory),
        tenants={one.hook.hook_id: n for n, all_ in enumerate(here.tenants) for one in all_},
        loud_tenants=[0] if settings.scenario == "neighbour" else range(len(here.tenants)),
        arrivals=arrived,
        p99_limit_ms=settings.objectives.p99_ms,
    )


def _usage(here: Ground, locusts: Swarm) -> Usage:
    state = here.here.state
    roots = groups(state)
    roots["exchange"] = [here.market.pid]
    roots["locust"] = list(locusts.pids.values())
    return Usage(roots, {"supervisor": state.supervisor.pid})


def arrivals(
    sent: list[Sent], crowd: list[Following], executed: list[Executed]
) -> dict[str, list[float]]:
    """Signal's id → when each of its orders arrived at the exchange. Signals without orders are not there."""
    at = {one.order: one.arrived_wall for one in executed}
    accounts = {one.hook.hook_id: one.accounts for one in crowd}
    found: dict[str, list[float]] = defaultdict(list)
    for signal_id, hook_id in {one.signal_id: one.hook_id for one in sent}.items():
        if signal_id is None:
            continue
        for account in accounts[hook_id]:
            order = order_id(SignalID(UUID(signal_id)), account, 0)
            if order in at:
                found[signal_id].append(at[order])
    return dict(found)
