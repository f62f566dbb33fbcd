"""What is broken: an installation with a customer, an exchange and signals, set up so that every part is there.

Beside what `./appliance chaos` takes it has two more signers, a second store, an archive of commits, a witness
that nobody answers for, a certificate that is about to end, and a chronyd that says what it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from audit.witness.witness import create
from hsm.policy import OPENABLE_PURPOSES
from loadtest.pkcs11.build import build
from ops.backup.prepare import prepare
from ops.chaos.disk import Disk
from ops.chaos.ground import ground
from ops.chaos.processes import Processes
from ops.chaos.storm import Ground
from ops.paths import Places
from ops.settings import read_settings
from ops.stack.postgres import Postgres
from ops.tls import LIFETIME, create_dev_certificates
from ops.toml import dumps
from ops.trial.cast import Cast, assemble
from ops.trial.customer import Customer, customer
from ops.trial.installation import free_port
from ops.trial.sender import Sender, Sent, sender
from tenancy.errors import Unavailable
from tests.fakes.chronyd import Chronyd

ACCOUNTS = 14
SMALL_SIGNER = "signer3"
RELAY = Path("relay") / "relay.so"
WITNESS, POLICY = "witness", "policy"
STRATEGY = "trend following"
WORKS_S = 180.0
_NONE_ON_ITS_WAY = """
SELECT 1 WHERE NOT EXISTS (SELECT FROM orders WHERE state IN ('intent', 'in_doubt', 'waiting'))"""
_DONE = "SELECT 1 FROM signal_outcomes WHERE done_at IS NOT NULL"
_RESTING = "SELECT 1 FROM orders WHERE state = 'new' AND ord_type = 'limit'"
_LONG = "SELECT 1 FROM positions WHERE qty > 0 AND symbol = 'BTC_USDT'"


class Stage(msgspec.Struct, frozen=True):
    """Everything that a fault may reach for."""

    ground: Ground
    house: Customer
    cast: Cast
    sender: Sender
    chronyd: Chronyd
    superuser: str
    processes: Processes
    turns: Iterator[str]

    @property
    def places(self) -> Places:
        return self.ground.here.places

    async def signal(self, **fields: Any) -> Sent:
        """One signal, sent once: a buy and a sell in turn, so that each is an order for every account."""
        return await self.sender.send(
            **{"ticker": "BTC_USDT", "action": next(self.turns), "quantity": 1, **fields}
        )

    async def signals(self, count: int, **fields: Any) -> list[Sent]:
        """So many at once."""
        return list(await asyncio.gather(*(self.signal(**fields) for _ in range(count))))

    async def hold(self, within_s: float = 60.0) -> None:
        """Until some account has bought: what closes is then something to wait for."""
        async with asyncio.timeout(within_s):
            while not await self.sql(_LONG):
                await self.signal(action="buy")
                await asyncio.sleep(1.0)

    async def rest(self, within_s: float = 20.0, **limit: Any) -> None:
        """A limit order of each account that rests at the exchange. Raises TimeoutError."""
        await self.signal(action="exit")  # who holds it already buys no more
        await self.settle()
        await self.signal(action="buy", orderType="limit", **limit)
        await self.until(_RESTING, within_s)

    async def settle(self, within_s: float = 90.0) -> None:
        """Until no order is on its way, so that what one fault left is nothing of the next one's."""
        with contextlib.suppress(TimeoutError, psycopg.Error):
            await self.until(_NONE_ON_ITS_WAY, within_s)

    async def until(self, query: str, within_s: float) -> None:
        """Until it finds a row. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not await self.sql(query):  # noqa: ASYNC110 - a row tells nobody that it is there
                await asyncio.sleep(0.5)

    async def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """As somebody with all rights in the database does."""
        async with await psycopg.AsyncConnection.connect(self.superuser, autocommit=True) as conn:
            cursor = await conn.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []


def old_certificates(directory: Path) -> None:
    """One day is left of certificates that hold for 397."""
    create_dev_certificates(directory, datetime.now(UTC) - LIFETIME + timedelta(days=1))


def prepared(
    where: Places, certificates: Path, admin_port: int, chrony_port: int, *, disks: bool
) -> None:
    """Settings and files of an installation that was made and not started."""
    var = where.var
    document = tomllib.loads(where.settings.read_text())
    for file in certificates.iterdir():
        shutil.copy2(file, var / "tls" / file.name)
    document["clock"]["chrony_port"] = chrony_port
    document["admin"]["port"] = admin_port
    document["hsm"]["more_signers"] = [
        _further_signer(var, where.runtime, "signer2"),
        _further_signer(var, where.runtime, SMALL_SIGNER, **_small(var)),
    ]
    witness = create(var / WITNESS, "witness.example/away")
    policy = var / POLICY
    policy.write_text(
        f"witness away {witness.public} http://127.0.0.1:{free_port()}\nquorum away\n"
    )
    second = var / "second-store"
    second.mkdir()
    document["recorder"] |= {
        "witness_policy": str(policy), "anchor_every_s": 1.0, "witness_timeout_s": 0.5,
        "stores": [{"kind": "directory", "name": "second", "path": str(second), "every_s": 1.0}],
    }  # fmt: skip
    document["audit"] = {"append_wait_ms": 8_000}  # a busy machine writes slowly
    document["worker"] |= {
        "open_window_s": 20.0, "durable_within_ms": 4000, "reconcile_s": 2.0, "stuck_s": 2.0,
        "doubt_old_s": 3.0, "lease_ttl_s": 10.0,
    }  # fmt: skip
    document["admin"] |= {
        "notify_failing_after_hours": 0.0003, "notify_allow_networks": ["127.0.0.0/8"],
    }  # fmt: skip
    repository = Disk(var / "repository")
    if disks:
        repository.mount()
    document["backup"] = {
        "directory": str(repository.path), "database": Postgres(where).conninfo("backup"),
        "synchronous": True, "keep": 2,
    }  # fmt: skip
    where.settings.write_text(dumps(document))
    prepare(read_settings(where.settings))


def _further_signer(var: Path, runtime: Path, name: str, **more: Any) -> dict[str, str]:
    """At the same token, with one door for everything: where those before it are away, or late, it is asked."""
    daemon = tomllib.loads((var / "hsm" / "signer.toml").read_text()) | more
    daemon.pop("doors", None)
    sock, config = runtime / f"{name}.sock", var / "hsm" / f"{name}.toml"
    daemon["socket"] = str(sock)
    daemon["openers"] = {str(os.getuid()): sorted(OPENABLE_PURPOSES)}
    shutil.copy2(var / "hsm" / "signer.toml", config)
    config.write_text(dumps(daemon))
    return {"config": str(config), "socket": str(sock)}


def _small(var: Path) -> dict[str, Any]:
    """Limits that a few who ask reach, and a token that is as slow as its relay is told (loadtest/pkcs11)."""
    daemon = tomllib.loads((var / "hsm" / "signer.toml").read_text())
    limits = {"queue_max": 2, "tenant_rate_per_s": 1.0, "tenant_burst": 1, "hang_s": 120.0}
    if shutil.which("cc") is None:
        return limits
    return {**limits, "module": str(build((var / RELAY).parent, Path(daemon["module"])))}


async def traded(place: Stage) -> None:
    """All of it works: a signal was carried out. Raises Unavailable."""
    await place.signal()
    try:
        await place.until(_DONE, WORKS_S)
    except TimeoutError:
        raise Unavailable(f"the first signal was not carried out within {WORKS_S:g} s") from None


@asynccontextmanager
async def stage(
    var: Path, *, disks: bool, certificates: Path, admin_port: int
) -> AsyncIterator[Stage]:
    """All of it, up, with a customer whose accounts have a position. Raises Unavailable."""
    chronyd = await Chronyd().start()
    try:
        async with (
            ground(
                var,
                disks=disks,
                prepare=lambda place: prepared(
                    place, certificates, admin_port, chronyd.port, disks=disks
                ),
            ) as made,
            customer(made.here, "Alerts") as house,
        ):
            cast = await assemble(
                house, made.market, accounts=ACCOUNTS, paper_every=10, names=[STRATEGY]
            )
            for contract, price in (("BTC_USDT", "60000"), ("ETH_USDT", "3000")):
                await made.market.depth(contract, price, "1000000")
            authority = made.here.places.var / "tls" / "ca.pem"
            async with sender(made.here.state.urls["ingress"], authority, cast.hook) as sends:
                place = Stage(
                    made, house, cast, sends, chronyd, Postgres(made.here.places).superuser(),
                    Processes(made.here), cycle(("buy", "sell")),
                )  # fmt: skip
                await traded(place)
                yield place
    finally:
        chronyd.stop()
