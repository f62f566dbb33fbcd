"""How fast records become durable leaves, and how long an append waits for its commit.

`audit_records_per_s`: from the first append to the last leaf committed, while several writers
append in batches as the order path does and one recorder sequences, integrates and publishes.
`audit_ack_p99_ms`: one record appended and committed, under a steady load of such batches.
Floor of both: pgbench on the same PostgreSQL in the same run, single-row INSERT commits by as many
connections (rate) and by one (p99).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from audit.inbox import Entry, append
from audit.ports import NoteSigner
from audit.record import Kind
from audit.recorder import Recorder
from ops.bench.measure import Measurement, Series, percentile
from ops.bench.pgbench import commits
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.scope import Actor
from tenancy.values import TenantID

WRITERS = 4
RECORDS_PER_COMMIT = 50
ACTOR = Actor(kind="algo", id="bench")


async def run(
    *,
    ingress: Database,
    recording: Database,
    tenant: TenantID,
    signer: NoteSigner,
    store_dir: Path,
    floor_conninfo: str,
    seconds: float = 5.0,
    runs: int = 3,
) -> list[Measurement]:
    """Measure on a database of its own: `tenant` must have an audit log that `signer` signs for.

    `ingress` needs WRITERS connections or more. Takes about 3·`seconds`·`runs`.
    """
    recorder = Recorder(recording, signer, store_dir, SystemClock())
    series = Series({"audit_records_per_s": "1/s", "audit_ack_p99_ms": "ms"})
    for _ in range(runs):
        floor_s = max(1, round(seconds / 2))
        rate = (await commits(floor_conninfo, clients=WRITERS, seconds=floor_s)).per_s
        p99 = (await commits(floor_conninfo, clients=1, seconds=floor_s)).p99_ms
        series.floor(audit_records_per_s=rate, audit_ack_p99_ms=p99)
        series.value(audit_records_per_s=await _records_per_s(ingress, recorder, tenant, seconds))
        series.value(audit_ack_p99_ms=await _ack_p99_ms(ingress, recorder, tenant, seconds))
    return series.measurements()


def entries(tenant: TenantID, start: int, count: int) -> list[tuple[TenantID, Entry]]:
    """Records of the size that an order's intent has."""
    now = time.time_ns()
    return [
        (tenant, Entry(
            kind=Kind.ORDER_INTENT, ts_ns=now, actor=ACTOR, oid=f"o-{n // 5}", acct="a" * 36,
            cor="c" * 32, payload={
                "cl_ord_id": f"t-{n}", "symbol": "BTC_USDT", "side": "buy", "order_qty": "12",
                "ord_type": "market", "price": None, "time_in_force": "ioc", "broker": "x" * 200,
            },
        ))
        for n in range(start, start + count)
    ]  # fmt: skip


async def _records_per_s(
    ingress: Database, recorder: Recorder, tenant: TenantID, seconds: float
) -> float:
    before = recorder.stats().records_total
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    began = time.perf_counter()
    appended = sum(
        await asyncio.gather(
            *(
                _append_for(ingress, recorder, tenant, before, began + seconds)
                for _ in range(WRITERS)
            )
        )
    )
    while recorder.stats().records_total < before + appended:  # noqa: ASYNC110 - stats are polled
        await asyncio.sleep(0.005)
    took = time.perf_counter() - began
    await recorder.drain()
    stop.set()
    await running
    return appended / took


async def _append_for(
    ingress: Database, recorder: Recorder, tenant: TenantID, before: int, until: float
) -> int:
    done = 0
    while time.perf_counter() < until:
        batch = entries(tenant, done, RECORDS_PER_COMMIT)
        async with ingress.shared() as conn:
            await append(conn, batch)
        done += RECORDS_PER_COMMIT
        # Each writer stays within one batch of the recorder: a longer inbox measures only itself.
        while (  # noqa: ASYNC110 - stats are polled
            done - (recorder.stats().records_total - before) / WRITERS > 512
        ):
            await asyncio.sleep(0.001)
    return done


async def _ack_p99_ms(
    ingress: Database, recorder: Recorder, tenant: TenantID, seconds: float
) -> float:
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))

    async def load() -> None:
        while not stop.is_set():
            async with ingress.shared() as conn:
                await append(conn, entries(tenant, 0, RECORDS_PER_COMMIT))
            await asyncio.sleep(0.025)  # 2,000 records a second

    async def one() -> None:
        async with ingress.shared() as conn:
            await append(conn, entries(tenant, 0, 1))

    loading = asyncio.create_task(load())
    p99 = await _p99_ms(one, seconds)
    stop.set()
    await loading
    await running
    return p99


async def _p99_ms(act: Callable[[], Awaitable[None]], seconds: float) -> float:
    took = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        await act()
        took.append(time.perf_counter() - began)
    return percentile(took, 99) * 1000
