"""SQL of a signal that was decided upon: its plan with all that goes with it, or that it was not understood.

The caller opens the transaction, has its turn on the strategy, and holds the leases. Each function writes
its audit records in the same transaction.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime

import msgspec

from audit.inbox import append
from fanout import approvals, evidence, outcome_rows
from fanout.plan import Plan
from fanout.signal import InvalidSignal
from tenancy.database import Connection
from tenancy.scope import TenantScope
from tenancy.values import SignalID, StrategyID

_KEEP = """
INSERT INTO plans (signal_id, tenant_id, strategy_id, version, seed, rotation, plan, planned_at)
SELECT signal_id, tenant_id, strategy_id, version, seed, rotation, plan::json, planned_at
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::bigint[], %b::bigint[], %b::bigint[], %b::text[],
            %b::timestamptz[])
     AS p (signal_id, tenant_id, strategy_id, version, seed, rotation, plan, planned_at)"""
_PLANNED = (
    "UPDATE signals SET state = 'planned' WHERE signal_id = ANY(%b::uuid[]) AND state = 'accepted'"
)
_REFUSE = "UPDATE signals SET state = 'refused' WHERE signal_id = %s AND state = 'accepted'"
_PARTS = """
INSERT INTO plan_parts (signal_id, part, tenant_id, strategy_id, planned_at)
SELECT %s, unnest(%s::smallint[]), %s, %s, %s"""


async def keep(conn: Connection, scope: TenantScope, plans: Sequence[tuple[Plan, str]]) -> None:
    """Each plan (with its trace), its signal's new state, questions to people, outcome's row and records.

    For a pipeline of the caller's: an error in one of the statements ends the transaction.
    """
    encoded = [msgspec.json.encode(plan) for plan, _ in plans]
    rows = [
        (
            plan.signal_id, plan.tenant_id, plan.strategy_id, plan.version, plan.seed,
            plan.rotation, text.decode(), plan.planned_at,
        )
        for (plan, _), text in zip(plans, encoded, strict=True)
    ]  # fmt: skip
    await conn.execute(_KEEP, [list(column) for column in zip(*rows, strict=True)])
    await conn.execute(_PLANNED, ([plan.signal_id for plan, _ in plans],))
    records = [
        record
        for (plan, traceparent), text in zip(plans, encoded, strict=True)
        for record in (
            evidence.planned(plan, text, traceparent),
            *evidence.passed(plan, traceparent),
            *evidence.blocked(plan, traceparent),
        )
    ]
    await append(conn, [(scope.tenant_id, record) for record in records])
    for plan, traceparent in plans:
        await approvals.ask(conn, scope, plan, traceparent)
    await outcome_rows.begin(conn, [plan for plan, _ in plans])


async def list_parts(conn: Connection, plan: Plan, done: Container[int]) -> None:
    """The partitions in which intents are left to be written, for whoever owns them; but for `done`."""
    left = [part for part in plan.parts if part not in done]
    if left:
        values = (plan.signal_id, left, plan.tenant_id, plan.strategy_id, plan.planned_at)
        await conn.execute(_PARTS, values)


async def refuse(
    conn: Connection, scope: TenantScope, signal: SignalID, strategy: StrategyID,
    error: InvalidSignal, traceparent: str, at: datetime,
) -> None:  # fmt: skip
    """It was not understood: its state, its record, its outcome."""
    await conn.execute(_REFUSE, (signal,))
    await append(conn, [(scope.tenant_id, evidence.refused(signal, error, at, traceparent))])
    await outcome_rows.refuse(conn, scope, signal, strategy, at)
