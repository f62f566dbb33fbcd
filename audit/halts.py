"""Logs that are stopped, and their trading with them, until two people of the platform let them go on.

While a halt of a log is open the recorder writes nothing more to that log, and no order of its tenant that
may open a position is sent (fanout/switch.py: `audit_halted`); of the anchor log, no order of anybody's.
What reduces or cancels goes on, and its records wait in the inbox. A halt is a row that nothing changes;
the row in `audit_lifts` that ends it comes of a proposal (gateway/admin/audit_halts.py).
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from audit.inbox import Entry, append
from audit.logs import Log
from audit.ports import LogHalted
from audit.record import Kind
from tenancy.database import Connection
from tenancy.ids import new_id
from tenancy.scope import Actor
from tenancy.values import TenantID

Source = Literal["witness", "checker", "person"]
LONGEST_WHY = 2000


class Refused(LogHalted):
    """Somebody who should know has seen another history of this log: its trading stops too.

    `evidence`: what they showed for it, text.
    """

    code = "audit_log_refused"

    def __init__(self, why: str, evidence: str | None = None) -> None:
        super().__init__(why)
        self.evidence = evidence


class Halt(msgspec.Struct, frozen=True):
    """One that is open."""

    halt_id: UUID
    log_id: UUID
    source: Source
    why: str


async def read_open(conn: Connection) -> dict[UUID, Halt]:
    """By log, under the recorder's role: every halt that nobody has lifted."""
    cursor = await conn.execute(
        "SELECT h.halt_id, h.log_id, h.source, h.why FROM audit_halts h"
        " WHERE NOT EXISTS (SELECT FROM audit_lifts f WHERE f.halt_id = h.halt_id)"
        " ORDER BY h.halted_at"
    )
    halts = [Halt(*row) for row in await cursor.fetchall()]
    return {halt.log_id: halt for halt in halts}


async def halt(
    conn: Connection,
    log: Log,
    source: Source,
    why: str,
    *,
    evidence: str | None,
    now_ns: int,
) -> UUID:
    """Halt the log, in the caller's transaction, with a record in its tenant's log; the halt's id.

    A log that is halted already stays so under its first halt.
    """
    there = (await read_open(conn)).get(log.log_id)
    if there is not None:
        return there.halt_id
    halt_id = new_id()
    await conn.execute(
        "INSERT INTO audit_halts (halt_id, log_id, tenant_id, source, why, evidence)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (halt_id, log.log_id, log.tenant_id, source, why[:LONGEST_WHY], evidence),
    )
    facts = {
        "event": "log_halted", "halt": str(halt_id), "origin": log.origin, "source": source,
        "why": why, "evidence": evidence,
    }  # fmt: skip
    entry = Entry(
        kind=Kind.CHECKPOINT_REFUSED, ts_ns=now_ns, payload=facts,
        actor=Actor("sys", "recorder"), cls="admin",
    )  # fmt: skip
    await append(conn, [(TenantID(log.tenant_id), entry)])
    return halt_id
