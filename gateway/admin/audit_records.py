"""The tenant's audit log, searched: its records newest first, and one of them with what proves it.

What is shown of a record is what gateway/admin/event_kinds.py lets be told, to those whom it names; a record of a
kind that is told to nobody is shown with its head alone, and only to who may read the whole log (`audit:read`).
Of an order's records the broker's own answer is shown too, with whatever looks like a secret taken out.

The log has an index over orders and over places, and no other: a search by kind, account or signal looks through
STRETCH records for one page at most and says where to go on. So a page may be shorter than asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from audit import record, ring
from audit.logs import Log, read_logs
from audit.malformed import Malformed as MalformedLog
from audit.proving import commitment
from audit.receipts import EARLIER_S, first_at
from audit.record import Kind
from audit.worm.posix import PosixStore
from gateway.admin.errors import Malformed
from gateway.admin.event_feed import is_erased
from gateway.admin.event_kinds import TOLD, Group, alert_of, facts
from gateway.admin.event_kinds import told as told_of
from gateway.admin.heard import heard_of
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_cursor, write_cursor
from gateway.admin.receipts import proof_of
from tenancy.database import Connection
from tenancy.errors import NotFound, Unavailable
from tenancy.scope import TenantScope
from tenancy.values import whole

TAG = "Audit"
STRETCH = 20_000
"""Records that are looked through for one page."""
Index = Annotated[str, Meta(pattern=whole("[0-9]{1,15}"))]
Moment = Annotated[datetime, Meta(tz=True)]
OrderID = Annotated[str, Meta(pattern=whole("[!-.0-~]{1,100}"))]

_SIZE = "SELECT coalesce(max(i) + 1, 0) FROM audit_leaves WHERE log_id = %s"
_FIND = """
SELECT v.i, v.leaf, p.payload FROM audit_leaves v LEFT JOIN audit_payloads p ON p.log_id = v.log_id AND p.i = v.i
WHERE v.log_id = %(log)s AND v.i >= %(low)s AND v.i < %(high)s
  AND (convert_from(v.leaf, 'UTF8')::json ->> 'k') = ANY(%(kinds)s)
  AND (%(order)s::text IS NULL OR v.oid = %(order)s)
  AND (%(account)s::text IS NULL OR convert_from(v.leaf, 'UTF8')::json ->> 'acct' = %(account)s)
  AND (%(orders)s::text[] IS NULL OR v.oid = ANY(%(orders)s)
       OR (v.oid IS NULL AND convert_from(v.leaf, 'UTF8')::json ->> 'k' = ANY(%(of_signals)s)))
ORDER BY v.i DESC LIMIT %(limit)s"""
_ONE = """
SELECT v.leaf, p.payload FROM audit_leaves v LEFT JOIN audit_payloads p ON p.log_id = v.log_id AND p.i = v.i
WHERE v.log_id = %s AND v.i = %s"""
_ORDERS = "SELECT DISTINCT order_id FROM orders WHERE signal_id = %s"

OF_SIGNALS = tuple(kind for kind, told in TOLD.items() if "signal_id" in told.facts)
"""The kinds of records that name their signal in what they say."""


class RecordView(msgspec.Struct, frozen=True, kw_only=True):
    """One record as it may be told. `at`: when it happened; `recorded_at`: when it was recorded. `facts`: members
    of its payload; where its content was erased, that and the receipt. `heard`: the broker's answer in an
    order's record, without secrets."""

    index: int
    kind: str
    group: Group | None
    at: str
    recorded_at: str
    actor: dict[str, str]
    order_id: str | None
    account_id: str | None
    trace_id: str | None
    alert: str | None
    facts: dict[str, Any]
    heard: str | None


class RecordProof(RecordView, frozen=True, kw_only=True):
    """`leaf`: the record's bytes, as text. `proof`: tlog-proof@v1 to the newest published checkpoint; null while
    the record is above it. `payload`: what the leaf commits to, for who may read the whole log."""

    log: str
    leaf: str
    proof: str | None
    payload: str | None


class RecordQuery(PageQuery, frozen=True, kw_only=True):
    """Which records: of a kind, a group of kinds, a time, an order, an account, a signal."""

    kind: Kind | None = None
    group: Literal["signal", "order", "change", "alert"] | None = None
    since: Moment | None = None
    until: Moment | None = None
    order_id: OrderID | None = None
    account_id: UUID | None = None
    signal_id: UUID | None = None


class Stretch(msgspec.Struct, frozen=True):
    """Where to look for one page: indices from `low` up to `high`; `floor`: below it there is nothing to find."""

    low: int
    high: int
    floor: int


def stretch(floor: int, high: int, *, indexed: bool) -> Stretch:
    """The next stretch below `high`; all of it at once where an index leads to the rows. Pure."""
    high = max(floor, high)
    return Stretch(floor if indexed else max(floor, high - STRETCH), high, floor)


def after(where: Stretch, rows: Sequence[tuple[Any, ...]], limit: int) -> int | None:
    """Below which index the next page looks; None: there is nothing below. Pure."""
    if len(rows) == limit:
        last = int(rows[-1][0])
        return last if last > where.floor else None
    return where.low if where.low > where.floor else None


def may_hear(actions: Collection[str], kind: str) -> bool:
    """Whether the caller may hear of such records."""
    told = told_of(kind)
    return (told.action if told is not None else "audit:read") in actions


def kinds_for(actions: Collection[str], query: RecordQuery) -> list[str]:
    """Which kinds the caller may hear of, among those asked for."""
    found = []
    for kind in Kind:
        told = TOLD.get(kind)
        if not may_hear(actions, kind):
            continue
        if query.kind is not None and query.kind != kind:
            continue
        if query.group is not None and (told is None or told.group != query.group):
            continue
        found.append(kind.value)
    return found


def view(leaf: bytes, payload: bytes | None) -> RecordView:
    """A row of the log, as it may be told. Pure. Raises Malformed for what is no leaf."""
    members = record.read(leaf).members
    kind = members["k"]
    said = msgspec.json.decode(payload) if payload else {}
    told = told_of(kind)
    alert = alert_of(kind, said)
    return RecordView(
        index=members["i"], kind=kind, group=None if told is None else told.group, at=members["ts"],
        recorded_at=members["rt"], actor=members["act"], order_id=members.get("oid"),
        account_id=members.get("acct"), trace_id=members.get("cor"),
        alert=None if alert is None else alert.name,
        facts=said if is_erased(said) else facts(kind, said), heard=heard_of(kind, said),
    )  # fmt: skip


async def log_of(call: Call) -> Log:
    """The tenant's own log. Raises NotFound."""
    logs = await read_logs(call.conn)
    if not logs:
        raise NotFound("this tenant has no audit log")
    return logs[0]


async def _list(call: Call) -> Result:
    logs = await read_logs(call.conn)
    if not logs:  # a house without a log yet has no records
        return Result(content=Page[RecordView](items=[]))
    found = await search(call.conn, call.scope, logs[0], call.query, call.principal.actions)
    return Result(content=found)


async def search(
    conn: Connection, scope: TenantScope, log: Log, query: RecordQuery, actions: Collection[str]
) -> Page[RecordView]:
    """One page of what somebody with these actions may hear of. Raises Malformed for a cursor of nobody's."""
    where = await _where(conn, log, query)
    orders = await _orders(conn, query.signal_id)
    values = {
        "log": log.log_id, "low": where.low, "high": where.high, "limit": query.limit,
        "kinds": kinds_for(actions, query), "order": query.order_id,
        "account": None if query.account_id is None else str(query.account_id),
        "orders": orders, "of_signals": list(OF_SIGNALS),
    }  # fmt: skip
    rows = await (await conn.execute(_FIND, values)).fetchall()
    stored = [(payload, commitment(leaf)) for _, leaf, payload in rows]
    payloads = await ring.shown(scope.tenant_id, stored)
    items = [
        view(leaf, payload)
        for (_, leaf, _), payload in zip(rows, payloads, strict=True)
        if query.signal_id is None or _is_of(leaf, payload, str(query.signal_id))
    ]
    below = after(where, rows, query.limit)
    return Page(items=items, next=None if below is None else write_cursor(str(below)))


async def _where(conn: Connection, log: Log, query: RecordQuery) -> Stretch:
    high = _place(read_cursor(query.cursor))
    if high is None:
        row = await (await conn.execute(_SIZE, (log.log_id,))).fetchone()
        high = 0 if row is None else int(row[0])
        if query.until is not None:
            high = await first_at(conn, log, high, _ns(query.until))
    floor = 0
    since = query.since
    if query.signal_id is not None:  # a UUIDv7 says when it was received; nothing of it is older
        ms = (query.signal_id.int >> 80) - EARLIER_S * 1000
        made = datetime.fromtimestamp(max(0, ms) / 1000, UTC) if ms < 10**13 else None
        since = max(filter(None, (since, made)), default=None)
    if since is not None:
        floor = await first_at(conn, log, high, _ns(since))
    return stretch(floor, high, indexed=query.order_id is not None)


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdecimal() or len(cursor) > 15:
        raise Malformed("cursor: take it from `next` of the page before, unchanged", field="cursor")
    return int(cursor)


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


async def _orders(conn: Connection, signal: UUID | None) -> list[str] | None:
    if signal is None:
        return None
    rows = await (await conn.execute(_ORDERS, (signal,))).fetchall()
    return [row[0] for row in rows]


def _is_of(leaf: bytes, payload: bytes | None, signal: str) -> bool:
    """An order's record was found by its order; any other one says itself of which signal it is."""
    if record.read(leaf).oid is not None:
        return True
    said: Mapping[str, Any] = msgspec.json.decode(payload) if payload else {}
    return bool(said.get("signal_id") == signal)


async def _get(call: Call) -> Result:
    log, index = await log_of(call), int(call.path["index"])
    row = await (await call.conn.execute(_ONE, (log.log_id, index))).fetchone()
    if row is None:
        raise NotFound(f"the log has no record {index}")
    leaf, stored = bytes(row[0]), row[1]
    (payload,) = await ring.shown(call.scope.tenant_id, [(stored, commitment(leaf))])
    shown = view(leaf, payload)
    if not may_hear(call.principal.actions, shown.kind):
        raise NotFound(f"record {index} is not yours to read")
    whole = payload is not None and "audit:read" in call.principal.actions
    erased = shown.facts.get("erased") is True
    content = RecordProof(
        **msgspec.structs.asdict(shown), log=log.origin, leaf=leaf.decode(),
        proof=await _proof(call, log, index, leaf),
        payload=payload.decode() if whole and payload is not None and not erased else None,
    )  # fmt: skip
    return Result(content=content)


async def _proof(call: Call, log: Log, index: int, leaf: bytes) -> str | None:
    """None where the log's files are not here, or the record is above the published size."""
    if call.services.audit_store is None:
        return None
    store = PosixStore(call.services.audit_store / str(log.log_id))
    try:
        return await asyncio.to_thread(proof_of, store, log, index, leaf)
    except (MalformedLog, OSError) as error:
        raise Unavailable(f"the log's files do not prove record {index}: {error}") from error


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_audit_records", method="GET", path="/v1/audit/records", tag=TAG,
        action="events:read", handle=_list, query=RecordQuery, answer=Page[RecordView],
        summary="Search the audit log: by kind, time, order, account or signal, newest first.",
        detail="What of a record is told, and to whom, is as in the live events. A page may be shorter than asked"
        " for, or empty; go on while there is a `next`.",
    ),
    Operation(
        name="get_audit_record", method="GET", path="/v1/audit/records/{index}", tag=TAG,
        action="events:read", handle=_get, answer=RecordProof, places={"index": Index},
        summary="Read one record of the audit log by its index, with its proof.",
        problems=("not_found", "unavailable"),
    ),
)  # fmt: skip
