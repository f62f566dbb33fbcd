"""From inbox to leaves: index, order chain and recording time, in one transaction per batch.

1. Look at the oldest records of the inbox, in order of arrival.
2. Decide, purely, each one's leaf (`place()`).
3. Insert leaves, move payloads, set the orders' heads, and empty the inbox of exactly these.
4. Commit. *Crash before: the inbox is as it was. After: the leaves stand and integration finds them.*

Only the session that holds the recorder's advisory lock runs this, so nobody takes the same record
between steps 1 and 3; the count of moved payloads is checked all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
import orjson

from audit import canonical
from audit.logs import Log, Tail, read_tail
from audit.merkle import leaf_hash
from audit.ports import LogHalted
from audit.recent import Recent
from audit.record import spell
from tenancy.clock import Clock
from tenancy.clock_quality import Quality, unmeasured
from tenancy.database import Connection, commit
from tenancy.errors import Unavailable
from tenancy.values import TenantID

BATCH = 1024

_LOOK = """
SELECT seq, tenant_id, kind, ts, oid, acct, act, cor, cls, pc FROM audit_inbox
WHERE tenant_id = ANY(%b) ORDER BY seq LIMIT %b"""

_HEADS = """
SELECT h.log_id, h.oid, h.n, h.leaf_hash FROM audit_order_heads h
JOIN unnest(%b::uuid[], %b::text[]) AS w (log_id, oid) ON h.log_id = w.log_id AND h.oid = w.oid"""

_LEAVES = """
INSERT INTO audit_leaves (log_id, i, tenant_id, oid, leaf, leaf_hash)
SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::uuid[], %b::text[], %b::bytea[], %b::bytea[])"""

_MOVE = """
WITH taken AS (
    DELETE FROM audit_inbox b USING unnest(%b::bigint[], %b::uuid[], %b::bigint[]) AS p (seq, log_id, i)
    WHERE b.seq = p.seq RETURNING p.log_id, p.i, b.tenant_id, b.payload, b.subject, b.cls)
INSERT INTO audit_payloads (log_id, i, tenant_id, payload, subject, cls, recorded_at, keep_until)
SELECT t.*, now(), now() + make_interval(years => coalesce(r.years, audit_years_default()))
FROM taken t LEFT JOIN audit_retention r ON r.tenant_id = t.tenant_id AND r.cls = t.cls"""

_SET_HEADS = """
INSERT INTO audit_order_heads (log_id, oid, tenant_id, n, leaf_hash)
SELECT * FROM unnest(%b::uuid[], %b::text[], %b::uuid[], %b::int[], %b::bytea[])
ON CONFLICT (log_id, oid) DO UPDATE SET n = excluded.n, leaf_hash = excluded.leaf_hash"""


class CannotPlace(LogHalted):
    """A record in the inbox cannot become a leaf; only somebody else than append() wrote it."""

    def __init__(self, log: Log, why: str) -> None:
        super().__init__(f"log {log.log_id}: {why}")
        self.log = log


class Record(msgspec.Struct, frozen=True):
    """A row of the inbox, without its payload."""

    seq: int
    tenant_id: TenantID
    kind: str
    ts_ns: int
    oid: str | None
    acct: str | None
    act: str
    cor: str | None
    cls: str
    pc: bytes


class Head(msgspec.Struct, frozen=True):
    """The last record of an order's story."""

    n: int
    leaf_hash: bytes


class Placed(msgspec.Struct, frozen=True):
    """A record with its place in its log."""

    seq: int
    log: Log
    index: int
    oid: str | None
    leaf: bytes
    leaf_hash: bytes


Order = tuple[UUID, str]


class Batch(msgspec.Struct, frozen=True):
    placed: list[Placed]
    tails: dict[TenantID, Tail]
    heads: dict[Order, Head]


def place(
    records: Sequence[Record],
    logs: Mapping[TenantID, Log],
    tails: Mapping[TenantID, Tail],
    heads: Mapping[Order, Head],
    now_ns: int,
    quality: Quality,
) -> Batch:
    """Every record's leaf, each log's new end, each touched order's new head. Pure.

    `quality` is of `now_ns`, and becomes each leaf's `clk`. What is said there is said of `rt`, by
    the recorder's host; `ts` was read by whoever wrote the record, and on another host its clock is
    in the `clock` records of that host (ops/clock/records.py).
    Recording time never runs backwards within a log: a clock that was set back stands still.
    Raises CannotPlace for a record that cannot be a leaf (append() lets none in).
    """
    placed: list[Placed] = []
    new_tails: dict[TenantID, Tail] = {}
    new_heads: dict[Order, Head] = {}
    clk = canonical.encode(quality.leaf).decode()
    for record in records:
        log = logs[record.tenant_id]
        tail = new_tails.get(record.tenant_id) or tails[record.tenant_id]
        rt_ns = max(now_ns, tail.rt_ns)
        order = None if record.oid is None else (log.log_id, record.oid)
        head = None if order is None else new_heads.get(order) or heads.get(order)
        number = 1 if head is None else head.n + 1
        leaf = _leaf(record, log, tail.size, rt_ns, number, head, clk)
        digest = leaf_hash(leaf)
        placed.append(Placed(record.seq, log, tail.size, record.oid, leaf, digest))
        new_tails[record.tenant_id] = Tail(tail.size + 1, rt_ns)
        if order is not None:
            new_heads[order] = Head(number, digest)
    return Batch(placed, new_tails, new_heads)


def _leaf(
    record: Record,
    log: Log,
    index: int,
    rt_ns: int,
    number: int,
    head: Head | None,
    clk: str,
) -> bytes:
    try:
        return spell(
            log=log.origin,
            index=index,
            ts_ns=record.ts_ns,
            rt_ns=rt_ns,
            clk=clk,
            kind=record.kind,
            act=_spelled(record.act),
            retention=record.cls,
            commitment=record.pc,
            oid=record.oid,
            on=number,
            op=None if head is None else head.leaf_hash,
            acct=record.acct,
            cor=record.cor,
        )
    except ValueError as error:  # Malformed, or act is not JSON
        raise CannotPlace(log, f"inbox record {record.seq} cannot be a leaf: {error}") from error


@lru_cache(maxsize=4096)
def _spelled(act: str) -> str:
    """An actor in the leaf's spelling: there are few. Raises ValueError."""
    return canonical.encode(orjson.loads(act)).decode()


class Sequencer:
    """The one writer of leaves. `tails` says how long each log is, as far as committed."""

    def __init__(
        self, conn: Connection, clock: Clock, quality: Callable[[], Quality] = unmeasured
    ) -> None:
        """`conn` must hold the recorder's advisory lock, in autocommit mode."""
        self._conn = conn
        self._clock = clock
        self._quality = quality
        self._logs: dict[TenantID, Log] = {}
        self.tails: dict[TenantID, Tail] = {}
        self.recent = Recent()

    async def admit(self, log: Log) -> None:
        """Begin to take this log's records."""
        self.tails[log.tenant_id] = await read_tail(self._conn, log)
        self._logs[log.tenant_id] = log

    def dismiss(self, log: Log) -> None:
        """Leave this log's records in the inbox from now on."""
        self._logs.pop(log.tenant_id, None)

    async def take(self) -> int:
        """Sequence one batch and return its length. 0: the inbox holds nothing that we may take.

        CannotPlace leaves everything as it was. After any other error the connection must be given
        up: what was committed is then read anew.
        """
        if not self._logs:
            return 0
        cursor = await self._conn.execute(_LOOK, (list(self._logs), BATCH), binary=True)
        records = [Record(*row) for row in await cursor.fetchall()]
        if not records:
            return 0
        heads = await self._heads(records)
        now_ns = self._clock.now_ns()
        quality = self._quality()  # after the time: a step in between makes it worse, never better
        batch = place(records, self._logs, self.tails, heads, now_ns, quality)
        await self._conn.execute("BEGIN")
        await self._write(batch)
        await commit(self._conn)
        self.tails.update(batch.tails)
        for p in batch.placed:
            self.recent.add(p.log.log_id, p.index, p.leaf, p.leaf_hash)
        return len(records)

    async def _heads(self, records: Sequence[Record]) -> dict[Order, Head]:
        orders = {(self._logs[r.tenant_id].log_id, r.oid) for r in records if r.oid is not None}
        if not orders:
            return {}
        cursor = await self._conn.execute(_HEADS, _columns(orders), binary=True)
        return {(row[0], row[1]): Head(row[2], row[3]) for row in await cursor.fetchall()}

    async def _write(self, batch: Batch) -> None:
        placed = batch.placed
        await self._conn.execute(
            _LEAVES,
            _columns(
                (p.log.log_id, p.index, p.log.tenant_id, p.oid, p.leaf, p.leaf_hash) for p in placed
            ),
        )
        moved = await self._conn.execute(
            _MOVE, _columns((p.seq, p.log.log_id, p.index) for p in placed)
        )
        if moved.rowcount != len(placed):
            raise Unavailable(
                f"{len(placed)} records were looked at, {moved.rowcount} could be taken: "
                "somebody else empties the inbox"
            )
        if batch.heads:
            tenants = {p.log.log_id: p.log.tenant_id for p in placed}
            rows = ((o[0], o[1], tenants[o[0]], h.n, h.leaf_hash) for o, h in batch.heads.items())
            await self._conn.execute(_SET_HEADS, _columns(rows))


def _columns(rows: Any) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
