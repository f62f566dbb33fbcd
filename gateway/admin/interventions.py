"""Interventions: what one act of the kill switch was told to do, what it stopped, and how far it is.

Numbers are of this moment: they are counted in the orders and positions themselves, so nothing has to be
kept in step with them. The platform's own act is shown in counts over its customers, without their trading.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from audit.inbox import append
from fanout import intervention_rows as rows
from fanout import intervention_rules as rules
from fanout.intervention_rows import Intervention, Layer, Level, Remaining, State
from fanout.order import OrdState
from fanout.reasons import SENTENCES, Reason
from fanout.wake import Wake
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_cursor, read_id, write_cursor
from gateway.admin.plans import read_plan
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.ids import new_id
from tenancy.values import AccountID, StrategyID, TenantID, partition, plain

TAG = "Kill switch"
FAILURES_MOST = 100


class InterventionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One act of the switch. `done`: carried out; `failed`: given up, positions remain; `released`: the layer
    was let trade again before it was done."""

    intervention_id: UUID
    level: Level
    scope: Layer
    object_id: UUID
    broker: str | None
    symbol: str | None
    reason: str
    by: dict[str, str]
    at: datetime
    state: State
    ended_at: datetime | None
    platform_intervention_id: UUID | None
    """Set: the platform's operators threw the switch, and this is what it does here."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A position that is still there, and what became of the last exit that was sent for it."""

    account_id: UUID
    strategy_id: UUID
    broker: str
    symbol: str
    rounds: int
    why: str


class Customers(msgspec.Struct, frozen=True, kw_only=True):
    """Of the platform's own: in how many customers it is how far."""

    working: int
    done: int
    failed: int
    released: int


class InterventionView(InterventionSummary, frozen=True, kw_only=True):
    """How far it is. `orders_denied`: stopped before they were sent. `orders_cancelled`: of those to cancel;
    what was filled meanwhile is in neither. `positions_*` and `remaining` are a flatten's."""

    orders_denied: int
    orders_to_cancel: int
    orders_cancelled: int
    positions_closed: int
    positions_remaining: int
    remaining: list[Failure]
    """At most 100."""
    customers: Customers | None = None


class StoppedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that it denied or cancelled; one that filled before the cancel says so."""

    cl_ord_id: str
    order_id: str
    signal_id: UUID
    strategy_id: UUID
    account_id: UUID
    symbol: str
    side: str
    order_qty: str
    cum_qty: str
    status: OrdState
    text: str | None


_COLUMNS = "intervention_id, level, scope, object_id, broker, symbol, reason, by, at, state, ended_at, parent_id"
_LIST = f"""
SELECT {_COLUMNS} FROM interventions WHERE %(before)s::uuid IS NULL OR intervention_id < %(before)s
ORDER BY intervention_id DESC LIMIT %(limit)s"""  # noqa: S608 - constants only
_ONE = f"SELECT {_COLUMNS} FROM interventions WHERE intervention_id = %s"  # noqa: S608
_NEWEST = """
SELECT intervention_id, level, state FROM interventions WHERE object_id = %s AND parent_id IS NULL
ORDER BY intervention_id DESC LIMIT 1"""
_COUNTS = """
SELECT count(*) FILTER (WHERE state = 'denied' AND cancel_requested_at IS NULL),
       count(cancel_requested_at),
       count(*) FILTER (WHERE state IN ('canceled', 'denied') AND cancel_requested_at IS NOT NULL)
FROM orders WHERE intervention_id = %s"""
_NAMED = """
SELECT DISTINCT a.account_id, e.strategy_id, e.broker, e.symbol
FROM intervention_exits e JOIN signals s USING (signal_id), unnest(s.accounts) AS a(account_id)
WHERE e.intervention_id = %s"""
_LAST = """
SELECT DISTINCT ON (strategy_id, broker, symbol) strategy_id, broker, symbol, round, signal_id
FROM intervention_exits WHERE intervention_id = %s ORDER BY strategy_id, broker, symbol, round DESC"""
_ENDS = """
SELECT signal_id, account_id, state, text FROM orders
WHERE signal_id = ANY(%s) ORDER BY leg, attempt"""
_STOPPED = """
SELECT cl_ord_id, order_id, signal_id, strategy_id, account_id, symbol, side, order_qty, cum_qty, state, text
FROM orders WHERE intervention_id = %(id)s AND (%(after)s::text IS NULL OR cl_ord_id > %(after)s)
ORDER BY cl_ord_id LIMIT %(limit)s"""


async def begin(
    call: Call,
    level: Level,
    object_id: UUID,
    *,
    scope: Layer,
    reason: str,
    broker: str | None,
    symbol: str | None,
    changed: bool,
) -> None:
    """The row of this act, in the transaction of the halt; none where the same one is there already.

    `changed`: the layer's state is another by it. The layer's row is locked.
    """
    row = await (await call.conn.execute(_NEWEST, (object_id,))).fetchone()
    carried = level in ("cancel_open", "flatten")
    if row is not None and row[1] == level and (row[2] == "working" if carried else not changed):
        return
    identity = new_id()
    made = Intervention(
        intervention_id=identity, tenant_id=TenantID(call.scope.tenant_id), part=partition(identity),
        level=level, scope=scope, object_id=object_id, broker=broker, symbol=symbol, reason=reason,
        by=call.scope.actor, at=call.services.clock.now(), state="working" if carried else "done",
    )  # fmt: skip
    await rows.insert(call.conn, made)
    entry = msgspec.structs.replace(rules.begun(made), cor=call.trace_id)
    await append(call.conn, [(made.tenant_id, entry)])


def halt_wake(tenant: UUID) -> Wake:
    """Tells every worker to look at the switch now."""
    return Wake(kind="halt", id=tenant, part=0)


async def _list(call: Call) -> Result:
    limit = call.query.limit
    values = {"before": read_id(call.query.cursor), "limit": limit}
    found = await (await call.conn.execute(_LIST, values)).fetchall()
    more = write_cursor(str(found[-1][0])) if len(found) == limit else None
    return Result(content=Page(items=[_summary(row) for row in found], next=more))


async def _get(call: Call) -> Result:
    row = await _row(call)
    summary = _summary(row)
    fields = msgspec.structs.asdict(summary)
    if call.principal.kind == "platform":
        return Result(content=await _over_customers(call, fields))
    counted = await (await call.conn.execute(_COUNTS, (summary.intervention_id,))).fetchone()
    assert counted is not None
    closed, failures, remaining = 0, list[Failure](), 0
    if summary.level == "flatten":
        held = await rows.remaining(call.conn, summary.intervention_id)
        remaining = sum(map(len, held.values()))
        closed = await _closed(call.conn, summary.intervention_id, held)
        failures = await _failures(call.conn, summary.intervention_id, held)
    return Result(
        content=InterventionView(
            **fields, orders_denied=counted[0], orders_to_cancel=counted[1],
            orders_cancelled=counted[2], positions_closed=closed, positions_remaining=remaining,
            remaining=failures,
        )
    )  # fmt: skip


async def _over_customers(call: Call, fields: dict[str, Any]) -> InterventionView:
    cursor = await call.conn.execute(
        "SELECT working, done, failed, released, denied, to_cancel, canceled"
        " FROM intervention_counts(%s)",
        (fields["intervention_id"],),
    )
    counted = await cursor.fetchone()
    assert counted is not None
    return InterventionView(
        **fields, orders_denied=counted[4], orders_to_cancel=counted[5], orders_cancelled=counted[6],
        positions_closed=0, positions_remaining=0, remaining=[],
        customers=Customers(
            working=counted[0], done=counted[1], failed=counted[2], released=counted[3]
        ),
    )  # fmt: skip


async def _closed(conn: Connection, intervention: UUID, held: Remaining) -> int:
    """How many of the positions that exits named are no more."""
    named = await (await conn.execute(_NAMED, (intervention,))).fetchall()
    left = {
        (account, group.strategy_id, group.broker, group.symbol)
        for group, accounts in held.items()
        for account in accounts
    }
    return len(set(map(tuple, named)) - left)


async def _failures(conn: Connection, intervention: UUID, held: Remaining) -> list[Failure]:
    last = {
        (row[0], row[1], row[2]): (row[3], row[4])
        for row in await (await conn.execute(_LAST, (intervention,))).fetchall()
    }
    asked = [(group, account) for group, accounts in held.items() for account in accounts][
        :FAILURES_MOST
    ]
    signals = {last[key][1] for group, _ in asked if (key := _key(group)) in last}
    whys = await _whys(conn, list(signals))
    made: list[Failure] = []
    for group, account in asked:
        rounds, signal = last.get(_key(group), (0, None))
        made.append(
            Failure(
                account_id=account, strategy_id=group.strategy_id, broker=group.broker,
                symbol=group.symbol, rounds=rounds,
                why=whys.get((signal, account), "") if rounds else "No exit was sent yet.",
            )
        )  # fmt: skip
    return made


def _key(group: rows.Group) -> tuple[StrategyID, str, str]:
    return group.strategy_id, group.broker, group.symbol


async def _whys(
    conn: Connection, signals: Sequence[UUID]
) -> dict[tuple[UUID | None, AccountID], str]:
    """What became of these signals at each account: the last attempt's end, else the plan's reason."""
    whys: dict[tuple[UUID | None, AccountID], str] = {}
    for signal in signals:
        written = await read_plan(conn, signal)
        for entry in written.entries if written is not None else ():
            if entry.reason not in ("order", "not_addressed"):
                known = entry.reason in Reason.__members__.values()
                sentence = SENTENCES[Reason(entry.reason)] if known else entry.reason
                whys[signal, AccountID(entry.account_id)] = sentence
    for signal, account, state, text in await (
        await conn.execute(_ENDS, (list(signals),))
    ).fetchall():
        whys[signal, account] = f"{state}: {text}" if text else state
    return whys


async def _orders(call: Call) -> Result:
    row = await _row(call)
    limit = call.query.limit
    after = read_cursor(call.query.cursor)
    values = {"id": row[0], "after": after, "limit": limit}
    found = await (await call.conn.execute(_STOPPED, values)).fetchall()
    items = [
        StoppedOrder(
            cl_ord_id=each[0], order_id=each[1], signal_id=each[2], strategy_id=each[3],
            account_id=each[4], symbol=each[5], side=each[6], order_qty=plain(each[7]),
            cum_qty=plain(each[8]), status=OrdState(each[9]), text=each[10],
        )
        for each in found
    ]  # fmt: skip
    more = write_cursor(items[-1].cl_ord_id) if len(items) == limit else None
    return Result(content=Page(items=items, next=more))


async def _row(call: Call) -> Sequence[Any]:
    wanted = call.uuid("intervention_id")
    row = await (await call.conn.execute(_ONE, (wanted,))).fetchone()
    if row is None:
        raise NotFound(f"there is no intervention {wanted} in this tenant")
    return row


def _summary(row: Sequence[Any]) -> InterventionSummary:
    return InterventionSummary(
        intervention_id=row[0], level=row[1], scope=row[2], object_id=row[3], broker=row[4],
        symbol=row[5], reason=row[6], by=row[7], at=row[8], state=row[9], ended_at=row[10],
        platform_intervention_id=row[11],
    )  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_interventions", method="GET", path="/v1/interventions", tag=TAG,
        action="halts:read", summary="Every act of the kill switch, newest first.", handle=_list,
        query=PageQuery, answer=Page[InterventionSummary],
    ),
    Operation(
        name="get_intervention", method="GET", path="/v1/interventions/{intervention_id}", tag=TAG,
        action="halts:read", summary="What an act of the kill switch stopped, and how far it is.",
        handle=_get, answer=InterventionView, problems=("not_found",),
    ),
    Operation(
        name="list_stopped_orders", method="GET",
        path="/v1/interventions/{intervention_id}/orders", tag=TAG, action="orders:read",
        summary="The orders that an act of the kill switch denied or cancelled.", handle=_orders,
        query=PageQuery, answer=Page[StoppedOrder], problems=("not_found",),
    ),
)  # fmt: skip
