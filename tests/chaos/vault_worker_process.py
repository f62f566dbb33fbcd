"""A worker in a process of its own that signs through the vault: `… PG URL NAME SOCKET…`.

Everything is the product's: HsmRequestSigner over SignerClient, at the sockets that are given.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from redis.asyncio import Redis

from audit import ring
from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.gateio.settings import GateioSettings
from fanout.brokers.signing import HsmRequestSigner
from fanout.worker import Worker
from hsm.client import SignerClient
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.ids import new_id
from tests.chaos.worker_process import PATIENCE, SETTINGS
from tests.fakes.ring import ClearRing

SIGN_TIMEOUT_S = 0.3


def gateio(url: str, signer: SignerClient) -> GateioBroker:
    settings = GateioSettings(
        base_url=url, sign_timeout_s=SIGN_TIMEOUT_S, connect_timeout_s=0.3, request_timeout_s=0.5,
        exptime_ms=400, clock_error_ms=50, connections=16, orders_per_s=1000, orders_burst=900,
        instruments_refresh_s=0.3, instruments_max_age_s=30.0,
    )  # fmt: skip
    return GateioBroker(settings, HsmRequestSigner(signer), SystemClock())


async def main(conninfo: str, url: str, name: str, sockets: list[str]) -> None:
    ring.use(ClearRing())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = Database(conninfo, name=name, size=8)
    await database.open()
    redis: Redis = Redis(unix_socket_path="/nonexistent/redis.sock")
    async with SignerClient(*sockets) as signer:
        worker = Worker(
            database=database,
            redis=redis,
            brokers={"gateio": gateio(url, signer)},
            clock=SystemClock(),
            worker_id=f"{name}-{new_id()}",
            settings=SETTINGS,
            patience=PATIENCE,
        )
        await worker.run(stop)
    await redis.aclose()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], sys.argv[4:]))
