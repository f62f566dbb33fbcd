"""What the swarm is let loose on: a whole installation, an exchange that takes its time, tenants with accounts.

Everything is made as customers make it, by the API (ops/trial/customer.py), and everything is on: TLS, the
HSM, rows under the wall, the audit log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
from psycopg import AsyncConnection

from loadtest.swarm import run as swarm
from loadtest.swarm.course import Timing
from loadtest.swarm.strategy import BUY, EXIT
from ops.bench.crowd import Following, gather_crowd
from ops.bench.stage import AGREED, Say, installed, until
from ops.chaos.settle import settled
from ops.load.settings import Settings, fault_rules
from ops.stack.postgres import Postgres
from ops.tls import write_private
from ops.trial.customer import Customer, customer
from ops.trial.exchange import Exchange
from ops.trial.installation import Installation
from ops.trial.sender import sender
from tenancy.errors import Unavailable

CONNECTIONS = 64
"""Of each worker to the exchange, open before the first signal."""
SETTLED_S = 300.0
WINDOW_S = 3600.0
"""Nothing may be given up for being late: what was accepted above the knee is to be carried out too."""


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """Senders that one master leads: at whose hooks, how many of them when, and who else is there."""

    strategies: list[Following]
    search: swarm.Range
    timing: Timing
    api_users: int = 0
    streams: int = 0


class Ground:
    """`tenants`: of each its strategies, with their hooks and accounts."""

    def __init__(
        self,
        here: Installation,
        market: Exchange,
        tenants: list[list[Following]],
        keys: list[str],
        say: Say,
    ) -> None:
        self.here = here
        self.market = market
        self.tenants = tenants
        self._keys = keys
        self._say = say

    def __repr__(self) -> str:
        return f"<Ground of {len(self.tenants)} tenants, keys …>"

    @property
    def crowd(self) -> list[Following]:
        """All strategies, tenant by tenant in turn: the first of them are everybody's."""
        return [one for row in zip(*self.tenants, strict=True) for one in row]

    @property
    def authority(self) -> Path:
        """Whom the listeners' certificates are of."""
        return self.here.places.var / "tls" / "ca.pem"

    async def settled(self) -> None:
        """Nothing is left to do, in any tenant. Raises Unavailable, naming what is."""
        await settled(Postgres(self.here.places).superuser(), SETTLED_S, self._say)

    def write_run(self, directory: Path, settings: Settings, wave: Wave) -> Path:
        """The file that tells the generators everything; there are secrets in it, so only we may read it."""
        urls = self.here.state.urls
        hooks = (one.hook for one in wave.strategies)
        run = swarm.Run(
            directory=directory,
            ingress=urls["ingress"],
            admin=urls["admin"],
            authority=self.authority,
            exchange=self.market.url,
            hooks=tuple(swarm.Hook(one.hook_id, one.secret) for one in hooks),
            service_keys=tuple(self._keys),
            followers=settings.followers,
            pace_per_s=settings.pace_per_s,
            api_users=wave.api_users,
            api_pace_per_s=settings.api_pace_per_s,
            streams=wave.streams,
            generators=settings.generators,
            search=wave.search,
            objectives=settings.objectives,
            timing=wave.timing,
        )
        directory.mkdir()
        file = directory / "run.json"
        write_private(file, swarm.encode_run(run))
        return file


@asynccontextmanager
async def ground(settings: Settings, say: Say) -> AsyncIterator[Ground]:
    """Ready for the first signal; all of it gone afterwards."""
    async with installed(
        say,
        connections=CONNECTIONS,
        worker_processes=settings.workers,
        ingress_processes=settings.ingress,
        open_window_s=WINDOW_S,
        signal_age_max_s=WINDOW_S,
    ) as (here, market):
        say(
            f"{settings.tenants} tenants with {settings.accounts:,} accounts by the API, a sealed key each"
        )
        tenants, keys = [], []
        for number in range(1, settings.tenants + 1):
            async with customer(here, f"Tenant {number}") as house:
                tenants.append(await _strategies(house, market, settings))
                keys.append(house.service_key)
        made = Ground(here, market, tenants, keys, say)
        await _agreed(made, settings.accounts)
        say("every connection open, every key in the token, before anything is measured")
        await _warm(made)
        await market.faults(fault_rules(settings.delays))
        yield made


async def _strategies(house: Customer, market: Exchange, settings: Settings) -> list[Following]:
    """Each with accounts of its own."""
    numbers = {
        f"strategy {n}": range(n * settings.followers, (n + 1) * settings.followers)
        for n in range(settings.strategies)
    }
    accounts = settings.strategies * settings.followers
    crowd = await gather_crowd(house, market, accounts=accounts, strategies=numbers)
    return list(crowd.values())


async def _agreed(made: Ground, accounts: int) -> None:
    """Before an account's book was compared with the exchange's nothing opens there."""
    superuser = Postgres(made.here.places).superuser()
    async with await AsyncConnection.connect(superuser, autocommit=True) as conn:

        async def count() -> int:
            row = await (await conn.execute(AGREED)).fetchone()
            assert row is not None
            return int(row[0])

        await until(count, accounts, "accounts that agree with the exchange")


async def _warm(made: Ground) -> None:
    """A buy and an exit of every strategy."""
    url = made.here.state.urls["ingress"]
    for fields in (BUY, EXIT):
        async with AsyncExitStack() as stack:
            senders = [
                await stack.enter_async_context(sender(url, made.authority, one.hook))
                for one in made.crowd
            ]
            sent = await asyncio.gather(*(one.send(**fields) for one in senders))
        refused = [one for one in sent if one.status != 202]
        if refused:
            raise Unavailable(f"a hook answered {refused[0].status}: {refused[0].answer}")
        await made.settled()
