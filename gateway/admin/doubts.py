"""Doubt: which orders nobody can tell about, since when, what was tried, and a person's decision.

An attempt is here while its lane stands still (`in_doubt`: perhaps the broker has it), or while it
closes a position and cannot be sent (`stuck`). The worker that owns the lane writes what it tries
(fanout/doubts.py); this process reads it, and writes what a person decides:

1. The doubt's row locked, the decision, its revision and its records, in one transaction; where the
   tenant wants four eyes for `doubt`, a proposal instead. *Crash before: nothing.*
2. The lane's owner asks the broker once more, and then carries the decision out, or finds that the
   broker was faster: then the decision is `void`. *Crash between: it waits for the next owner.*

This process settles nothing by itself, so a decision and the broker's own word are never both done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from psycopg.rows import dict_row

from audit.inbox import Entry, append
from audit.record import Kind
from fanout.doubt_rows import DoubtKind, Verdict
from fanout.order import OrdState
from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.deciding import deciding_person
from gateway.admin.errors import Malformed
from gateway.admin.listing import Word
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_cursor, write_cursor
from tenancy.errors import Conflict, Invalid, NotFound
from tenancy.store.documents import Table
from tenancy.values import Positive, exact, plain, positive, whole

TAG = "Doubt"
Reason = Annotated[str, Meta(min_length=1, max_length=1000, description="Why; kept for good.")]
SaidStatus = Literal["new", "partially_filled", "filled", "canceled", "expired", "rejected"]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=whole("[0-9a-zA-Z.]+"))]

SETTLED_BY: Mapping[DoubtKind, str] = {
    "in_doubt": "The broker's word about it: that it has the order, or a proof that it does not and never will."
    " Or a person's, who has looked at the broker: `absent`, or `exists` with the facts.",
    "stuck": "The broker taking or refusing the order. Or a person's `stop`: then it is not sent any more, and its"
    " position stays as it is.",
}


class Decided(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of an attempt. `absent`: it does not exist (`again`: make another attempt, if it closes
    or its deadline is not over). `exists`: the broker has it, with these facts. `stop`: try no more."""

    verdict: Verdict
    reason: Reason
    again: bool = False
    broker_order_id: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    ord_status: SaidStatus | None = None
    cum_qty: Annotated[Decimal, Meta(extra_json_schema={"minimum": 0})] | None = None
    """Lots that are filled, in all."""
    avg_px: Positive | None = None

    def __post_init__(self) -> None:
        facts = (self.broker_order_id, self.ord_status, self.cum_qty, self.avg_px)
        if self.verdict != "exists" and any(fact is not None for fact in facts):
            raise ValueError("verdict: facts of an order go with `exists` alone")
        if self.verdict == "exists" and None in facts[:3]:
            raise ValueError("verdict: `exists` needs broker_order_id, ord_status and cum_qty")
        if self.again and self.verdict != "absent":
            raise ValueError("again: goes with `absent` alone")
        if self.cum_qty is not None:
            if exact(self.cum_qty, "cum_qty") < 0:
                raise ValueError("cum_qty: must not be less than 0")
            if (self.cum_qty > 0) != (self.avg_px is not None):
                raise ValueError("avg_px: the average price of what is filled, and of nothing else")
        if self.avg_px is not None:
            positive(self.avg_px, "avg_px")


class DecisionDocument(Decided, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision and the attempt that it is about."""

    cl_ord_id: str


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """`pending`: its worker has not carried it out yet. `void`: the broker itself was faster; nothing was done."""

    decision_id: UUID
    verdict: Verdict
    again: bool
    broker_order_id: str | None
    ord_status: str | None
    cum_qty: str | None
    avg_px: str | None
    reason: str
    decided_by: dict[str, Any]
    approved_by: dict[str, Any] | None
    decided_at: datetime
    state: Literal["pending", "carried", "void"]
    settled_at: datetime | None


class DoubtView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. `why`: what became of the request; `asked`: how often the broker was asked since (`stuck`: how
    often it was tried), `answer`: what came of the last time. `settled_at`: it is over, and `status` says how."""

    cl_ord_id: str
    order_id: str
    kind: DoubtKind
    since: datetime
    age_s: float
    why: str | None
    asked: int
    asked_at: datetime | None
    answer: str | None
    settles: str
    """What would settle it, in a sentence."""
    another_attempt: bool
    """Whether one may still follow once it is known to be absent."""
    signal_id: UUID
    strategy_id: UUID
    account_id: UUID
    broker: str
    symbol: str
    side: str
    order_qty: str
    ord_type: str
    price: str | None
    reduce_only: bool
    leg: int
    attempt: int
    deadline: datetime
    sent_at: datetime | None
    status: OrdState
    settled_at: datetime | None
    decision: DecisionView | None


class DoubtQuery(PageQuery, frozen=True, kw_only=True):
    """Which. `older_than_s`: in doubt for longer. `settled`: also what is over."""

    kind: DoubtKind | None = None
    broker: Word | None = None
    account_id: UUID | None = None
    strategy_id: UUID | None = None
    older_than_s: Annotated[int, Meta(ge=0, le=31_536_000)] | None = None
    settled: bool = False


_DECISION = (
    "decision_id", "verdict", "again", "broker_order_id", "ord_status", "cum_qty", "avg_px", "reason",
    "decided_by", "approved_by", "decided_at", "state", "settled_at",
)  # fmt: skip
_SELECT = f"""
SELECT d.cl_ord_id, d.kind, d.since, d.asked, d.asked_at, d.answer, d.settled_at, o.order_id, o.text AS why,
       o.signal_id, o.strategy_id, o.account_id, o.broker, o.symbol, o.side, o.order_qty, o.ord_type, o.price,
       o.reduce_only, o.leg, o.attempt, o.deadline, o.sent_at, o.state AS status,
       {", ".join(f"w.{name} AS w_{name}" for name in _DECISION)}
FROM doubts d JOIN orders o USING (cl_ord_id) LEFT JOIN doubt_decisions w
     ON w.tenant_id = d.tenant_id AND w.cl_ord_id = d.cl_ord_id"""  # noqa: S608 - constants only
_LIST = f"""{_SELECT}
WHERE (d.settled_at IS NULL OR %(settled)s)
  AND (%(kind)s::text IS NULL OR d.kind = %(kind)s)
  AND (%(broker)s::text IS NULL OR o.broker = %(broker)s)
  AND (%(account)s::uuid IS NULL OR o.account_id = %(account)s)
  AND (%(strategy)s::uuid IS NULL OR o.strategy_id = %(strategy)s)
  AND (%(until)s::timestamptz IS NULL OR d.since <= %(until)s)
  AND (%(since)s::timestamptz IS NULL OR (d.since, d.cl_ord_id) > (%(since)s, %(name)s))
ORDER BY d.since, d.cl_ord_id LIMIT %(limit)s"""
_ONE = f"{_SELECT} WHERE d.cl_ord_id = %s"
_LOCK = """
SELECT d.settled_at, d.kind, o.order_qty, o.order_id, o.account_id, o.traceparent
FROM doubts d JOIN orders o USING (cl_ord_id) WHERE d.cl_ord_id = %s FOR UPDATE OF d"""


async def _locked(who: By, cl_ord_id: str) -> tuple[Any, ...]:
    """The doubt, which nobody settles before this transaction's end. Raises NotFound, Conflict."""
    row = await (await who.conn.execute(_LOCK, (cl_ord_id,))).fetchone()
    if row is None:
        raise NotFound(f"no order {cl_ord_id} was in doubt in this tenant")
    if row[0] is not None:
        raise Conflict(f"{cl_ord_id} is in doubt no more since {row[0]}: read it again")
    return row


async def _check(who: By, before: Any, after: DecisionDocument | None) -> None:
    if after is None:
        return
    _, kind, order_qty, *_ = await _locked(who, after.cl_ord_id)
    if kind == "stuck" and after.verdict != "stop":
        raise Conflict(
            f"{after.cl_ord_id} was not sent: it cannot be {after.verdict}; only `stop` is for a person to say"
        )
    if after.ord_status is not None and after.cum_qty is not None:
        _fits(after.ord_status, after.cum_qty, order_qty)


def _fits(status: str, cum_qty: Decimal, order_qty: Decimal) -> None:
    """Raises Invalid where a status and what is filled contradict each other."""
    right = {
        "new": cum_qty == 0,
        "rejected": cum_qty == 0,
        "filled": cum_qty == order_qty,
        "partially_filled": 0 < cum_qty < order_qty,
    }.get(status, cum_qty < order_qty)
    if not right:
        raise Invalid(
            f"cum_qty: an order of {plain(order_qty)} that is {status} has not filled {plain(cum_qty)}",
            field="cum_qty",
        )


async def _columns(who: By, object_id: UUID | str, document: Any) -> Mapping[str, Any]:
    return {
        "decided_by": msgspec.json.encode(who.scope.actor).decode(),
        "approved_by": None if who.approved_by is None
        else msgspec.json.encode(who.approved_by).decode(),
        "decided_at": who.services.clock.now(),
    }  # fmt: skip


async def _follow(who: By, object_id: str, before: Any, after: DecisionDocument | None) -> None:
    """The doubt says that it is decided, and the order's story does."""
    assert after is not None
    now = who.services.clock.now()
    _, _, _, order_id, account_id, traceparent = await _locked(who, after.cl_ord_id)
    await who.conn.execute(
        "UPDATE doubts SET decided_at = %s WHERE cl_ord_id = %s", (now, after.cl_ord_id)
    )
    facts = {
        **msgspec.to_builtins(after), "decision": object_id,
        "proposal": None if who.proposal is None else str(who.proposal),
        "approved_by": changes.plain(who.approved_by),
    }  # fmt: skip
    entry = Entry(
        kind=Kind.DOUBT_DECIDED, ts_ns=who.services.clock.now_ns(), payload=facts,
        actor=who.scope.actor, oid=order_id, acct=str(account_id), cor=traceparent.split("-")[1],
    )  # fmt: skip
    await append(who.conn, [(who.scope.tenant_id, entry)])


DOUBT_DECISION: ObjectKind[DecisionDocument] = ObjectKind(
    name="doubt_decision",
    table=Table(
        noun="decision about doubt",
        table="doubt_decisions",
        key="decision_id",
        document=DecisionDocument,
        facts=("state",),
        fixed=frozenset(DecisionDocument.__struct_fields__),
        archived="",
        names={"doubt_decided_once": "somebody has decided about this already"},
        write_as={"decided_by": "%s::jsonb", "approved_by": "%s::jsonb"},
    ),
    check=_check,
    columns=_columns,
    follow=_follow,
    danger=lambda before, after, facts: frozenset({"doubt"}),
)


async def _list(call: Call) -> Result:
    query: DoubtQuery = call.query
    now = call.services.clock.now()
    since, name = _place(query.cursor)
    until = None if query.older_than_s is None else now - timedelta(seconds=query.older_than_s)
    values = {
        "settled": query.settled, "kind": query.kind, "broker": query.broker,
        "account": query.account_id, "strategy": query.strategy_id, "until": until,
        "since": since, "name": name, "limit": query.limit,
    }  # fmt: skip
    cursor = call.conn.cursor(row_factory=dict_row)
    rows = await (await cursor.execute(_LIST, values)).fetchall()
    more = None
    if len(rows) == query.limit:
        more = write_cursor(f"{rows[-1]['since'].isoformat()} {rows[-1]['cl_ord_id']}")
    return Result(content=Page(items=[_view(row, now) for row in rows], next=more))


def _place(cursor: str | None) -> tuple[datetime | None, str | None]:
    text = read_cursor(cursor)
    if text is None:
        return None, None
    since, _, name = text.rpartition(" ")
    try:
        return datetime.fromisoformat(since), name
    except ValueError:
        raise Malformed(
            "cursor: take it from `next` of the page before, unchanged", field="cursor"
        ) from None


async def _get(call: Call) -> Result:
    return Result(content=await _read(call, call.path["cl_ord_id"]))


async def _read(call: Call, cl_ord_id: str) -> DoubtView:
    cursor = call.conn.cursor(row_factory=dict_row)
    row = await (await cursor.execute(_ONE, (cl_ord_id,))).fetchone()
    if row is None:
        raise NotFound(f"no order {cl_ord_id} was in doubt in this tenant")
    return _view(row, call.services.clock.now())


def _view(row: Mapping[str, Any], now: datetime) -> DoubtView:
    members = {n: _text(v) for n, v in row.items() if not n.startswith("w_")}
    kind: DoubtKind = row["kind"]
    decision = None
    if row["w_decision_id"] is not None:
        decision = DecisionView(**{name: _text(row[f"w_{name}"]) for name in _DECISION})
    ended = row["settled_at"] or now
    return DoubtView(
        **members, decision=decision, settles=SETTLED_BY[kind],
        age_s=round((ended - row["since"]).total_seconds(), 3),
        another_attempt=row["reduce_only"] or now < row["deadline"],
    )  # fmt: skip


def _text(value: Any) -> Any:
    return plain(value) if isinstance(value, Decimal) else value


async def _decide(call: Call) -> Result:
    deciding_person(call.principal)
    said: Decided = call.body
    cl_ord_id = call.path["cl_ord_id"]
    document = DecisionDocument(cl_ord_id=cl_ord_id, **msgspec.structs.asdict(said))
    author = msgspec.structs.replace(by(call), why=said.reason)
    _, made = await changes.create(author, DOUBT_DECISION, document)
    if made.proposal is not None:
        return Result(
            status=202, content=Proposed(proposal_id=made.proposal),
            location=f"/v1/proposals/{made.proposal}",
        )  # fmt: skip
    return Result(content=await _read(call, cl_ord_id), location=f"/v1/doubts/{cl_ord_id}")


PLACES: Mapping[str, Any] = {"cl_ord_id": Name}

OPERATIONS: Sequence[Operation] = (
    Operation(
        name="list_doubts", method="GET", path="/v1/doubts", tag=TAG, action="orders:read",
        summary="Orders in doubt, and closing orders that cannot be sent; the oldest first.",
        handle=_list, query=DoubtQuery, answer=Page[DoubtView],
    ),
    Operation(
        name="get_doubt", method="GET", path="/v1/doubts/{cl_ord_id}", tag=TAG, action="orders:read",
        summary="What is in doubt about an order: since when, what was tried, what would settle it.",
        handle=_get, answer=DoubtView, problems=("not_found",), places=PLACES,
    ),
    Operation(
        name="decide_doubt", method="POST", path="/v1/doubts/{cl_ord_id}/decision", tag=TAG,
        action="doubts:decide",
        summary="Say what became of an order in doubt, in its broker's place, or stop a closing order's tries.",
        detail="Look at the broker first: what you say is booked as if the broker had said it. The worker that"
        " owns the order asks the broker once more and then carries it out; if the broker answers, its word"
        " counts and the decision is `void`. Only a person decides, once.",
        handle=_decide, body=Decided, answer=DoubtView, status=201, also={202: Proposed},
        problems=("not_found", "conflict", "person_needed"), places=PLACES,
    ),
)  # fmt: skip
