"""An ingress in a process of its own, to be killed: `python -m tests.fakes.ingress_process FD PG REDIS`."""

from __future__ import annotations

import asyncio
import sys

from hypercorn.asyncio import serve

from audit import ring
from gateway.listener import hypercorn_config
from tests.fakes.ring import ClearRing
from tests.integration.gateway.ingress import ingress


async def main(fd: str, conninfo: str, redis_socket: str) -> None:
    ring.use(ClearRing())
    async with ingress(conninfo, redis_socket) as running:
        stop = asyncio.Event()
        await serve(running.app, hypercorn_config(f"fd://{fd}"), shutdown_trigger=stop.wait)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
