"""One run, from an empty directory to its report.

1. Installation, exchange, tenants and accounts (ground.py).
2. The host's floors (floors.py), before the swarm is there.
3. The swarm searches (generators.py), while every process' cost is looked at (usage.py).
4. Everything that was accepted comes to its end; then the auditor looks, and only then the figures are made.

Whatever happens, all that was started is ended.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from uuid import UUID

from fanout.order import order_id
from loadtest.swarm.run import Sent, gathered, read_sent, read_steps
from ops.bench.crowd import Following
from ops.bench.stage import Say
from ops.load.figures import Evidence, at_the_knee, step_figures
from ops.load.floors import floors
from ops.load.generators import Swarm, swarm
from ops.load.ground import Ground, ground
from ops.load.report import Report, knee, read_requests, verdict
from ops.load.settings import Settings
from ops.load.usage import Usage, groups
from ops.trial.auditing import audited
from ops.trial.exchange import Executed
from tenancy.values import SignalID


async def measure(
    settings: Settings, out: Path, say: Say, *, command: str, conditions: str
) -> Report:
    """Raises PortcullisError where a part does not work, or what was accepted does not come to an end."""
    async with ground(settings, say) as here:
        with tempfile.TemporaryDirectory(prefix="pc-load-") as name:
            directory = Path(name)
            say("the floors of this host")
            floor = await floors(here.authority.parent, directory, settings.workers)
            usage = await _searched(here, settings, directory, out, say)
            say("everything that was accepted comes to its end")
            await here.market.clear_faults()
            await here.settled()
            say("the auditor looks")
            sent = read_sent(directory)
            opinion = await audited(here.here, here.market, gathered(directory))
            done = read_steps(directory)
            evidence = Evidence(
                sent=sent,
                arrivals=arrivals(sent, here.crowd, await here.market.executed()),
                samples=usage.samples,
            )
    steps = [step_figures(step, evidence, settings.pace_per_s) for step in done.steps]
    return Report(
        command=command,
        conditions=conditions,
        settings=settings,
        floors=floor,
        knee=knee(at_the_knee(steps, done.good), floor, found=done.found),
        verdict=verdict(sent, opinion),
        steps=steps,
        requests=read_requests(out / "locust_stats.csv"),
        samples=usage.samples,
    )


async def _searched(
    here: Ground, settings: Settings, directory: Path, out: Path, say: Say
) -> Usage:
    """The whole search. Raises Unavailable where a process of Locust's fails."""
    run = here.write_run(directory, settings)
    async with swarm(run, out, settings.generators) as locusts:
        usage = _usage(here, locusts)
        watching = asyncio.create_task(usage.watch())
        try:
            say(f"the search: {settings.generators} generators; {out}/locust.log")
            await locusts.wait()
        finally:
            watching.cancel()
    return usage


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
