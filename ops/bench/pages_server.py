"""The server side of the pages benchmark: the admin listener as it ships, in a process of its own, with TLS.

Left out is only what a page does not use: Redis, the signer and the enroller.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import structlog

from gateway.admin.app import admin_app
from gateway.admin.operation import Services
from ops.garbage import collect_garbage_rarely
from ops.listener_settings import Tls
from ops.serve import run, serve
from tenancy.clock import SystemClock
from tenancy.database import Database


async def main(fd: str, certificate: str, key: str, conninfo: str) -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    database = Database(conninfo, name="bench-pages", size=4)
    await database.open()
    absent: Any = None
    services = Services(
        database=database, redis=absent, enroller=absent, signer=absent, clock=SystemClock(),
        brokers=("paper",), hooks_base_url="https://localhost",
    )  # fmt: skip
    app = admin_app(services, checks={})
    tls = Tls(certificate=Path(certificate), key=Path(key))
    await serve(app, fd=int(fd), tls=tls, stop=asyncio.Event(), endless=True)
    return 0


if __name__ == "__main__":
    collect_garbage_rarely()
    sys.exit(run(lambda: main(*sys.argv[1:])))
