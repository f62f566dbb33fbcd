"""What a batch of lessons changes, as columns of statements: orders, reports, positions, results of the day.

Gathered first and written at once, in an order that lets no two writers wait for each other. The
audit records of the same facts are `entries`, which the caller writes in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from audit.inbox import Entry
from fanout import evidence
from fanout.lesson import Lesson
from fanout.lifecycle import Progress
from fanout.order import FINAL, Order
from fanout.trading_day import day_of
from tenancy.database import Connection
from tenancy.windows import TradingDay

_UPDATE = """
UPDATE orders o SET state = n.state, cum_qty = n.cum_qty, avg_px = n.avg_px,
       broker_order_id = coalesce(n.broker_order_id, o.broker_order_id),
       text = coalesce(nullif(n.text, ''), o.text),
       sent_at = coalesce(o.sent_at, n.sent_at), acked_at = coalesce(o.acked_at, n.acked_at),
       done_at = coalesce(o.done_at, n.done_at)
FROM unnest(%b::text[], %b::text[], %b::numeric[], %b::numeric[], %b::text[], %b::text[],
            %b::timestamptz[], %b::timestamptz[], %b::timestamptz[])
     AS n(cl_ord_id, state, cum_qty, avg_px, broker_order_id, text, sent_at, acked_at, done_at)
WHERE o.cl_ord_id = n.cl_ord_id"""
_STOPPED = """
UPDATE orders o SET intervention_id = n.intervention_id
FROM unnest(%b::text[], %b::uuid[]) AS n(cl_ord_id, intervention_id) WHERE o.cl_ord_id = n.cl_ord_id"""
_REPORTS = """
INSERT INTO execution_reports (exec_id, cl_ord_id, tenant_id, account_id, exec_type, ord_status,
                               last_qty, last_px, cum_qty, at, raw)
SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[], %b::uuid[], %b::text[], %b::text[],
                     %b::numeric[], %b::numeric[], %b::numeric[], %b::timestamptz[], %b::text[])
ON CONFLICT (cl_ord_id, exec_id) DO NOTHING"""
# The average moves only where the position grows; through zero it begins again at the new price. It is
# kept to 24 decimal places. Realised is what of a fill closes, in price times lots.
_POSITIONS = """
INSERT INTO positions AS p (account_id, strategy_id, symbol, tenant_id, qty, avg_px, updated_at)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::uuid[], %b::numeric[], %b::numeric[],
                     %b::timestamptz[])
ON CONFLICT (account_id, strategy_id, symbol) DO UPDATE SET
    qty = p.qty + excluded.qty,
    avg_px = CASE
        WHEN p.qty + excluded.qty = 0 THEN NULL
        WHEN p.qty = 0 OR sign(p.qty) = -sign(p.qty + excluded.qty) THEN excluded.avg_px
        WHEN sign(p.qty) = sign(excluded.qty)
            THEN trim_scale((p.qty * p.avg_px + excluded.qty * excluded.avg_px + 0.000000000000000000000000)
                            / (p.qty + excluded.qty))
        ELSE p.avg_px END,
    last_realised = CASE WHEN sign(p.qty) * sign(excluded.qty) >= 0 THEN 0 ELSE
        sign(p.qty) * least(abs(p.qty), abs(excluded.qty)) * (excluded.avg_px - p.avg_px) END,
    updated_at = excluded.updated_at"""
# The positions are locked by what was just written, and a result has the key of its position: two
# writers wait for each other at the positions, never here.
_RESULTS = """
INSERT INTO daily_results AS d (account_id, strategy_id, symbol, day, tenant_id, realised)
SELECT p.account_id, p.strategy_id, p.symbol, n.day, p.tenant_id, p.last_realised
FROM positions p JOIN unnest(%b::uuid[], %b::uuid[], %b::text[], %b::date[])
     AS n(account_id, strategy_id, symbol, day) USING (account_id, strategy_id, symbol)
WHERE p.last_realised IS DISTINCT FROM 0
ON CONFLICT (account_id, day, strategy_id, symbol) DO UPDATE SET
    realised = d.realised + excluded.realised"""


class News:
    """The columns of one batch of changes. `trading_day`: the tenant's, which fills are counted for."""

    def __init__(self, trading_day: TradingDay) -> None:
        self._trading_day = trading_day
        self.updates: list[tuple[Any, ...]] = []
        self.reports: list[tuple[Any, ...]] = []
        self.stopped: list[tuple[Any, ...]] = []
        self.entries: list[Entry] = []
        self.fills: list[tuple[Any, ...]] = []  # in order: a position may be in it twice

    def add(self, lesson: Lesson, before: Order, after: Order, progress: Progress | None) -> None:
        done = lesson.learned_at if after.state in FINAL else None
        text = f"{lesson.code}: {lesson.text}" if lesson.code else lesson.text
        if lesson.report is not None:
            text = lesson.report.text
        text = _storable(text)
        self.updates.append((
            after.cl_ord_id, after.state.value, after.cum_qty, after.avg_px, after.broker_order_id,
            text, lesson.sent_at, lesson.acked_at, done,
        ))  # fmt: skip
        if lesson.intervention_id is not None:
            self.stopped.append((after.cl_ord_id, lesson.intervention_id))
        self.entries += evidence.learned(lesson, before.state, after.state, progress)
        if lesson.report is None or progress is None:
            return
        kind = "trade" if progress.last_qty > 0 else after.state.value
        report = lesson.report
        raw = _storable(report.raw.decode("utf-8", "replace")) if report.raw else None
        self.reports.append((
            f"{after.cl_ord_id}:{progress.cum_qty}:{after.state.value}", after.cl_ord_id,
            after.tenant_id, after.account_id, kind, after.state.value, progress.last_qty,
            progress.last_px, progress.cum_qty, report.transact_time, raw,
        ))  # fmt: skip
        if progress.last_qty > 0:
            self._fill(after, progress, lesson.learned_at, report.transact_time)

    def _fill(self, order: Order, progress: Progress, at: datetime, filled_at: datetime) -> None:
        signed = progress.last_qty if order.side == "buy" else -progress.last_qty
        self.fills.append((
            order.account_id, order.strategy_id, order.symbol, order.tenant_id, signed,
            progress.last_px, at, day_of(self._trading_day, filled_at),
        ))  # fmt: skip

    async def write(self, conn: Connection) -> None:
        if self.updates:
            await conn.execute(_UPDATE, _columns(self.updates))
        if self.stopped:
            await conn.execute(_STOPPED, _columns(self.stopped))
        if self.reports:
            await conn.execute(_REPORTS, _columns(self.reports))
        for batch in _without_repeats(self.fills):
            *positions, days = _columns(batch)
            await conn.execute(_POSITIONS, positions)
            await conn.execute(_RESULTS, [*positions[:3], days])


def _without_repeats(fills: list[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """The fills in as few batches as let no position stand twice in one, sorted against deadlock."""
    batches: list[dict[tuple[Any, ...], tuple[Any, ...]]] = []
    for fill in fills:
        key = fill[:3]
        for batch in batches:
            if key not in batch:
                batch[key] = fill
                break
        else:
            batches.append({key: fill})
    return [[batch[key] for key in sorted(batch)] for batch in batches]


def _storable(text: str) -> str:
    """PostgreSQL's text holds no NUL; a broker's answer may, and must not stop the lesson."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
