"""How fast records become durable leaves, and how long an append waits for its commit and its checkpoint.

`audit_records_per_s`: from the first append to the last leaf committed, while several writers, in a
process of their own as in the product, append in batches as the order path does and one recorder
sequences, integrates and publishes.
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
from pathlib import Path

import msgspec
import psycopg

from audit.ports import NoteSigner
from audit.recorder import Recorder
from ops.bench.audit_writers import Done, Task, Working, at_work
from ops.bench.measure import Measurement, Series, percentile
from ops.bench.pgbench import commits
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.values import TenantID

WRITERS = 4
PER_COMMIT = 50
STEADY_PER_S = 2_000


async def run(
    *,
    ingress: str,
    recording: Database,
    tenant: TenantID,
    signer: NoteSigner,
    store_dir: Path,
    floor_conninfo: str,
    seconds: float = 5.0,
    runs: int = 3,
) -> list[Measurement]:
    """Measure on a database of its own: `tenant` must have an audit log that `signer` signs for, and an
    audit key that opens as it lies there.

    `ingress`: how the writers' process connects. Takes about 3·`seconds`·`runs`.
    """
    recorder = Recorder(recording, signer, store_dir, SystemClock())
    series = Series(
        {"audit_records_per_s": "1/s", "audit_ack_p99_ms": "ms", "audit_integrated_p99_ms": "ms"}
    )
    floor_s = min(5.0, max(1.0, seconds / 2))
    fast = Task(
        conninfo=ingress, tenant=tenant, seconds=seconds, writers=WRITERS, per_commit=PER_COMMIT
    )
    steady = msgspec.structs.replace(
        fast, seconds=min(seconds, 20.0), writers=1, pause_s=PER_COMMIT / STEADY_PER_S, single=True
    )
    for _ in range(runs):
        rate = await asyncio.to_thread(copied_per_s, floor_conninfo, floor_s)
        p99 = (await commits(floor_conninfo, clients=1, seconds=round(floor_s))).p99_ms
        flushed = await asyncio.to_thread(flushed_p99_ms, store_dir, floor_s / 2)
        series.floor(
            audit_records_per_s=rate, audit_ack_p99_ms=p99, audit_integrated_p99_ms=flushed
        )
        done, seen = await _recorded(recorder, fast)
        last = next(at for at, leaves, _ in seen if leaves >= done.appended)
        series.value(audit_records_per_s=done.appended / (last - done.began))
        done, seen = await _recorded(recorder, steady)
        series.value(
            audit_ack_p99_ms=percentile(done.single_s, 99) * 1000,
            audit_integrated_p99_ms=percentile(_until_published(done, seen), 99) * 1000,
        )
    return series.measurements()


Seen = list[tuple[float, int, int]]
"""When, how many records of this run were leaves, and how many were under a published checkpoint."""


async def _recorded(recorder: Recorder, task: Task) -> tuple[Done, Seen]:
    """What the writers did, and the recorder beside them until all of it was published."""
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    leaves_before = recorder.stats().records_total
    published_before = sum(recorder.stats().checkpoint_sizes.values())
    seen: Seen = []

    async def look(working: Working) -> None:
        while True:
            stats = recorder.stats()
            leaves = stats.records_total - leaves_before
            published = sum(stats.checkpoint_sizes.values()) - published_before
            if not seen or seen[-1][1:] != (leaves, published):
                seen.append((time.monotonic(), leaves, published))
            working.leaves.value = leaves
            await asyncio.sleep(0.002)

    with at_work(task) as working:
        looking = asyncio.create_task(look(working))
        done = await working.done()
        while seen[-1][2] < done.appended:  # noqa: ASYNC110 - stats are polled
            await asyncio.sleep(0.002)
        looking.cancel()
    stop.set()
    await running
    assert seen[-1][1:] == (done.appended, done.appended)
    return done, seen


def _until_published(done: Done, seen: Seen) -> list[float]:
    """Of each commit, the seconds until a checkpoint covered all that was committed by then."""
    times = []
    later = iter(seen)
    at, _, published = next(later)
    for committed, appended in done.commits:
        while published < appended:
            at, _, published = next(later)
        times.append(max(0.0, at - committed))
    return times


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
