"""`./appliance chaos`: break everything at random under load, then ask an independent auditor.

1. A private installation under var/chaos, an exchange simulator, two tenants of two strategies,
   forty accounts (ground.py).
2. Signed signals over HTTPS without pause, the kill switch now and then. Meanwhile faults of every
   kind (kinds.py), at seeded random moments; each counts only when it was seen to happen (storm.py).
3. Calm: every signal answered, nothing left to do (or that is the finding).
4. The auditor (loadtest/auditor.py), in a process of its own, compares the sender's notes, the
   rows, the exchange and the log's files.

A seed gives the same signals and faults in the same order; not the same moments to the
microsecond, so a seed narrows a failure down and does not replay it. Logs, notes and the seed stay
in var/chaos. Exit status: 0 clean, 1 findings, faults that were never seen, or not settled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from ops.api_client import Api, trust
from ops.chaos.clock import compiler
from ops.chaos.disk import own_mounts
from ops.chaos.ground import ground
from ops.chaos.kinds import KINDS, Kind, Needs, plan
from ops.chaos.load import Load, Notes
from ops.chaos.settle import settled
from ops.chaos.storm import Ground, Storm
from ops.chaos.switch import Switch
from ops.stack.postgres import Postgres
from ops.trial.auditing import audited
from ops.trial.cast import Cast, assemble
from ops.trial.customer import customer
from ops.trial.exchange import Exchange
from ops.trial.installation import Installation
from ops.trial.sender import sender
from tenancy.errors import PortcullisError
from tenancy.pause import pause

TENANTS, ACCOUNTS = 2, 20
STRATEGIES = ("trend following", "mean reversion")
SIGNALS_PER_S = 0.5  # of each strategy
FAULTS_PER_MINUTE = 20.0
LAST_FAULT_S = 3.0  # before the load may end
ANSWERED_S, SETTLED_S = 180.0, 600.0
"""Long, because a busy machine is slow: the verdict is about what happened, not about when."""
WALK = 0.004
"""How far the market goes, up and down, of its price: far enough to reach some stops and targets."""
DEPTH = (("BTC_USDT", 60_000), ("ETH_USDT", 3_000))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `lacks`: what this machine does not let us have."""

    seconds: float
    faults: int
    seed: int
    var: Path
    lacks: frozenset[Needs] = frozenset()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can be asked for here."""
        return tuple(kind for kind in KINDS if kind.needs not in self.lacks)


class House(msgspec.Struct, frozen=True):
    """A tenant, and the key of a person of its own."""

    cast: Cast
    service_key: str

    def __repr__(self) -> str:
        return f"House({self.cast!r}, service_key=…)"


class Chaos:
    """What a run stands on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun:7.1f}  {text}", file=sys.stderr, flush=True)  # noqa: T201

    async def run(self) -> dict[str, Any]:
        """Raises Unavailable where it does not settle, or cannot be audited."""
        s, var = self.settings, self.settings.var
        self.say(f"seed {s.seed}: {s.faults} faults in {s.seconds:g} s; logs in {var}")
        for kind in KINDS:
            if kind.needs in s.lacks:
                self.say(f"not asked here: {kind.name} needs {kind.needs}")
        async with ground(var, disks="root" not in s.lacks) as stage:
            (var / "seed").write_text(f"{s.seed}\n")
            self.say(f"up: {', '.join(sorted(stage.here.state.processes))}")
            houses = await self._houses(stage)
            said = await self._storm(stage, houses)
            self.say("the auditor looks")
            said |= await audited(stage.here, stage.market, self.settings.var / "sent.jsonl")
        return said

    async def _houses(self, stage: Ground) -> list[House]:
        houses = []
        for number in range(1, TENANTS + 1):
            async with customer(stage.here, f"Tenant {number}") as house:
                cast = await assemble(house, stage.market, accounts=ACCOUNTS, names=STRATEGIES)
                houses.append(House(cast, house.service_key))
        self.say(f"{TENANTS} tenants of {ACCOUNTS} accounts")
        return houses

    async def _storm(self, stage: Ground, houses: list[House]) -> dict[str, Any]:
        random = Random(self.settings.seed)  # noqa: S311 - chance to be repeated, not a secret
        over_s = max(1.0, self.settings.seconds - LAST_FAULT_S)
        faults = plan(random, self.settings.faults, over_s, self.settings.kinds)
        notes, storm = Notes(self.settings.var / "sent.jsonl"), Storm(stage, self.say)
        async with AsyncExitStack() as stack:
            loads = await _loads(stack, stage.here, houses, notes, random)
            switches = await _switches(stack, stage.here, houses, random)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for load in loads:
                    group.create_task(load.run(stop, per_s=SIGNALS_PER_S))
                for switch in switches:
                    group.create_task(switch.run(stop))
                group.create_task(_market(stage.market, stop))
                await asyncio.gather(storm.run(faults), asyncio.sleep(self.settings.seconds))
                stop.set()
            await stage.market.clear_faults()
            self.say("calm; every signal is to be answered")
            await asyncio.gather(*(load.finish(ANSWERED_S) for load in loads))
        notes.close()
        await settled(Postgres(stage.here.places).superuser(), SETTLED_S, self.say)
        return {
            "faults": sum(storm.asked.values()),
            "seen": sum(storm.seen.values()),
            "by_kind": {
                kind.name: {"asked": storm.asked[kind.name], "seen": storm.seen[kind.name]}
                for kind in KINDS
            },
            "not_asked_here": [kind.name for kind in KINDS if kind.needs in self.settings.lacks],
            "switch": sum(sum(switch.thrown.values()) for switch in switches),
            "seconds": round(time.monotonic() - self._begun, 1),
            "seed": self.settings.seed,
        }


async def _loads(
    stack: AsyncExitStack, here: Installation, houses: list[House], notes: Notes, random: Random
) -> list[Load]:
    """One for each strategy of each tenant."""
    loads = []
    for house in houses:
        for hook in (house.cast.hook, *(hook for _, hook in house.cast.more)):
            url, authority = here.state.urls["ingress"], here.places.var / "tls" / "ca.pem"
            sends = await stack.enter_async_context(sender(url, authority, hook))
            load = Load(sends, notes, Random(random.random()))  # noqa: S311
            stack.push_async_callback(load.drop)
            loads.append(load)
    return loads


async def _switches(
    stack: AsyncExitStack, here: Installation, houses: list[House], random: Random
) -> list[Switch]:
    trusted = trust(here.places.var / "tls" / "ca.pem")
    return [
        Switch(
            await stack.enter_async_context(
                Api(here.state.urls["admin"], house.service_key, trusted)
            ),
            house.cast,
            Random(random.random()),  # noqa: S311
        )
        for house in houses
    ]


async def _market(market: Exchange, stop: asyncio.Event) -> None:
    """Prices that go up and down, and a book that is always deep enough."""
    step = 0
    while not stop.is_set():
        step += 1
        up = 1 + WALK * (-1) ** step
        for contract, price in DEPTH:
            await market.depth(contract, str(round(price * up)), "1000000")
        await pause(stop, 2.0)


def clean(said: dict[str, Any]) -> bool:
    wrong = said["lost"] + said["doubled"] + said["unexplained"]
    return wrong == 0 and said["log"] == "unbroken" and said["seen"] == said["faults"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./appliance chaos", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.5, help="how long to go on (1.5)")
    parser.add_argument("--faults", type=int, help="how many faults; 20 a minute unless said")
    parser.add_argument("--seed", type=int, help="as a former run printed it; random unless said")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--var", type=Path, default=Path("var/chaos"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    settings = Settings(
        seconds=given.minutes * 60,
        faults=given.faults if given.faults is not None else _usual(given.minutes),
        seed=given.seed if given.seed is not None else secrets.randbelow(1 << 31),
        var=given.var.absolute(),
        lacks=_lacks(),
    )
    try:
        said = asyncio.run(Chaos(settings).run())
    except KeyboardInterrupt:
        return 130
    except (PortcullisError, ExceptionGroup) as error:
        words: Exception = error
        if isinstance(error, ExceptionGroup):  # of the tasks of the storm
            words = error.exceptions[0]
            if not isinstance(words, PortcullisError):
                raise
        print(f"chaos: {words}", file=sys.stderr)  # noqa: T201
        print(f"seed {settings.seed}; logs and notes are in {settings.var}", file=sys.stderr)  # noqa: T201
        return 1
    _show(said, settings, as_json=given.json)
    return 0 if clean(said) else 1


def _usual(minutes: float) -> int:
    return max(1, round(FAULTS_PER_MINUTE * minutes))


def _lacks() -> frozenset[Needs]:
    """Asked before there is a second thread or child: from here on our mounts are ours alone."""
    lacks: set[Needs] = set()
    if os.geteuid() != 0 or not own_mounts():
        lacks.add("root")
    if compiler() is None:
        lacks.add("compiler")
    return frozenset(lacks)


def _show(said: dict[str, Any], settings: Settings, *, as_json: bool) -> None:
    findings = said["findings"]
    for line in findings[:50]:
        print(line, file=sys.stderr)  # noqa: T201
    if not clean(said):
        print(f"seed {settings.seed}; logs and notes are in {settings.var}", file=sys.stderr)  # noqa: T201
    (settings.var / "verdict.json").write_text(json.dumps(said, indent=2) + "\n")
    if as_json:
        print(json.dumps(said))  # noqa: T201
        return
    for name in ("faults", "seen", "signals", "orders", "lost", "doubled", "unexplained", "log"):
        print(f"{name:12} {said[name]}")  # noqa: T201
    for name, counts in said["by_kind"].items():
        print(f"{'':12} {name:28} asked {counts['asked']:4}  seen {counts['seen']:4}")  # noqa: T201
