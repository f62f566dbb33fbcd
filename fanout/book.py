"""Orders, reports and positions in PostgreSQL: every write of execution, one tenant a transaction.

The caller opens the transaction (`Database.tenant`). Each function writes its audit records in
the same one, so neither can exist without the other:

- `intend`   order rows as intents (step 5 of the way of a signal). Crash after: doubt.
- `learn`    what was learned: state, fills, positions, what was realised on that trading day, and what
             follows (step 7). Idempotent:
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
from fanout import doubt_rows, evidence, metrics, stops_book
from fanout.lesson import Consequence, Lesson
from fanout.lifecycle import OUR_WORD, Progress, advance
from fanout.news import News
from fanout.order import FINAL, Order, OrdState, cl_ord_id, order_id
from fanout.order_rows import COLUMNS, READ, SELECT, TYPES, cell, order_of_row
from fanout.stops_book import FamilyKey, family_of, place_of
from fanout.stops_family import Family
from fanout.stops_venues import NO_VENUES, Venues
from tenancy.database import Connection, Told
from tenancy.scope import TenantScope
from tenancy.values import AccountID
from tenancy.windows import TradingDay

log = structlog.get_logger()

_FINAL = sorted(state.value for state in FINAL)
# Arrays go in binary (%b): psycopg escapes text element by element, a fifth of a fan-out's time.
_INSERT = (
    f"INSERT INTO orders ({', '.join(COLUMNS)}) SELECT * FROM unnest("  # noqa: S608 - constants
    + ", ".join(f"%b::{kind}[]" for kind in TYPES)
    + ") ON CONFLICT DO NOTHING RETURNING cl_ord_id"
)
_SELECT_WISHED = SELECT.replace(" FROM orders", ", cancel_requested_at IS NOT NULL FROM orders")
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
_TRADING_DAY = "SELECT settings ->> 'trading_day' FROM tenants WHERE tenant_id = %s"
_UNSETTLED = f"""{SELECT} WHERE part = ANY(%b::smallint[])
  AND (account_id, symbol) IN (SELECT * FROM unnest(%b::uuid[], %b::text[]))
  AND state IN ('intent', 'in_doubt') AND NOT cl_ord_id = ANY(%b::text[]) {_AS_MEANT}"""  # noqa: S608 - constants only
_WANT_CANCELLED = f"""
UPDATE orders SET cancel_requested_at = %s WHERE strategy_id = %s
  AND (account_id, symbol) IN (SELECT * FROM unnest(%b::uuid[], %b::text[]))
  AND (state IN ('held', 'new', 'partially_filled')
       OR state IN ('intent', 'in_doubt', 'waiting') AND ord_type <> 'market')
  AND (role = 'main' OR (account_id, symbol) IN (SELECT * FROM unnest(%b::uuid[], %b::text[])))
  AND cancel_requested_at IS NULL
  AND NOT cl_ord_id = ANY(%b::text[]) RETURNING {", ".join(READ)}"""  # noqa: S608 - constants only


async def intend(conn: Connection, scope: TenantScope, orders: Sequence[Order]) -> set[str]:
    """Write the attempts that are not there yet, with their audit records; the cl_ord_ids written."""
    written = await (await ask_insert(conn, orders))()
    await record_intents(conn, scope, orders, written)
    return written


async def ask_insert(conn: Connection, orders: Sequence[Order]) -> Told[set[str]]:
    """The first half of `intend`, in a pipeline of the caller's: the rows; who asks records them."""
    columns = [[cell(order, name) for order in orders] for name in COLUMNS]
    asked = await conn.execute(_INSERT, columns) if orders else None

    async def told() -> set[str]:
        return {row[0] for row in await asked.fetchall()} if asked is not None else set()

    return told


async def record_intents(
    conn: Connection, scope: TenantScope, orders: Sequence[Order], written: set[str]
) -> None:
    """The second half: the audit records of those that were written."""
    new = [order for order in orders if order.cl_ord_id in written]
    records = {OrdState.INTENT: evidence.intent, OrdState.HELD: evidence.held}
    await _record(
        conn, scope, (records[o.state](o, o.intent_at) for o in new if o.state in records)
    )


async def want_cancelled(
    conn: Connection, scope: TenantScope, wanted: Iterable[tuple[AccountID, str]], new: set[str],
    *, strategy: Any, at: datetime, protection: Iterable[tuple[AccountID, str]] = (),
) -> list[Order]:  # fmt: skip
    """Mark the open orders of each (account, symbol) for cancelling, but for `new` ones.

    Returns those that rest at the broker now. One that is still under way is cancelled when its
    outcome is learned, a second leg that waits is denied when its first has ended; market orders
    under way are not marked, for the plan counts them as filled. What is held ends here and now.

    Stops and targets behind a position are left alone but in `protection`: they end by
    themselves in the commit in which their position does.
    """
    pairs, bare = list(wanted), list(protection)
    if not pairs:
        return []
    rows = await (
        await conn.execute(
            _WANT_CANCELLED,
            (
                at,
                strategy,
                [a for a, _ in pairs],
                [s for _, s in pairs],
                [a for a, _ in bare],
                [s for _, s in bare],
                list(new),
            ),
        )
    ).fetchall()
    orders = [order_of_row(row) for row in rows]
    held = [order for order in orders if order.state is OrdState.HELD]
    ended = await stops_book.end_held(
        conn, held, at, OrdState.CANCELED, "a later signal cancelled it"
    )
    await _record(conn, scope, [*(evidence.cancel_wanted(order, at) for order in orders), *ended])
    return [o for o in orders if o.state in (OrdState.NEW, OrdState.PARTIALLY_FILLED)]


async def ask_unsettled(
    conn: Connection, lanes: Iterable[tuple[AccountID, str]], parts: Sequence[int], new: set[str]
) -> Told[list[Order]]:
    """What may have been sent in these lanes and is not known yet, but for the `new` ones.

    For a pipeline of the caller's. `parts`: theirs; with it the index of open orders serves, however
    long the accounts' history is.
    """
    wanted = sorted(set(lanes))
    values = (list(parts), [a for a, _ in wanted], [s for _, s in wanted], list(new))
    asked = await conn.execute(_UNSETTLED, values)

    async def told() -> list[Order]:
        return [order_of_row(row) for row in await asked.fetchall()]

    return told


async def read_orders(conn: Connection, ids: Sequence[str]) -> list[tuple[Order, bool]]:
    """The attempts, in the order in which they were meant; and whether a cancel is wanted."""
    rows = await (
        await conn.execute(
            _SELECT_WISHED + " WHERE cl_ord_id = ANY(%b::text[])" + _AS_MEANT,
            (list(ids),),
        )
    ).fetchall()
    return [(order_of_row(row), row[-1]) for row in rows]


async def is_unwanted(conn: Connection, order: Order) -> bool:
    """Whether somebody wishes it cancelled."""
    query = "SELECT FROM orders WHERE cl_ord_id = %s AND cancel_requested_at IS NOT NULL"
    return await (await conn.execute(query, (order.cl_ord_id,))).fetchone() is not None


async def learn(
    conn: Connection,
    scope: TenantScope,
    lessons: Sequence[Lesson],
    *,
    again: bool = False,
    venues: Venues = NO_VENUES,
) -> list[Consequence]:
    """Write what was learned; one consequence for each lesson, in their order.

    `again`: the same lessons were written before, and nobody knows whether that was committed. If
    it was, they are no news now; what they released then is named again, for nobody has sent it.
    """
    ids = {lesson.order.cl_ord_id for lesson in lessons}
    behind = await stops_book.standing(conn, [lesson.order for lesson in lessons])
    # Locked in one order everywhere: two learners cannot wait for each other.
    names = sorted({*ids, *behind})
    async with conn.pipeline():  # one round trip
        locked = await conn.execute(_LOCKED, (names,))
        setting = await conn.execute(_TRADING_DAY, (scope.tenant_id,))
    rows = await locked.fetchall()
    known = {order.cl_ord_id: order for order in map(order_of_row, rows)}
    wished = {row[0] for row in rows if row[-1]}
    families = await stops_book.families(conn, [known[name] for name in ids])
    touched: dict[FamilyKey, Family] = {}
    news = News(_trading_day(await setting.fetchone()))
    consequences: list[Consequence] = []
    successors: list[Order] = []
    settled: dict[str, Order] = {}
    shown = {name for name in ids if known[name].state is OrdState.IN_DOUBT}
    shown |= {one.order.cl_ord_id for one in lessons if one.in_doubt}
    decisions = await doubt_rows.decided(conn, sorted(shown)) if shown else {}
    for heard in lessons:
        before = known[heard.order.cl_ord_id]
        cancel = before.cl_ord_id in wished
        decision = decisions.get(before.cl_ord_id)
        # Who wants it cancelled does not want it sent again; nor does a person who said so.
        ends = cancel or (decision is not None and decision.last)
        lesson = msgspec.structs.replace(heard, successor=None) if ends else heard
        after, progress = _apply(before, lesson)
        if after is None:
            sends = await _released(conn, lesson) if again else None
            consequences.append(
                Consequence(order=before, cancel=cancel, sends=sends, news=sends is not None)
            )
            continue
        known[after.cl_ord_id] = after
        if before.cl_ord_id in shown and after.state not in doubt_rows.UNSETTLED:
            settled[after.cl_ord_id] = after
        if family_of(after) in families:
            family = touched[family_of(after)] = families[family_of(after)]
            lesson = stops_book.in_family(family, after, lesson, cancel=cancel)
        news.add(lesson, before, after, progress)
        if lesson.successor is not None:
            successors.append(lesson.successor)
        consequences.append(Consequence(order=after, sends=lesson.successor, cancel=cancel))
    if settled:  # before the order's own records: its close is the last of its story
        carried = [one.decision.decision_id for one in lessons if one.decision is not None]
        learned_at = lessons[0].learned_at
        ended = await doubt_rows.settle(conn, settled, decisions, carried, learned_at)
        await _record(conn, scope, ended)
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
    consequences = [_watched(c) for c in consequences]
    if touched or behind:
        then = lessons[0].learned_at
        consequences = await _protect(conn, scope, consequences, touched.values(), venues, then)
    at = {lesson.order.cl_ord_id: lesson.learned_at for lesson in lessons}
    return await _second_legs(conn, scope, consequences, at, venues)


def _watched(consequence: Consequence) -> Consequence:
    """What is held again is not sent: the stop engine is told of it."""
    follows = consequence.sends
    if follows is None or follows.state is not OrdState.HELD:
        return consequence
    return msgspec.structs.replace(consequence, sends=None, watch=(follows.cl_ord_id,))


async def _protect(
    conn: Connection,
    scope: TenantScope,
    consequences: list[Consequence],
    touched: Iterable[Family],
    venues: Venues,
    at: datetime,
) -> list[Consequence]:
    """Bring what stands behind these orders' positions to what they are now."""
    effects = await stops_book.after_fills(conn, touched, venues, at)
    await intend(conn, scope, effects.new)
    places = {place_of(c.order) for c in consequences if c.news}
    await stops_book.without_position(conn, places, effects, at)
    await _record(conn, scope, effects.entries)
    return stops_book.told(consequences, effects)


def _trading_day(row: Sequence[Any] | None) -> TradingDay:
    return msgspec.json.decode(row[0], type=TradingDay) if row and row[0] else TradingDay()


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
            SELECT + " WHERE cl_ord_id = %s AND state = 'intent' AND intent_at = %s", (name, then)
        )
    ).fetchone()
    return order_of_row(row) if row is not None else None


def _apply(before: Order, lesson: Lesson) -> tuple[Order | None, Progress | None]:
    """The order after the lesson, or None where it is no news."""
    if lesson.report is None:
        assert lesson.state is not None
        if lesson.state not in OUR_WORD.get(before.state, frozenset()):
            return None, None
        return msgspec.structs.replace(before, state=lesson.state), None
    progress = advance(
        before.state, before.cum_qty, before.avg_px, lesson.report, order_qty=before.order_qty
    )
    if progress is None:
        return None, None
    if progress.surprise is not None:
        metrics.SURPRISES.labels(progress.surprise).inc()
        log.error(
            "surprising_report", cl_ord_id=before.cl_ord_id, state=before.state,
            surprise=progress.surprise, reported=lesson.report.ord_status, cum_qty=progress.cum_qty,
        )  # fmt: skip
    after = msgspec.structs.replace(
        before,
        state=progress.state,
        cum_qty=progress.cum_qty,
        avg_px=progress.avg_px,
        broker_order_id=lesson.report.broker_order_id,
    )
    return after, progress


async def _second_legs(
    conn: Connection,
    scope: TenantScope,
    consequences: list[Consequence],
    at: dict[str, datetime],
    venues: Venues,
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
        waiting = order_of_row(row)
        first = ended[waiting.signal_id, waiting.account_id]
        why_not = ""
        if row[-1]:
            why_not = "a later signal cancelled it"
        elif first.order.cum_qty < first.order.order_qty:
            why_not = stops_book.LEFT_OPEN
        ended_at = at[first.order.cl_ord_id]
        released = await _release(conn, scope, first, waiting, why_not, ended_at, venues)
        following[first.order.cl_ord_id] = released
    return [following.get(c.order.cl_ord_id, c) for c in consequences]


async def _release(
    conn: Connection,
    scope: TenantScope,
    first: Consequence,
    waiting: Order,
    why_not: str,
    at: datetime,
    venues: Venues,
) -> Consequence:
    state = OrdState.DENIED if why_not else OrdState.INTENT
    after = msgspec.structs.replace(waiting, state=state, intent_at=at)
    after = venues.held_if_needed(after)
    state = after.state
    done_at = at if why_not else None
    await conn.execute(
        "UPDATE orders SET state = %s, text = nullif(%s, ''), intent_at = %s, done_at = %s"
        " WHERE cl_ord_id = %s",
        (state.value, why_not, at, done_at, waiting.cl_ord_id),
    )
    if state is OrdState.INTENT:
        await _record(conn, scope, [evidence.intent(after, at)])
        return msgspec.structs.replace(first, sends=after)
    if state is OrdState.HELD:
        await _record(conn, scope, [evidence.held(after, at)])
        return msgspec.structs.replace(first, watch=(*first.watch, after.cl_ord_id))
    await _record(conn, scope, [evidence.ended(after, at, why_not)])
    return msgspec.structs.replace(first, denied=after)


async def _record(conn: Connection, scope: TenantScope, entries: Iterable[Entry]) -> None:
    records = [(scope.tenant_id, entry) for entry in entries]
    if records:
        await append(conn, records)
