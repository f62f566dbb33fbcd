"""`./appliance chaos`: SIGKILL everything at random under load, then ask an independent auditor.

1. A private installation under var/chaos, an exchange simulator, two tenants, forty accounts.
2. Signed signals over HTTPS, without pause. Meanwhile processes are killed at seeded random
   moments (never two at the very same), workers are frozen, and the exchange has its moods.
3. Calm: no more faults, every signal answered, nothing left to do (or that is the finding).
4. The auditor (loadtest/auditor.py), in a process of its own, compares the sender's notes, the
   rows, the exchange and the log's files.

A seed gives the same signals, kills and moods in the same order; not the same moments to the
microsecond, so a seed narrows a failure down and does not replay it. Logs, notes and the seed stay
in var/chaos. Exit status: 0 clean, 1 findings or not settled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psycopg

from audit.keystore import SUBJECT
from ops.chaos.killer import Killer, plan_kills
from ops.chaos.load import Load, Notes
from ops.chaos.moods import Moods
from ops.chaos.settle import settled
from ops.initialise import PAPER_INSTRUMENTS, Choices
from ops.processes import ROOT
from ops.stack.postgres import Postgres
from ops.tls import write_private
from ops.trial.cast import Cast, assemble
from ops.trial.customer import API_RATES, customer
from ops.trial.exchange import Exchange, broker_settings, exchange
from ops.trial.installation import Installation, fresh, running
from ops.trial.sender import sender
from ops.vault import signer_client
from tenancy.errors import PortcullisError, Unavailable

TENANTS, ACCOUNTS = 2, 20
SIGNALS_PER_S = 1.0  # of each tenant
KILLS_PER_MINUTE = 20.0
LAST_KILL_S = 3.0  # before the load ends
ANSWERED_S, SETTLED_S = 60.0, 120.0
WINDOW_S = 3600.0
"""Nothing may be given up for being late: what is planned must be carried out."""
DURABLE_WITHIN_MS = 60_000
"""The same of an intent: a worker that is frozen in its transaction makes others wait for ten seconds."""
DEPTH = (("BTC_USDT", "60000"), ("ETH_USDT", "3000"))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    seconds: float
    kills: int
    seed: int
    var: Path


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
        self.say(f"seed {s.seed}: {s.kills} kills in {s.seconds:g} s; logs in {var}")
        var.parent.mkdir(parents=True, exist_ok=True)
        log = var.with_name(f"{var.name}-exchange.log")
        async with exchange(log) as market:
            where = await asyncio.to_thread(fresh, var, _choices(market.url))
            (var / "seed").write_text(f"{s.seed}\n")
            async with running(where) as here:
                self.say(f"up: {', '.join(sorted(here.state.processes))}")
                casts = await self._casts(here, market)
                said = await self._storm(here, market, casts)
                self.say("the auditor looks")
                said |= await self._audit(here, market)
        return said

    async def _casts(self, here: Installation, market: Exchange) -> list[Cast]:
        casts = []
        for number in range(1, TENANTS + 1):
            async with customer(here, f"Tenant {number}") as house:
                casts.append(await assemble(house, market, accounts=ACCOUNTS))
        self.say(f"{TENANTS} tenants of {ACCOUNTS} accounts")
        return casts

    async def _storm(
        self, here: Installation, market: Exchange, casts: list[Cast]
    ) -> dict[str, Any]:
        random = Random(self.settings.seed)  # noqa: S311 - chance to be repeated, not a secret
        notes = Notes(self.settings.var / "sent.jsonl")
        killer = Killer(here, Random(random.random()), self.say)  # noqa: S311
        moods = Moods(market, Random(random.random()))  # noqa: S311
        over_s = max(1.0, self.settings.seconds - LAST_KILL_S)
        kills = plan_kills(random, self.settings.kills, over_s)
        async with AsyncExitStack() as stack:
            loads = []
            for cast in casts:
                own = Random(random.random())  # noqa: S311
                load = Load(await stack.enter_async_context(_sender(here, cast)), notes, own)
                stack.push_async_callback(load.drop)
                loads.append(load)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for load in loads:
                    group.create_task(load.run(stop, per_s=SIGNALS_PER_S))
                group.create_task(moods.run(stop))
                group.create_task(_keep_depth(market, stop))
                await asyncio.gather(killer.run(kills), asyncio.sleep(self.settings.seconds))
                stop.set()
            await moods.calm()
            self.say("calm; every signal is to be answered")
            await asyncio.gather(*(load.finish(ANSWERED_S) for load in loads))
        notes.close()
        await settled(Postgres(here.places).superuser(), SETTLED_S, self.say)
        killed, frozen = sum(killer.killed.values()), sum(killer.frozen.values())
        return {
            "faults": killed + frozen + moods.hits,
            "kills": killed,
            "killed": dict(sorted(killer.killed.items())),
            "frozen": frozen,
            "exchange_faults": moods.hits,
            "seconds": round(time.monotonic() - self._begun, 1),
            "seed": self.settings.seed,
        }

    async def _audit(self, here: Installation, market: Exchange) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadtest.auditor", "--json", "--carried-out",
            "--database", Postgres(here.places).superuser(), "--simulator", market.url,
            "--store", str(here.settings.recorder.store),
            "--sent", str(self.settings.var / "sent.jsonl"),
            "--audit-keys", str(await _audit_keys(here, self.settings.var)),
            stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        out, _ = await process.communicate()
        if process.returncode not in (0, 1):
            raise Unavailable("the auditor could not read everything; its words are above")
        opinion: dict[str, Any] = json.loads(out)
        return opinion


async def _audit_keys(here: Installation, directory: Path) -> Path:
    """The tenants' audit keys in a file for the auditor, who opens payloads by himself: the keys of an
    installation that is thrown away."""
    keys: dict[str, str] = {}
    async with (
        await psycopg.AsyncConnection.connect(Postgres(here.places).superuser()) as conn,
        signer_client(here.settings.hsm, here.settings.hsm.audit_socket) as signer,
    ):
        cursor = await conn.execute("SELECT tenant_id, sealed FROM audit_keys")
        for tenant, sealed in await cursor.fetchall():
            key = await signer.open_secret(sealed, tenant_id=tenant, subject=SUBJECT)
            keys[str(tenant)] = key.hex()
    file = directory / "audit-keys.json"
    write_private(file, json.dumps(keys).encode())
    return file


def _choices(url: str) -> Choices:
    return Choices(
        ingress_port=0,
        admin_port=0,
        rate_per_minute=100_000,
        rate_per_hour=1_000_000,
        api_rates=API_RATES,
        open_window_s=WINDOW_S,
        signal_age_max_s=WINDOW_S,
        durable_within_ms=DURABLE_WITHIN_MS,
        brokers={
            "gateio": broker_settings(url),
            "paper": {"instruments": PAPER_INSTRUMENTS},
        },
    )


def _sender(here: Installation, cast: Cast) -> Any:
    return sender(here.state.urls["ingress"], here.places.var / "tls" / "ca.pem", cast.hook)


async def _keep_depth(market: Exchange, stop: asyncio.Event) -> None:
    """A book that is always deep enough: this is not a test of the market."""
    while not stop.is_set():
        for contract, mark in DEPTH:
            await market.depth(contract, mark, "1000000")
        try:
            await asyncio.wait_for(stop.wait(), 2.0)
        except TimeoutError:
            pass


def clean(said: dict[str, Any]) -> bool:
    wrong = said["lost"] + said["doubled"] + said["unexplained"]
    return wrong == 0 and said["log"] == "unbroken"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./appliance chaos", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.5, help="how long to go on (1.5)")
    parser.add_argument("--kills", type=int, help="how many SIGKILLs; 20 a minute unless said")
    parser.add_argument("--seed", type=int, help="as a former run printed it; random unless said")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--var", type=Path, default=Path("var/chaos"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    settings = Settings(
        seconds=given.minutes * 60,
        kills=given.kills if given.kills is not None else round(KILLS_PER_MINUTE * given.minutes),
        seed=given.seed if given.seed is not None else secrets.randbelow(1 << 31),
        var=given.var.absolute(),
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
    for name in ("faults", "signals", "orders", "lost", "doubled", "unexplained", "log"):
        print(f"{name:12} {said[name]}")  # noqa: T201
    print(f"{'':12} {said['killed']}")  # noqa: T201
