"""How fast records become durable leaves, and how long an append waits for its commit and its checkpoint.

`audit_records_per_s`: from the first append to the last leaf committed, while several writers
append in batches as the order path does and one recorder sequences, integrates and publishes.
Floor: COPY of rows of the same size into a plain table of the same PostgreSQL, a transaction for
each 1,024, one connection.
`audit_ack_p99_ms`: one record appended and committed, under a steady load of such batches. Floor:
pgbench, single-row INSERT commits by one connection, its p99.
`audit_integrated_p99_ms`: from that load's commits to the checkpoint over them being published.
Floor: three small files written and flushed one after the other (bundle, tile, checkpoint), p99.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg

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
    series = Series(
        {"audit_records_per_s": "1/s", "audit_ack_p99_ms": "ms", "audit_integrated_p99_ms": "ms"}
    )
    floor_s = min(5.0, max(1.0, seconds / 2))
    for _ in range(runs):
        rate = await asyncio.to_thread(copied_per_s, floor_conninfo, floor_s)
        p99 = (await commits(floor_conninfo, clients=1, seconds=round(floor_s))).p99_ms
        flushed = await asyncio.to_thread(flushed_p99_ms, store_dir, floor_s / 2)
        series.floor(
            audit_records_per_s=rate, audit_ack_p99_ms=p99, audit_integrated_p99_ms=flushed
        )
        series.value(audit_records_per_s=await _records_per_s(ingress, recorder, tenant, seconds))
        ack, integrated = await _under_load(ingress, recorder, tenant, min(seconds, 20.0))
        series.value(audit_ack_p99_ms=ack, audit_integrated_p99_ms=integrated)
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


async def _under_load(
    ingress: Database, recorder: Recorder, tenant: TenantID, seconds: float
) -> tuple[float, float]:
    """Beside 2,000 records a second: p99 ms of one commit, and of a commit to its checkpoint."""
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    before = recorder.stats().records_total
    published = sum(recorder.stats().checkpoint_sizes.values())
    waiting: deque[tuple[int, float]] = deque()
    appended = 0
    took: list[float] = []

    async def put(count: int) -> None:
        nonlocal appended
        async with ingress.shared() as conn:
            await append(conn, entries(tenant, 0, count))
        appended += count  # what was committed by now is published when so many records are
        waiting.append((appended, time.perf_counter()))

    async def load() -> None:
        while not stop.is_set():
            await put(RECORDS_PER_COMMIT)
            await asyncio.sleep(0.025)

    async def watch() -> None:
        while not stop.is_set() or waiting:
            size = sum(recorder.stats().checkpoint_sizes.values()) - published
            while waiting and waiting[0][0] <= size:
                took.append(time.perf_counter() - waiting.popleft()[1])
            await asyncio.sleep(0.002)

    loading, watching = asyncio.create_task(load()), asyncio.create_task(watch())
    p99 = await _p99_ms(lambda: put(1), seconds)
    stop.set()
    await loading
    await watching
    await running
    assert recorder.stats().records_total - before == appended
    return p99, percentile(took, 99) * 1000


async def _p99_ms(act: Callable[[], Awaitable[None]], seconds: float) -> float:
    took = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        await act()
        took.append(time.perf_counter() - began)
    return percentile(took, 99) * 1000


def copied_per_s(conninfo: str, seconds: float) -> float:
    """Rows a second by COPY: each a leaf's and a payload's bytes, 1,024 to a transaction."""
    row = (b"l" * 480, b"h" * 32, b"p" * 420)
    done, began = 0, time.perf_counter()
    with psycopg.connect(conninfo) as conn:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS bench_copied (leaf bytea, hash bytea, payload bytea)"
        )
        conn.commit()
        while (took := time.perf_counter() - began) < seconds:
            with conn.cursor().copy("COPY bench_copied FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["bytea", "bytea", "bytea"])
                for _ in range(1024):
                    copy.write_row(row)
            conn.commit()
            done += 1024
    return done / took


def flushed_p99_ms(directory: Path, seconds: float) -> float:
    """Three files of 8 KiB in a row, each flushed to the disk: the 99th percentile."""
    directory.mkdir(parents=True, exist_ok=True)
    path, data, took = directory / "bench-flush", bytes(8192), []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        for _ in range(3):
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        took.append(time.perf_counter() - began)
    path.unlink()
    return percentile(took, 99) * 1000
