"""Orders, reports and positions in PostgreSQL: every write of execution, one tenant a transaction.

The caller opens the transaction (`Database.tenant`). Each function writes its audit records in
the same one, so neither can exist without the other:

- `intend`   order rows as intents (step 5 of the way of a signal). Crash after: doubt.
- `learn`    what was learned: state, fills, positions, and what follows (step 7). Idempotent:
             the same lesson twice changes nothing the second time, because each row is locked
             and compared first. Crash before: the broker is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog

from audit.inbox import Entry, append
from fanout import evidence, metrics
from fanout.lesson import Consequence, Lesson
from fanout.lifecycle import OUR_WORD, Progress, advance
from fanout.order import FINAL, Order, OrdState, cl_ord_id, order_id
from tenancy.database import Connection
from tenancy.scope import TenantScope
from tenancy.values import AccountID

log = structlog.get_logger()

_FINAL = sorted(state.value for state in FINAL)
_COLUMNS = (
    "cl_ord_id", "order_id", "tenant_id", "signal_id", "strategy_id", "account_id", "part", "leg",
    "attempt", "place", "broker", "symbol", "side", "order_qty", "ord_type", "price",
    "time_in_force", "reduce_only", "deadline", "state", "epoch", "traceparent", "intent_at",
)  # fmt: skip
_TYPES = (
    "text", "text", "uuid", "uuid", "uuid", "uuid", "smallint", "smallint", "smallint", "integer",
    "text", "text", "text", "numeric", "text", "numeric", "text", "boolean", "timestamptz", "text",
    "bigint", "text", "timestamptz",
)  # fmt: skip
_READ = (*_COLUMNS, "broker_order_id", "cum_qty", "avg_px")

# Arrays go in binary (%b): psycopg escapes text element by element, a fifth of a fan-out's time.
_INSERT = (
    f"INSERT INTO orders ({', '.join(_COLUMNS)}) SELECT * FROM unnest("  # noqa: S608 - constants
    + ", ".join(f"%b::{kind}[]" for kind in _TYPES)
    + ") ON CONFLICT DO NOTHING RETURNING cl_ord_id"
)
_SELECT = f"SELECT {', '.join(_READ)} FROM orders"  # noqa: S608 - constants only
_SELECT_WISHED = _SELECT.replace(" FROM orders", ", cancel_requested_at IS NOT NULL FROM orders")
_LOCKED = _SELECT_WISHED + " WHERE cl_ord_id = ANY(%b::text[]) ORDER BY cl_ord_id FOR UPDATE"
# A strategy's plans in their order, whenever the attempts were written: a second attempt of an
# early order comes before the first of a later one.
_AS_MEANT = """
ORDER BY strategy_id, (SELECT rotation FROM plans p WHERE p.signal_id = orders.signal_id),
         place, leg, attempt"""
# Not while the first leg goes on in a later attempt: then that one's end decides.
_WAITING = """ WHERE state = 'waiting'
  AND (signal_id, account_id) IN (SELECT * FROM unnest(%b::uuid[], %b::uuid[]))
  AND NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = orders.signal_id
                  AND o.account_id = orders.account_id AND o.leg = 0 AND NOT o.state = ANY(%b::text[]))
ORDER BY cl_ord_id FOR UPDATE"""
_WANT_CANCELLED = f"""
UPDATE orders SET cancel_requested_at = %s WHERE strategy_id = %s
  AND (account_id, symbol) IN (SELECT * FROM unnest(%b::uuid[], %b::text[]))
  AND (state IN ('new', 'partially_filled')
       OR state IN ('intent', 'in_doubt', 'waiting') AND ord_type <> 'market')
  AND cancel_requested_at IS NULL
  AND NOT cl_ord_id = ANY(%b::text[]) RETURNING {", ".join(_READ)}"""  # noqa: S608 - constants only
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
_REPORTS = """
INSERT INTO execution_reports (exec_id, cl_ord_id, tenant_id, account_id, exec_type, ord_status,
                               last_qty, last_px, cum_qty, at, raw)
SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[], %b::uuid[], %b::text[], %b::text[],
                     %b::numeric[], %b::numeric[], %b::numeric[], %b::timestamptz[], %b::text[])
ON CONFLICT (cl_ord_id, exec_id) DO NOTHING"""
# The average moves only where the position grows; through zero it begins again at the new price.
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
            THEN (p.qty * p.avg_px + excluded.qty * excluded.avg_px) / (p.qty + excluded.qty)
        ELSE p.avg_px END,
    updated_at = excluded.updated_at"""


async def intend(conn: Connection, scope: TenantScope, orders: Sequence[Order]) -> set[str]:
    """Write the attempts that are not there yet, with their audit records; the cl_ord_ids written."""
    if not orders:
        return set()
    columns = [[_cell(order, name) for order in orders] for name in _COLUMNS]
    rows = await (await conn.execute(_INSERT, columns)).fetchall()
    written = {row[0] for row in rows}
    new = [order for order in orders if order.cl_ord_id in written]
    await _record(
        conn, scope, (evidence.intent(o, o.intent_at) for o in new if o.state == "intent")
    )
    return written


async def want_cancelled(
    conn: Connection, scope: TenantScope, wanted: Iterable[tuple[AccountID, str]], new: set[str],
    *, strategy: Any, at: datetime,
) -> list[Order]:  # fmt: skip
    """Mark the open orders of each (account, symbol) for cancelling, but for `new` ones.

    Returns those that rest at the broker now. One that is still under way is cancelled when its
    outcome is learned, a second leg that waits is denied when its first has ended; market orders
    under way are not marked, for the plan counts them as filled.
    """
    pairs = list(wanted)
    if not pairs:
        return []
    rows = await (
        await conn.execute(
            _WANT_CANCELLED,
            (at, strategy, [a for a, _ in pairs], [s for _, s in pairs], list(new)),
        )
    ).fetchall()
    orders = [_order(row) for row in rows]
    await _record(conn, scope, (evidence.cancel_wanted(order, at) for order in orders))
    return [o for o in orders if o.state in (OrdState.NEW, OrdState.PARTIALLY_FILLED)]


async def read_unsettled(
    conn: Connection, accounts: Sequence[AccountID], parts: Sequence[int], new: set[str]
) -> list[Order]:
    """What may have been sent for these accounts and is not known yet, but for the `new` ones.

    `parts`: theirs; with it the index of open orders serves, however long the accounts' history is.
    """
    rows = await (
        await conn.execute(
            _SELECT + " WHERE part = ANY(%b::smallint[]) AND account_id = ANY(%b::uuid[])"
            " AND state IN ('intent', 'in_doubt') AND NOT cl_ord_id = ANY(%b::text[])" + _AS_MEANT,
            (list(parts), list(accounts), list(new)),
        )
    ).fetchall()
    return [_order(row) for row in rows]


async def read_orders(conn: Connection, ids: Sequence[str]) -> list[tuple[Order, bool]]:
    """The attempts, in the order in which they were meant; and whether a cancel is wanted."""
    rows = await (
        await conn.execute(
            _SELECT_WISHED + " WHERE cl_ord_id = ANY(%b::text[])" + _AS_MEANT,
            (list(ids),),
        )
    ).fetchall()
    return [(_order(row), row[-1]) for row in rows]


async def learn(
    conn: Connection, scope: TenantScope, lessons: Sequence[Lesson], *, again: bool = False
) -> list[Consequence]:
    """Write what was learned; one consequence for each lesson, in their order.

    `again`: the same lessons were written before, and nobody knows whether that was committed. If
    it was, they are no news now; what they released then is named again, for nobody has sent it.
    """
    ids = sorted({lesson.order.cl_ord_id for lesson in lessons})
    # Locked in one order everywhere: two learners cannot wait for each other.
    rows = await (await conn.execute(_LOCKED, (ids,))).fetchall()
    known = {order.cl_ord_id: order for order in map(_order, rows)}
    wished = {row[0] for row in rows if row[-1]}
    news = _News()
    consequences: list[Consequence] = []
    successors: list[Order] = []
    for heard in lessons:
        before = known[heard.order.cl_ord_id]
        cancel = before.cl_ord_id in wished
        # Who wants it cancelled does not want it sent again.
        lesson = msgspec.structs.replace(heard, successor=None) if cancel else heard
        after, progress = _apply(before, lesson)
        if after is None:
            sends = await _released(conn, lesson) if again else None
            consequences.append(Consequence(order=before, cancel=cancel, sends=sends))
            continue
        known[after.cl_ord_id] = after
        news.add(lesson, before, after, progress)
        if lesson.successor is not None:
            successors.append(lesson.successor)
        consequences.append(Consequence(order=after, sends=lesson.successor, cancel=cancel))
    async with conn.pipeline():  # one round trip; an error in one of them ends the transaction
        await news.write(conn)
        await _record(conn, scope, news.entries)
    written = await intend(conn, scope, successors)
    proposed = {order.cl_ord_id for order in successors}
    consequences = [
        c
        if c.sends is None or c.sends.cl_ord_id in written or c.sends.cl_ord_id not in proposed
        else msgspec.structs.replace(c, sends=None)
        for c in consequences
    ]
    at = {lesson.order.cl_ord_id: lesson.learned_at for lesson in lessons}
    return await _second_legs(conn, scope, consequences, at)


async def _released(conn: Connection, lesson: Lesson) -> Order | None:
    """The intent that this very lesson released in an earlier commit: it bears the lesson's time."""
    order, then = lesson.order, lesson.learned_at
    name = cl_ord_id(order_id(order.signal_id, order.account_id, 1), 1)
    if lesson.successor is not None:
        name, then = lesson.successor.cl_ord_id, lesson.successor.intent_at
    if name == order.cl_ord_id:
        return None
    row = await (
        await conn.execute(
            _SELECT + " WHERE cl_ord_id = %s AND state = 'intent' AND intent_at = %s", (name, then)
        )
    ).fetchone()
    return _order(row) if row is not None else None


def _apply(before: Order, lesson: Lesson) -> tuple[Order | None, Progress | None]:
    """The order after the lesson, or None where it is no news."""
    if lesson.report is None:
        assert lesson.state is not None
        if lesson.state not in OUR_WORD.get(before.state, frozenset()):
            return None, None
        return msgspec.structs.replace(before, state=lesson.state), None
    progress = advance(before.state, before.cum_qty, before.avg_px, lesson.report)
    if progress is None:
        return None, None
    if progress.surprising:
        metrics.SURPRISES.inc()
        log.error("report_of_a_finished_order", cl_ord_id=before.cl_ord_id, state=before.state)
    after = msgspec.structs.replace(
        before,
        state=progress.state,
        cum_qty=progress.cum_qty,
        avg_px=progress.avg_px,
        broker_order_id=lesson.report.broker_order_id,
    )
    return after, progress


class _News:
    """The columns of one batch of changes."""

    def __init__(self) -> None:
        self.updates: list[tuple[Any, ...]] = []
        self.reports: list[tuple[Any, ...]] = []
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
            self._fill(after, progress, lesson.learned_at)

    def _fill(self, order: Order, progress: Progress, at: datetime) -> None:
        signed = progress.last_qty if order.side == "buy" else -progress.last_qty
        self.fills.append((
            order.account_id, order.strategy_id, order.symbol, order.tenant_id, signed,
            progress.last_px, at,
        ))  # fmt: skip

    async def write(self, conn: Connection) -> None:
        if self.updates:
            await conn.execute(_UPDATE, _columns(self.updates))
        if self.reports:
            await conn.execute(_REPORTS, _columns(self.reports))
        for batch in _without_repeats(self.fills):
            await conn.execute(_POSITIONS, _columns(batch))


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


async def _second_legs(
    conn: Connection, scope: TenantScope, consequences: list[Consequence], at: dict[str, datetime]
) -> list[Consequence]:
    """Release or deny the second legs whose first leg has just ended.

    `at`: when each first leg's end was learned, which becomes the time of what it released.
    """
    ended = {
        (c.order.signal_id, c.order.account_id): c
        for c in consequences
        if c.order.leg == 0 and c.order.state in FINAL and c.sends is None
    }
    if not ended:
        return consequences
    rows = await (
        await conn.execute(
            _SELECT_WISHED + _WAITING,
            ([key[0] for key in ended], [key[1] for key in ended], _FINAL),
        )
    ).fetchall()
    following: dict[str, Consequence] = {}
    for row in rows:
        waiting = _order(row)
        first = ended[waiting.signal_id, waiting.account_id]
        why_not = ""
        if row[-1]:
            why_not = "a later signal cancelled it"
        elif first.order.cum_qty < first.order.order_qty:
            why_not = "the first leg did not close the position"
        ended_at = at[first.order.cl_ord_id]
        released = await _release(conn, scope, first, waiting, why_not, ended_at)
        following[first.order.cl_ord_id] = released
    return [following.get(c.order.cl_ord_id, c) for c in consequences]


async def _release(
    conn: Connection,
    scope: TenantScope,
    first: Consequence,
    waiting: Order,
    why_not: str,
    at: datetime,
) -> Consequence:
    state = OrdState.DENIED if why_not else OrdState.INTENT
    after = msgspec.structs.replace(waiting, state=state, intent_at=at)
    done_at = at if why_not else None
    await conn.execute(
        "UPDATE orders SET state = %s, text = nullif(%s, ''), intent_at = %s, done_at = %s"
        " WHERE cl_ord_id = %s",
        (state.value, why_not, at, done_at, waiting.cl_ord_id),
    )
    if state is OrdState.INTENT:
        await _record(conn, scope, [evidence.intent(after, at)])
        return msgspec.structs.replace(first, sends=after)
    await _record(conn, scope, [evidence.denied(after, at, why_not)])
    return msgspec.structs.replace(first, denied=after)


async def _record(conn: Connection, scope: TenantScope, entries: Iterable[Entry]) -> None:
    records = [(scope.tenant_id, entry) for entry in entries]
    if records:
        await append(conn, records)


def _storable(text: str) -> str:
    """PostgreSQL's text holds no NUL; a broker's answer may, and must not stop the lesson."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _cell(order: Order, name: str) -> Any:
    value = getattr(order, name)
    return value.value if name == "state" else value


def _order(row: Sequence[Any]) -> Order:
    values = dict(zip(_READ, row, strict=False))
    values["state"] = OrdState(values["state"])
    return Order(**values)
