"""SQL of doubt: what was tried of an attempt that nobody can tell about, and what a person decided of it.

Each function works in the caller's tenant transaction. Locks are taken in one order: the order's row,
then the doubt's. Whoever settles an order locks its doubt before it looks for a decision, and whoever
decides locks the doubt before it looks whether it is settled: of the two, one is first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec

from audit.inbox import Entry
from audit.record import Kind
from fanout.order import Order, OrdState
from fanout.ports import Report
from tenancy.database import Connection
from tenancy.scope import Actor
from tenancy.values import plain

DoubtKind = Literal["in_doubt", "stuck"]
"""`stuck`: it closes a position and cannot be sent; it is tried until somebody says stop."""
Verdict = Literal["absent", "exists", "stop"]
UNSETTLED = (OrdState.INTENT, OrdState.IN_DOUBT)
"""States of an order in which it may have a doubt that is not settled."""

# The order is locked and looked at again, so that no row begins behind its end.
_TRIED = """
INSERT INTO doubts AS d (tenant_id, cl_ord_id, kind, since, asked, asked_at, answer)
SELECT o.tenant_id, o.cl_ord_id, n.kind, n.since, n.asked, n.asked_at, n.answer
FROM (SELECT * FROM orders WHERE cl_ord_id = ANY(%(names)b::text[]) AND state IN ('intent', 'in_doubt')
      ORDER BY cl_ord_id FOR SHARE) o
JOIN unnest(%(names)b::text[], %(kinds)b::text[], %(since)b::timestamptz[], %(asked)b::int[],
            %(asked_at)b::timestamptz[], %(answers)b::text[])
     AS n(cl_ord_id, kind, since, asked, asked_at, answer) USING (cl_ord_id)
ON CONFLICT (tenant_id, cl_ord_id) DO UPDATE SET
    kind = excluded.kind, asked = d.asked + excluded.asked, asked_at = excluded.asked_at, answer = excluded.answer
WHERE d.settled_at IS NULL"""
_OLD = """
UPDATE doubts SET told_at = %(now)s
WHERE cl_ord_id = ANY(%(names)b::text[]) AND told_at IS NULL AND settled_at IS NULL AND since <= %(before)s
RETURNING cl_ord_id, kind, since, asked, answer"""
_COLUMNS = (
    "decision_id, cl_ord_id, verdict, again, broker_order_id, ord_status, cum_qty, avg_px, reason,"
    " decided_by, decided_at"
)
_PENDING = f"""
SELECT {_COLUMNS} FROM doubt_decisions
WHERE cl_ord_id = ANY(%b::text[]) AND state = 'pending'"""  # noqa: S608 - constants only
_LOCKED = """
SELECT cl_ord_id FROM doubts WHERE cl_ord_id = ANY(%b::text[]) AND settled_at IS NULL
ORDER BY cl_ord_id FOR UPDATE"""
_SETTLE = (
    "UPDATE doubts SET settled_at = %s WHERE cl_ord_id = ANY(%b::text[]) AND settled_at IS NULL"
)
_END = f"""
UPDATE doubt_decisions SET settled_at = %s,
    state = CASE WHEN decision_id = ANY(%b::uuid[]) THEN 'carried' ELSE 'void' END
WHERE cl_ord_id = ANY(%b::text[]) AND state = 'pending' RETURNING {_COLUMNS}, state"""  # noqa: S608


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person has decided of one attempt.

    `absent`: it does not exist (`again`: another attempt, where its deadline allows one). `exists`: it
    does, with these facts. `stop`: no further attempt, and no further try to send this one.
    """

    decision_id: UUID
    cl_ord_id: str
    verdict: Verdict
    again: bool
    broker_order_id: str | None
    ord_status: OrdState | None
    cum_qty: Decimal | None
    avg_px: Decimal | None
    reason: str
    by: Actor
    at: datetime

    @property
    def words(self) -> str:
        """For the order's own text."""
        said = {"absent": "it does not exist", "exists": "it exists", "stop": "stop trying"}
        return f"a person decided: {said[self.verdict]} ({self.reason})"

    @property
    def last(self) -> bool:
        """No attempt may follow this one."""
        return self.verdict == "stop" or (self.verdict == "absent" and not self.again)

    def agrees(self, state: OrdState) -> bool:
        """Whether an attempt that ended so is what was decided."""
        if self.verdict == "stop":
            return state in (OrdState.UNSENT, OrdState.ABSENT)
        return self.verdict == "absent" and state is OrdState.ABSENT

    def report(self) -> Report:
        """Of `exists`: what the broker would have said. Raises ValueError for another verdict."""
        if self.ord_status is None or self.cum_qty is None or self.broker_order_id is None:
            raise ValueError(f"{self.verdict}: no facts were said")
        facts = {
            "decision": str(self.decision_id), "by": self.by.id, "ord_status": self.ord_status,
            "cum_qty": plain(self.cum_qty),
            "avg_px": None if self.avg_px is None else plain(self.avg_px),
        }  # fmt: skip
        return Report(
            cl_ord_id=self.cl_ord_id, broker_order_id=self.broker_order_id,
            ord_status=self.ord_status, cum_qty=self.cum_qty, avg_px=self.avg_px, text=self.words,
            transact_time=self.at, raw=msgspec.json.encode(facts),
        )  # fmt: skip


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried of one attempt since it was last written. `asked`: how often since then."""

    cl_ord_id: str
    kind: DoubtKind
    since: datetime
    asked: int
    asked_at: datetime
    answer: str


async def write_tried(conn: Connection, tried: Sequence[Tried]) -> None:
    """Add what was tried. An attempt that is settled meanwhile is passed by."""
    if not tried:
        return
    values = {
        "names": [one.cl_ord_id for one in tried],
        "kinds": [one.kind for one in tried],
        "since": [one.since for one in tried],
        "asked": [one.asked for one in tried],
        "asked_at": [one.asked_at for one in tried],
        "answers": [one.answer.replace("\x00", "\N{REPLACEMENT CHARACTER}") for one in tried],
    }
    await conn.execute(_TRIED, values)


async def tell_old(
    conn: Connection, orders: Mapping[str, Order], now: datetime, before: datetime
) -> list[Entry]:
    """Mark those that began before `before` and that nobody was told of; one record for each."""
    values = {"names": sorted(orders), "now": now, "before": before}
    rows = await (await conn.execute(_OLD, values)).fetchall()
    return [_aged(orders[name], now, *facts) for name, *facts in rows]


async def pending(conn: Connection, names: Sequence[str]) -> dict[str, Decision]:
    """Decisions about these attempts that wait to be carried out."""
    rows = await (await conn.execute(_PENDING, (list(names),))).fetchall()
    return {row[1]: _decision(row) for row in rows}


async def decided(conn: Connection, names: Sequence[str]) -> dict[str, Decision]:
    """What was decided of these attempts and is not carried out; from here on nothing more is.

    The attempts' orders are locked by the caller.
    """
    shown = await (await conn.execute(_LOCKED, (sorted(names),))).fetchall()
    if not shown:
        return {}
    # A statement of its own: it sees what was decided while we waited for the doubts' locks.
    return await pending(conn, [row[0] for row in shown])


async def settle(
    conn: Connection,
    orders: Mapping[str, Order],
    decisions: Mapping[str, Decision],
    by: Iterable[UUID],
    now: datetime,
) -> list[Entry]:
    """These attempts are in doubt no more. `by`: decisions that said so; else their brokers did.

    A decision is carried out where it came so, whoever said it last: the broker that proves absent what
    a person said is absent has agreed. Every other one is void. `decisions`: of `decided`.
    """
    await conn.execute(_SETTLE, (now, sorted(orders)))
    said = set(by)
    carried = [
        one.decision_id
        for name, one in decisions.items()
        if name in orders and (one.decision_id in said or one.agrees(orders[name].state))
    ]
    if not decisions:
        return []
    rows = await (await conn.execute(_END, (now, carried, sorted(orders)))).fetchall()
    return [_ended(orders[row[1]], _decision(row), row[-1], now) for row in rows]


def said(decision: Decision) -> dict[str, Any]:
    """A decision as records and answers say it: decimals are text."""
    made = msgspec.to_builtins(decision, builtin_types=(datetime,))
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in made.items()
    }


def _decision(row: Sequence[Any]) -> Decision:
    return Decision(
        decision_id=row[0], cl_ord_id=row[1], verdict=row[2], again=row[3], broker_order_id=row[4],
        ord_status=None if row[5] is None else OrdState(row[5]), cum_qty=row[6], avg_px=row[7],
        reason=row[8], by=msgspec.convert(row[9], Actor), at=row[10],
    )  # fmt: skip


def _ended(order: Order, decision: Decision, state: str, now: datetime) -> Entry:
    """Carried out, or void because the broker was faster."""
    kind = Kind.DOUBT_CARRIED if state == "carried" else Kind.DOUBT_VOIDED
    facts = {
        "cl_ord_id": order.cl_ord_id, "decision": str(decision.decision_id),
        "verdict": decision.verdict, "state": order.state.value,
    }  # fmt: skip
    return _entry(kind, order, now, facts)


def _aged(
    order: Order, now: datetime, kind: str, since: datetime, asked: int, answer: str
) -> Entry:
    facts = {
        "cl_ord_id": order.cl_ord_id, "doubt": kind, "since": since.isoformat(), "asked": asked,
        "text": answer, "broker": order.broker, "symbol": order.symbol, "side": order.side,
        "order_qty": plain(order.order_qty), "strategy_id": str(order.strategy_id),
    }  # fmt: skip
    return _entry(Kind.DOUBT_AGED, order, now, facts)


def _entry(kind: Kind, order: Order, now: datetime, facts: dict[str, Any]) -> Entry:
    return Entry(
        kind=kind, ts_ns=int(now.timestamp() * 1_000_000) * 1000, payload=facts,
        oid=order.order_id, acct=str(order.account_id),
        actor=Actor(kind="algo", id="fanout"), cor=order.traceparent.split("-")[1],
    )  # fmt: skip
