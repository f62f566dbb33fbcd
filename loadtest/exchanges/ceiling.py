"""How many orders a second the Gate.io simulator takes: a bounded run against a process of its own.

A plain aiohttp loop sends signed market orders over kept connections. Printed beside the rate is
the simulator's own CPU time per order, whose reciprocal is its ceiling on one core: on a shared
machine the client is often the slower of the two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import aiohttp
import uvloop

from loadtest.exchanges.gateio.auth import signature
from loadtest.exchanges.gateio.control import NewAccount, Settings
from loadtest.exchanges.gateio.control_client import ControlClient
from loadtest.exchanges.launch import launched

ACCOUNTS = 200
PATH = "/api/v4/futures/usdt/orders"

Signed = tuple[bytes, dict[str, str]]


async def measure(orders: int, connections: int) -> dict[str, object]:
    """One run; `connections` requests are under way at any time."""
    async with launched() as process, ControlClient(process.url) as control:
        await control.create_accounts(
            [
                NewAccount(key=f"k{n}", secret=f"s{n}", balance=Decimal(10**9))
                for n in range(ACCOUNTS)
            ]
        )
        await control.change_settings(Settings(orders_per_s=10**9))
        work = [_order(n) for n in range(orders)]
        cpu_before = _cpu_s(process.process.pid)
        started = time.perf_counter()
        statuses = await _send(process.url + PATH, work, connections)
        wall_s = time.perf_counter() - started
        cpu_s = _cpu_s(process.process.pid) - cpu_before
    return {
        "orders": orders,
        "connections": connections,
        "orders_per_s": round(orders / wall_s),
        "simulator_cpu_us_per_order": round(cpu_s / orders * 1e6, 1),
        "simulator_ceiling_per_core": round(orders / cpu_s),
        "statuses": statuses,
    }


def _order(n: int) -> Signed:
    account = n // 2 % ACCOUNTS
    size = "1" if n % 2 else "-1"
    body = json.dumps(
        {"contract": "BTC_USDT", "size": size, "price": "0", "tif": "ioc", "text": f"t-{n}"}
    ).encode()
    timestamp = str(int(time.time()))
    sign = signature(
        f"s{account}".encode(),
        method="POST",
        path=PATH,
        query="",
        body=body,
        timestamp=timestamp,
    )
    return body, {
        "KEY": f"k{account}",
        "Timestamp": timestamp,
        "SIGN": sign,
        "Content-Type": "application/json",
        "X-Gate-Size-Decimal": "1",
    }


async def _send(url: str, work: list[Signed], connections: int) -> dict[str, int]:
    statuses: Counter[str] = Counter()
    remaining: Iterator[Signed] = iter(work)

    async def one(session: aiohttp.ClientSession) -> None:
        for body, headers in remaining:
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
                statuses[str(response.status)] += 1

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(one(session) for _ in range(connections)))
    return dict(statuses)


def _cpu_s(pid: int) -> float:
    """User and system time of a process, from /proc (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.exchanges.ceiling",
        description="Measure the Gate.io simulator's own ceiling and print it as JSON.",
    )
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    print(json.dumps(uvloop.run(measure(arguments.orders, arguments.connections))))


if __name__ == "__main__":
    main()
