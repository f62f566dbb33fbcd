"""Outcomes in PostgreSQL: begun with the plan, finished once, read at any time.

- `begin`    a row, in the plan's own transaction: the signal has an outcome from then on.
- `refuse`   row and outcome at once, of a signal that no plan was made for.
- `finish`   of signals that have ended: the outcome as it stands, and `signal.outcome` in the audit
             log, in one transaction; the row is finished only where it was not, so it is told once.
             *Crash before: the sweep finds it. After: it stands, and what is told of it is the log's.*
- `read`     an outcome as it stands now, from the orders themselves. `read_each`: of several signals.

The counting is PostgreSQL's, one statement for any number of signals: ten thousand orders come back
as some numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from audit.inbox import append
from fanout import evidence
from fanout.outcome import OPEN, Latency, Outcome, Spread, Total, ms, signal_state, states_of
from fanout.plan import Plan
from fanout.slippage import slippage_sql
from tenancy.database import Connection
from tenancy.scope import TenantScope
from tenancy.values import SignalID, StrategyID, partition

TOTALS_MOST = 40
"""Symbols in one outcome: a signal has one at each broker, a close of everything may have many."""

_BEGIN = """
INSERT INTO signal_outcomes (signal_id, tenant_id, strategy_id, part, reasons)
SELECT signal_id, tenant_id, strategy_id, part, reasons::jsonb
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::smallint[], %b::text[])
     AS o (signal_id, tenant_id, strategy_id, part, reasons)"""
_REFUSE = """
INSERT INTO signal_outcomes (signal_id, tenant_id, strategy_id, part, reasons, done_at, summary)
VALUES (%s, %s, %s, %s, '{}', %s, %s::json)"""
_FINISH = """
UPDATE signal_outcomes o SET done_at = n.done_at, summary = n.summary::json
FROM unnest(%b::uuid[], %b::timestamptz[], %b::text[]) AS n (signal_id, done_at, summary)
WHERE o.signal_id = n.signal_id AND o.done_at IS NULL RETURNING o.signal_id"""

_TOLD = """
SELECT signal_id, summary::text FROM signal_outcomes WHERE signal_id = ANY(%b) AND done_at IS NOT NULL"""


def _worse(reference: Any, name: str) -> str:
    """The slippage of a leg's fills times their quantity, and the quantity that it is of."""
    bps = slippage_sql(reference)
    return (
        f"sum(o.cum_qty * {bps}) AS {name}_worse, sum(o.cum_qty) FILTER (WHERE {bps} IS NOT NULL)"
        f" AS {name}_of"
    )


def _spread(column: str) -> str:
    """Number, mean, median, 95th percentile and most of some milliseconds, as JSON; NULL of none."""
    return (
        f"CASE WHEN count({column}) > 0 THEN json_build_array(count({column}), round(avg({column}), 3),"
        f" round(percentile_disc(0.5) WITHIN GROUP (ORDER BY {column}), 3),"
        f" round(percentile_disc(0.95) WITHIN GROUP (ORDER BY {column}), 3), round(max({column}), 3)) END"
    )


def _took(until: str, since: str) -> str:
    return f"extract(epoch FROM {until} - {since}) * 1000"


_OPEN = ", ".join(f"'{state}'" for state in sorted(OPEN))
_READ = f"""
WITH legs AS (
    SELECT o.signal_id, o.account_id, o.leg, o.broker, o.symbol, o.side,
           max(o.order_qty) AS order_qty, sum(o.cum_qty) AS cum_qty, bool_or(o.state IN ({_OPEN})) AS open,
           sum(o.cum_qty * o.avg_px) AS paid, sum(o.cum_qty) FILTER (WHERE o.avg_px IS NOT NULL) AS paid_of,
           {_worse("signal_px", "signal")}, {_worse("arrival_px", "arrival")},
           min(o.sent_at) AS sent_at, min(o.acked_at) AS acked_at, max(o.done_at) AS done_at
    FROM orders o WHERE o.signal_id = ANY(%(ids)b) AND o.role = 'main'
      AND NOT starts_with(o.broker, 'shadow-') GROUP BY 1, 2, 3, 4, 5, 6
), accounts AS (
    SELECT signal_id, account_id,
           CASE WHEN bool_or(open) THEN 'working' WHEN bool_and(cum_qty >= order_qty) THEN 'filled'
                WHEN sum(cum_qty) > 0 THEN 'partly_filled' ELSE 'failed' END AS state,
           min(sent_at) AS sent_at, min(acked_at) AS acked_at, max(done_at) AS done_at
    FROM legs GROUP BY 1, 2
), states AS (
    SELECT signal_id, json_object_agg(state, n) AS states
    FROM (SELECT signal_id, state, count(*) AS n FROM accounts GROUP BY 1, 2) AS counted GROUP BY 1
), times AS (
    SELECT signal_id, min(send_ms) AS first_ms, {_spread("send_ms")} AS send, {_spread("ack_ms")} AS ack,
           {_spread("fill_ms")} AS fill, max(done_at) AS done_at
    FROM (SELECT a.signal_id, a.done_at, {_took("a.sent_at", "coalesce(q.decided_at, p.planned_at)")} AS send_ms,
                 {_took("a.acked_at", "a.sent_at")} AS ack_ms,
                 CASE a.state WHEN 'filled' THEN {_took("a.done_at", "a.acked_at")} END AS fill_ms
          FROM accounts a JOIN plans p USING (signal_id)
          LEFT JOIN signal_approvals q ON q.signal_id = a.signal_id AND q.account_id = a.account_id) AS took
    GROUP BY 1
), totals AS (
    SELECT signal_id, count(*) AS n,
           json_agg(json_build_array(broker, symbol, side, accounts, order_qty, cum_qty, avg_px, signal_bps,
               arrival_bps) ORDER BY broker, symbol, side) FILTER (WHERE place <= {TOTALS_MOST}) AS totals
    FROM (SELECT signal_id, broker, symbol, side, count(DISTINCT account_id) AS accounts,
                 trim_scale(sum(order_qty))::text AS order_qty, trim_scale(sum(cum_qty))::text AS cum_qty,
                 trim_scale(round(sum(paid) / nullif(sum(paid_of), 0), 18))::text AS avg_px,
                 round(sum(signal_worse) / nullif(sum(signal_of), 0), 4)::text AS signal_bps,
                 round(sum(arrival_worse) / nullif(sum(arrival_of), 0), 4)::text AS arrival_bps,
                 row_number() OVER (PARTITION BY signal_id ORDER BY broker, symbol, side) AS place
          FROM legs GROUP BY signal_id, broker, symbol, side) AS summed GROUP BY 1
), answers AS (
    SELECT signal_id, count(*) FILTER (WHERE carried_at IS NOT NULL) AS carried,
           count(*) FILTER (WHERE state IN ('rejected', 'expired', 'void')) AS declined,
           count(*) FILTER (WHERE state = 'pending' OR state = 'approved' AND carried_at IS NULL) AS asked,
           max(decided_at) AS decided_at
    FROM signal_approvals WHERE signal_id = ANY(%(ids)b) GROUP BY 1
)
SELECT s.signal_id, s.strategy_id, s.state AS kept, s.traceparent, s.received_at,
       coalesce(s.not_before, s.received_at) AS due_at, p.planned_at, o.reasons, o.done_at AS told_at,
       states.states, times.first_ms, times.send, times.ack, times.fill,
       totals.totals, coalesce(totals.n, 0) AS symbols,
       coalesce(answers.carried, 0) AS carried, coalesce(answers.declined, 0) AS declined,
       coalesce(answers.asked, 0) AS asked,
       greatest(p.planned_at, times.done_at, answers.decided_at) AS last_at
FROM signals s LEFT JOIN plans p USING (signal_id) LEFT JOIN signal_outcomes o USING (signal_id)
     LEFT JOIN states USING (signal_id) LEFT JOIN times USING (signal_id) LEFT JOIN totals USING (signal_id)
     LEFT JOIN answers USING (signal_id)
WHERE s.signal_id = ANY(%(ids)b)"""  # noqa: S608 - constants only


async def begin(conn: Connection, plans: Sequence[Plan]) -> None:
    """The outcomes' rows, in the transaction that keeps the plans."""
    reasons = [{reason.value: count for reason, count in plan.reasons.items()} for plan in plans]
    await conn.execute(
        _BEGIN,
        (
            [plan.signal_id for plan in plans],
            [plan.tenant_id for plan in plans],
            [plan.strategy_id for plan in plans],
            [partition(plan.strategy_id) for plan in plans],
            [msgspec.json.encode(each).decode() for each in reasons],
        ),
    )


async def refuse(
    conn: Connection, scope: TenantScope, signal: SignalID, strategy: StrategyID, at: datetime
) -> None:
    """The outcome of a signal that was not understood, in the transaction that says so."""
    found = await _read(conn, [signal])
    outcome = msgspec.structs.replace(_outcome(found[0], None), state="refused", done_at=at)
    summary = msgspec.json.encode(outcome).decode()
    values = (signal, scope.tenant_id, strategy, partition(strategy), at, summary)
    await conn.execute(_REFUSE, values)
    await _record(conn, scope, [(outcome, found[0]["traceparent"], at)])


class Finished(NamedTuple):
    """An outcome that was finished just now. `first_ms`: the first of its accounts' `send_ms`;
    `traceparent`: as the signal's row keeps it."""

    outcome: Outcome
    first_ms: float | None
    traceparent: str


async def finish(
    conn: Connection, scope: TenantScope, signals: Sequence[UUID], at: datetime
) -> list[Finished]:
    """Finish the outcomes of these signals of the tenant, which have ended; those that were not before."""
    rows = {row["signal_id"]: row for row in await _read(conn, signals)}
    outcomes = {
        signal: msgspec.structs.replace(_outcome(row, None), state="done", done_at=row["last_at"])
        for signal, row in rows.items()
    }
    ids = sorted(outcomes)  # one order for everybody: two finishers cannot wait for each other
    written = await (
        await conn.execute(
            _FINISH,
            (
                ids,
                [outcomes[signal].done_at for signal in ids],
                [msgspec.json.encode(outcomes[signal]).decode() for signal in ids],
            ),
        )
    ).fetchall()
    finished = [_finished(rows[row[0]], outcomes[row[0]]) for row in written]
    await _record(conn, scope, [(one.outcome, one.traceparent, at) for one in finished])
    return finished


def _finished(row: Mapping[str, Any], outcome: Outcome) -> Finished:
    first: Decimal | None = row["first_ms"]
    return Finished(outcome, None if first is None else float(first), row["traceparent"])


async def read(
    conn: Connection, signal: UUID, reasons: Mapping[str, int] | None = None
) -> Outcome | None:
    """The outcome as it stands now; None where the tenant has no such signal.

    `reasons`: of the plan, for a signal that was planned before outcomes were kept.
    """
    rows = await _read(conn, [signal])
    return _outcome(rows[0], reasons) if rows else None


async def read_each(conn: Connection, signals: Sequence[UUID]) -> dict[UUID, Outcome]:
    """Of each of the tenant's signals: as it was told where it has ended, else as it stands now."""
    told = await (await conn.execute(_TOLD, (list(signals),))).fetchall()
    outcomes = {signal: msgspec.json.decode(text, type=Outcome) for signal, text in told}
    rows = await _read(conn, [signal for signal in signals if signal not in outcomes])
    return outcomes | {row["signal_id"]: _outcome(row, None) for row in rows}


async def _read(conn: Connection, signals: Sequence[UUID]) -> list[dict[str, Any]]:
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_READ, {"ids": list(signals)})
    return await cursor.fetchall()


async def _record(
    conn: Connection, scope: TenantScope, told: Sequence[tuple[Outcome, str, datetime]]
) -> None:
    await append(conn, [(scope.tenant_id, evidence.outcome(*each)) for each in told])


def _outcome(row: Mapping[str, Any], reasons: Mapping[str, int] | None) -> Outcome:
    """What a row of _READ says. Pure."""
    kept = row["reasons"] if row["reasons"] is not None else (reasons or {})
    with_orders = row["states"] or {}
    states = states_of(kept, with_orders, declined=row["declined"], carried=row["carried"])
    told = row["told_at"]
    ended = row["reasons"] is None and not {"working", "asked", "planned"} & states.keys()
    state = signal_state(
        row["kept"], done=told is not None or ended, with_orders=sum(with_orders.values())
    )
    return Outcome(
        signal_id=str(row["signal_id"]),
        strategy_id=str(row["strategy_id"]),
        state=state,
        received_at=row["received_at"],
        planned_at=row["planned_at"],
        done_at=told if told is not None or state != "done" else row["last_at"],
        accounts=sum(kept.values()),
        states=states,
        reasons=dict(sorted(kept.items())),
        totals=[_total(each) for each in row["totals"] or ()],
        more_totals=max(0, row["symbols"] - TOTALS_MOST),
        latency=Latency(
            plan_ms=ms(row["planned_at"] - row["due_at"]) if row["planned_at"] else None,
            send_ms=_spread_of(row["send"]),
            ack_ms=_spread_of(row["ack"]),
            fill_ms=_spread_of(row["fill"]),
        ),
    )


def _total(values: Sequence[Any]) -> Total:
    return Total(**dict(zip(Total.__struct_fields__, values, strict=True)))


def _spread_of(values: Sequence[Any] | None) -> Spread | None:
    return (
        None
        if values is None
        else Spread(**dict(zip(Spread.__struct_fields__, values, strict=True)))
    )
