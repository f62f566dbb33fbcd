"""The processes that append records while the recorder's is measured: as in the product, others than it.

The parent starts one with what to do, and shares one number with it: how many records are leaves by
now, so that the inbox stays short. The child answers once, when it is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.sharedctypes import Synchronized

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from ops.audit_keys import ring_of
from ops.bench.unsealed import OpensUnsealed
from tenancy.database import Database
from tenancy.scope import Actor
from tenancy.values import TenantID

ACTOR = Actor(kind="algo", id="bench")
AHEAD = 2048
"""Records that may wait in the inbox: a longer one measures only itself."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a process appends for so many seconds. `pause_s` between two transactions of a writer, None:
    as fast as the recorder takes them. `single`: beside them one record after the other by itself."""

    conninfo: str
    tenant: TenantID
    seconds: float
    writers: int
    per_commit: int
    pause_s: float | None = None
    single: bool = False


class Done(msgspec.Struct):
    """`began`, `commits`: time.monotonic() (one clock for all processes); of each commit when it was heard
    and how many records were in by then. `single_s`: how long each single one took."""

    began: float = 0.0
    appended: int = 0
    commits: list[tuple[float, int]] = []
    single_s: list[float] = []


class Working(msgspec.Struct, frozen=True):
    """A process at work. `leaves`: the parent says here how many records were sequenced."""

    leaves: Synchronized[int]
    answer: Pipe

    async def done(self) -> Done:
        """What it did. Raises EOFError where it failed; it has said why on stderr."""
        return msgspec.msgpack.decode(await asyncio.to_thread(self.answer.recv_bytes), type=Done)


@contextmanager
def at_work(task: Task) -> Iterator[Working]:
    """A process that works on the task; it is ended with the block."""
    spawn = get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    leaves = spawn.Value("q", 0)
    process = spawn.Process(target=_work, args=(msgspec.msgpack.encode(task), leaves, there))
    process.start()
    there.close()
    try:
        yield Working(leaves, here)
    finally:
        process.terminate()
        process.join(10)
        here.close()


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


@asynccontextmanager
async def appending(conninfo: str, writers: int) -> AsyncIterator[Database]:
    """A database that `append()` can be used with, in a process that has the bench's keys."""
    database = Database(conninfo, name="portcullis-bench", size=writers + 1)
    await database.open()
    try:
        async with ring_of(conninfo, "bench", OpensUnsealed(), None):
            yield database
    finally:
        await database.close()


def _work(encoded: bytes, leaves: Synchronized[int], answer: Pipe) -> None:
    task = msgspec.msgpack.decode(encoded, type=Task)
    answer.send_bytes(msgspec.msgpack.encode(asyncio.run(_append(task, leaves))))


async def _append(task: Task, leaves: Synchronized[int]) -> Done:
    done = Done()
    async with appending(task.conninfo, task.writers) as database:
        done.began = time.monotonic()
        until = done.began + task.seconds

        async def put(count: int) -> None:
            async with database.shared() as conn:
                await append(conn, entries(task.tenant, done.appended, count))
            done.appended += count
            done.commits.append((time.monotonic(), done.appended))

        async def writer() -> None:
            while time.monotonic() < until:
                await put(task.per_commit)
                await asyncio.sleep(task.pause_s or 0)
                while task.pause_s is None and done.appended - leaves.value > AHEAD:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

        async def single() -> None:
            while task.single and (began := time.monotonic()) < until:
                await put(1)
                done.single_s.append(time.monotonic() - began)

        await asyncio.gather(single(), *(writer() for _ in range(task.writers)))
    return done
