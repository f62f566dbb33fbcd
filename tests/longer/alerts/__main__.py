"""`python -m tests.longer.alerts`: each alert fired by a real fault, by a real Prometheus with our rules.

1. Prometheus is started, with the rules as tests/longer/alerts/rules.py says: the same alerts, and nobody
   waits for hours. It finds nothing to scrape: PortcullisNothingScraped.
2. An installation with some accounts and an exchange is started. What fires beside what was meant is said.
3. Fault after fault (faults.py, evidence.py): inside each its alerts have to fire.
4. Which alerts were fired by a real fault, which not. Exit status 0: each fault was noticed by each of its
   alerts; alerts that no fault reaches are named, and are no failure. 1: not so.

Some ten minutes; a few of the faults need root and a C compiler, and are named where these are not there.
Logs and Prometheus' data stay in var/alerts.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import click

from ops.chaos.disk import own_mounts
from ops.trial.installation import free_port
from tests.longer.alerts.breaking import Fault
from tests.longer.alerts.evidence import ALL
from tests.longer.alerts.prometheus import Prometheus, prometheus
from tests.longer.alerts.rules import names, shortened
from tests.longer.alerts.stage import Stage, old_certificates, stage

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / "ops" / "alerts").glob("*.yml"))
BETWEEN_S = 3.0
NOTHING_S = 20.0
QUIET_S = 15.0


class Run:
    """What fired for what."""

    def __init__(self, only: tuple[str, ...], patience: float) -> None:
        self._begun = time.monotonic()
        self._only = only
        self._patience = patience
        self._first: dict[str, str] = {}
        """What was going on when an alert was seen first."""
        self.fired: dict[str, str] = {}
        self.missed: dict[str, str] = {}

    def say(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self._begun:6.1f}  {text}")

    async def all(self, var: Path, *, root: bool) -> list[str]:
        """Every alert's name."""
        rules, said = shortened(RULES)
        for line in said:
            click.echo(f"        {line}")
        certificates, admin_port = var / "certificates", free_port()
        await asyncio.to_thread((var / "prometheus").mkdir)
        old_certificates(certificates)
        found_at = f"https://localhost:{admin_port}/metrics/targets"
        async with AsyncExitStack() as stack:
            watched = await stack.enter_async_context(
                prometheus(var / "prometheus", rules, found_at, certificates / "ca.pem")
            )
            watching = asyncio.create_task(watched.watch())
            stack.callback(watching.cancel)
            await self._until(watched, ("PortcullisNothingScraped",), "nothing is there", NOTHING_S)
            place = await stack.enter_async_context(
                stage(var / "here", disks=root, certificates=certificates, admin_port=admin_port)
            )
            self.say(f"up: {', '.join(sorted(place.ground.here.state.processes))}")
            for one in ALL:
                if not self._only or any(word in one.act.__name__ for word in self._only):
                    await self._one(place, watched, one, root=root)
        return names(rules)

    async def _one(self, place: Stage, watched: Prometheus, one: Fault, *, root: bool) -> None:
        if one.needs_root and not root:
            self.say(f"not tried, it needs root: {one.name}")
            return
        self.say(f"-- {one.name}")
        if not one.at_rest:
            await self._quiet(watched, one.alerts)
        try:
            async with one.act(place):
                await self._until(watched, one.alerts, one.name, one.within_s)
        except Exception as error:  # the next fault is another matter
            self.say(f"   broke: {error!r}")
            for name in one.alerts:
                if name not in self.fired:
                    self.missed[name] = f"{one.name} ({error!r})"
        await place.settle()
        await asyncio.sleep(BETWEEN_S)

    async def _until(
        self, watched: Prometheus, wanted: tuple[str, ...], why: str, within_s: float
    ) -> None:
        """Until all of them fire now, or the time is over. One that fired all the time is told as such."""
        until = time.monotonic() + within_s * self._patience
        left, before = set(wanted), set(watched.now)
        while left and time.monotonic() < until:
            for name in watched.now:
                self._first.setdefault(name, why)
            for name in sorted(left & watched.now):
                left.discard(name)
                already = f" (since: {self._first[name]})" if name in before else ""
                if not already or name not in self.fired:
                    self.fired[name] = why + already
                self.say(f"   fires: {name}{already}")
            await asyncio.sleep(0.3)
        for name in sorted(left):
            self.missed[name] = why
            self.say(f"   SILENT: {name}")
        beside = sorted(watched.now - set(wanted))
        if beside:
            self.say(f"   beside: {', '.join(name.removeprefix('Portcullis') for name in beside)}")

    async def _quiet(self, watched: Prometheus, names: tuple[str, ...]) -> None:
        """What is to fire now does not fire yet: what came before is over. For a while only."""
        until = time.monotonic() + QUIET_S * self._patience
        while time.monotonic() < until and watched.now & set(names):  # noqa: ASYNC110 - it is polled
            await asyncio.sleep(0.3)


def tell(run: Run, every: list[str]) -> int:
    """The list, and the exit status."""
    for name in every:
        if name in run.fired:
            click.echo(f"fired       {name:38} {run.fired[name]}")
        elif name in run.missed:
            click.echo(f"SILENT      {name:38} {run.missed[name]}")
        else:
            click.echo(f"no fault    {name}")
    missed = set(run.missed) - set(run.fired)
    click.echo(
        f"{len(run.fired)} of {len(every)} alerts were fired by a real fault; {len(missed)} stayed silent"
    )
    return 1 if missed else 0


@click.command()
@click.option("--only", multiple=True, help="Only faults whose function's name has this in it.")
@click.option("--patience", default=1.0, help="How much longer to wait than on a quiet machine.")
@click.option("--var", type=Path, default=Path("var/alerts"), help="Where everything lies.")
def main(only: tuple[str, ...], patience: float, var: Path) -> None:
    """Fire each alert by a real fault."""
    root = own_mounts()
    shutil.rmtree(var, ignore_errors=True)
    var.mkdir(parents=True)
    run = Run(only, patience)
    every = asyncio.run(run.all(var.absolute(), root=root))
    sys.exit(tell(run, every))


if __name__ == "__main__":
    main()
