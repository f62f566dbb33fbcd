"""A worker in a process of its own, to die at one step: `… PG URL NAME [STEP]`.

Everything is the product's but the signer, which signs in this process with one secret for all.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from redis.asyncio import Redis

from audit import ring
from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.gateio.settings import GateioSettings
from fanout.carry import Patience
from fanout.worker import Worker, WorkerSettings
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.ids import new_id
from tests.chaos.steps import STEPS
from tests.fakes.ring import ClearRing
from tests.fakes.signer import InProcessSigner

SECRET = b"no secret at all"
SETTINGS = WorkerSettings(
    lease_ttl_s=1.5,
    open_window_s=600.0,
    signal_age_max_s=600.0,
    lease_beat_s=0.2,
    sweep_s=0.05,
    follow_s=0.1,
    instruments_s=0.5,
    balances_s=5.0,
    stops_s=0.05,
)
PATIENCE = Patience(unsent_first_s=0.02, doubt_first_s=0.05, doubt_most_s=0.2)


def gateio(url: str) -> GateioBroker:
    settings = GateioSettings(
        base_url=url, sign_timeout_s=0.2, connect_timeout_s=0.3, request_timeout_s=0.5,
        exptime_ms=400, clock_error_ms=50, connections=16, orders_per_s=1000, orders_burst=900,
        instruments_refresh_s=0.3, instruments_max_age_s=30.0,
    )  # fmt: skip
    return GateioBroker(settings, InProcessSigner({}, default=SECRET), SystemClock())


async def main(conninfo: str, url: str, name: str) -> None:
    ring.use(ClearRing())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = Database(conninfo, name=name, size=8)
    await database.open()
    redis: Redis = Redis(unix_socket_path="/nonexistent/redis.sock")
    worker = Worker(
        database=database,
        redis=redis,
        brokers={"gateio": gateio(url)},
        clock=SystemClock(),
        worker_id=f"{name}-{new_id()}",
        settings=SETTINGS,
        patience=PATIENCE,
    )
    await worker.run(stop)
    await redis.aclose()
    await database.close()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        STEPS[sys.argv[4]]()
    asyncio.run(main(*sys.argv[1:4]))
