"""What was spilled while PostgreSQL was away goes into the log and the book: each line once, in its order.

One transaction a line, in its tenant:

1. A row of `audit_spills` (the file's id and the line's number). There already: the line is done.
2. *Cancel:* the wish on the order's row, so that it is repeated until the order is final, and
   `order.cancel`, marked `spilled`, with the time at which it was durable here. Where the order has ended
   meanwhile, its story is closed once more.
3. *Reduce:* the held attempt ends (if it is still held), and the attempt that was let go past it is a
   row `in_doubt`, with `order.intent`, marked `spilled`. Nobody remembers what its broker answered: who
   owns the partition asks, as after every crash, and from there on it is an order like any other.

A crash between two lines leaves the rest in the file. An unknown commit is no harm: the file is read
again, and step 1 says what was done. These are facts about what this host did: they need no lease, and
so the spill of a worker whose leases another one has is drained all the same.

Files of dead workers are taken over at a worker's start, before it holds any lease, and by every worker
each time that it looks (`left`). One that does not read as it was written is left where it is, with an
error and a metric: a person must look at it, and nothing of it is guessed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec
import structlog

from audit.inbox import Entry, append
from audit.malformed import Malformed
from audit.spill import SUFFIX, Line, left_behind, read
from fanout import book, evidence, metrics
from fanout.order import FINAL, Order, OrdState
from fanout.order_rows import SELECT, order_of_row
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import UNREADABLE
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

SPILLER = Actor(kind="algo", id="spill")
LET_GO = "let go as {} while the database was away"

_ONCE = """
INSERT INTO audit_spills (spill_id, line, tenant_id, drained_at) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING RETURNING line"""
_LOCK = f"{SELECT} WHERE cl_ord_id = %s FOR UPDATE"
_WISH = """
UPDATE orders SET cancel_requested_at = coalesce(cancel_requested_at, %s),
       intervention_id = coalesce(intervention_id, %s) WHERE cl_ord_id = %s"""
_END_HELD = """
UPDATE orders SET state = 'canceled', text = %s, done_at = %s WHERE cl_ord_id = %s AND state = 'held'"""


class SpilledAct(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a spill. `order`: the one that is cancelled, or the attempt that is sent.

    `held`: of a stop, the name of the held attempt that it goes out for.
    """

    kind: Literal["cancel", "reduce"]
    tenant_id: TenantID
    worker: str
    part: int
    epoch: int
    at: datetime
    why: str
    order: Order
    held: str | None = None
    intervention_id: UUID | None = None


class Drain:
    """Brings spills into PostgreSQL."""

    def __init__(self, database: Database, clock: Clock, directory: Path, key: bytes) -> None:
        self._database = database
        self._clock = clock
        self._directory = directory
        self._key = key

    def __repr__(self) -> str:
        return f"Drain({self._directory})"

    async def file(self, data: bytes) -> dict[TenantScope, set[str]]:
        """Every line of these bytes; the held orders that they ended, for the stop engine.

        Raises Malformed, Unavailable, OutcomeUnknown.
        """
        touched: dict[TenantScope, set[str]] = defaultdict(set)
        for line in read(data, self._key):
            act = msgspec.json.decode(line.payload, type=SpilledAct)
            scope = TenantScope(tenant_id=act.tenant_id, actor=SPILLER)
            await self._line(scope, line, act)
            if act.held is not None:
                touched[scope].add(act.held)
        return touched

    async def left(self) -> None:
        """Drain and remove what dead workers of this host have left. Raises Unavailable, OutcomeUnknown."""
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            with left_behind(path) as data:
                if data is None:
                    continue
                try:
                    await self.file(data)
                except (Malformed, *UNREADABLE) as error:
                    metrics.SPILL_FAILURES.inc()
                    log.error("spill_unreadable", path=str(path), why=str(error))
                    continue
                await asyncio.to_thread(path.unlink)
                log.warning("spill_drained", spill=path.stem)

    async def _line(self, scope: TenantScope, line: Line, act: SpilledAct) -> None:
        values = (line.spill_id, line.number, scope.tenant_id, self._clock.now())
        async with self._database.tenant(scope) as conn:
            if await (await conn.execute(_ONCE, values)).fetchone() is None:
                return
            if act.kind == "cancel":
                entries = await self._cancel(conn, act)
            else:
                entries = await self._reduce(conn, scope, act)
            said = [(scope.tenant_id, spilled(entry, line, act)) for entry in entries]
            await append(conn, said)

    async def _cancel(self, conn: Connection, act: SpilledAct) -> list[Entry]:
        row = await _locked(conn, act.order.cl_ord_id)
        entries = [evidence.cancel_wanted(act.order, act.at, text=act.why)]
        if row is None or row.state in FINAL:
            return entries if row is None else [*entries, evidence.closed(row, act.at)]
        await conn.execute(_WISH, (act.at, act.intervention_id, row.cl_ord_id))
        return entries

    async def _reduce(self, conn: Connection, scope: TenantScope, act: SpilledAct) -> list[Entry]:
        assert act.held is not None
        held = await _locked(conn, act.held)
        if held is not None and held.state is OrdState.HELD:
            text = LET_GO.format(act.order.cl_ord_id)
            await conn.execute(_END_HELD, (text, act.at, act.held))
        await book.intend(conn, scope, [act.order])
        return [evidence.intent(act.order, act.at)]


async def _locked(conn: Connection, name: str) -> Order | None:
    row = await (await conn.execute(_LOCK.encode(), (name,))).fetchone()
    return None if row is None else order_of_row(row)


def spilled(entry: Entry, line: Line, act: SpilledAct) -> Entry:
    """The record of a line, which says that it is one, and under which lease it was acted on. Pure."""
    about: dict[str, Any] = {
        "spill": str(line.spill_id), "line": line.number, "worker": act.worker, "part": act.part,
        "epoch": act.epoch,
    }  # fmt: skip
    if act.intervention_id is not None:
        about["intervention"] = str(act.intervention_id)
    return msgspec.structs.replace(entry, payload=entry.payload | {"spilled": about})
