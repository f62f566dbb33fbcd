"""The one way in which anything that people set up changes: checked, agreed, versioned, audited.

In the caller's transaction, in this order:

1. What the kind of object demands beyond its schema (a broker that exists, a parameter that something sets).
2. Four eyes: a change of a category that the tenant guards is tried, taken back and becomes a
   proposal, and nothing else happens. An approved proposal comes here again with `by.proposal`, and passes.
3. The row, at the revision that the change was made for; else Stale.
4. A row of `revisions`: before, after, who, why.
5. The audit record of the same.

All of it commits together or not at all; a crash anywhere before the commit leaves the object, its
history and the log as they were. PATCH, rollback, an approval, a declared configuration and the
kill switch are all this path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from audit.sealing import person
from gateway.admin.operation import Call, Services
from tenancy.database import Connection
from tenancy.errors import Conflict, Invalid
from tenancy.four_eyes import asked
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.store import documents
from tenancy.store.documents import Stored, Table
from tenancy.store.tenants import read_settings
from tenancy.tenant import TenantSettings

D = TypeVar("D", bound=msgspec.Struct)
Verb = Literal["create", "change", "remove", "state", "erase"]


class By(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes something, why, and in which transaction.

    `actions`: what they may do, for nobody gives more than they have. `proposal`: the approved one
    that this change comes from; what its author was checked for then is not checked again.
    A proposal's change is its proposer's (`scope.actor`); `approved_by` is who said yes to it.
    """

    scope: TenantScope
    conn: Connection
    services: Services
    why: str = ""
    trace_id: str = ""
    actions: frozenset[str] = frozenset()
    proposal: UUID | None = None
    approved_by: Actor | None = None
    settings: TenantSettings | None = None


class Change(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """What is wanted. `base` 0: there is no such object yet. `extra`: columns beside the document."""

    verb: Verb
    kind: ObjectKind[D]
    object_id: str
    base: int
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: a new revision, or a proposal that waits for a second person."""

    revision: int = 0
    proposal: UUID | None = None


Check = Callable[[By, Any, Any], Awaitable[None]]
Beside = Callable[[By, Any, Any], Awaitable[Mapping[str, Any]]]
Columns = Callable[[By, UUID | str, Any], Awaitable[Mapping[str, Any]]]
Danger = Callable[[Any, Any, Mapping[str, Any]], frozenset[str]]


async def _no_check(by: By, before: Any, after: Any) -> None:
    return None


async def _nothing_beside(by: By, before: Any, after: Any) -> Mapping[str, Any]:
    return {}


async def _no_columns(by: By, object_id: UUID | str, document: Any) -> Mapping[str, Any]:
    return {}


def _no_danger(before: Any, after: Any, facts: Mapping[str, Any]) -> frozenset[str]:
    return frozenset()


class ObjectKind(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """A kind of object: its table, what it demands, and which categories of four eyes a change touches.

    `check(by, before, after)` raises Invalid or Conflict; before and after are documents or None.
    `danger(before, after, facts)`: the facts are the row's, and what `beside(by, before, after)`
    reads elsewhere (is the account of this subscription live?). `columns(by, id, document)`:
    columns of a new row that are no part of its document. `follow(by, id, before, after)` comes
    after the write of a document, in its transaction, and may refuse it too: what a change leaves
    behind is seen best when it is there.
    """

    name: str
    table: Table[D]
    check: Check = _no_check
    danger: Danger = _no_danger
    beside: Beside = _nothing_beside
    columns: Columns = _no_columns
    follow: Callable[[By, str, Any, Any], Awaitable[None]] | None = None
    make_id: Callable[[], UUID | str] = new_id


def by(call: Call) -> By:
    """The author of a change that a request asks for."""
    return By(
        scope=call.scope,
        conn=call.conn,
        services=call.services,
        why=call.why,
        trace_id=call.trace_id,
        actions=call.principal.actions,
    )


async def create(
    by: By,
    kind: ObjectKind[D],
    document: D,
    object_id: UUID | str = "",
    extra: Mapping[str, Any] | None = None,
) -> tuple[str, Made]:
    """A new object; its id, and what became of it.

    `extra`: columns in place of the kind's own, for what no proposal can carry (a secret's digest).
    """
    object_id = object_id or kind.make_id()
    await kind.check(by, None, document)
    change = Change(
        verb="create", kind=kind, object_id=str(object_id), base=0, before=None,
        after=plain(document),
    )  # fmt: skip

    async def write() -> int:
        columns = {**await kind.columns(by, object_id, document), **(extra or {})}
        await documents.insert(by.conn, by.scope, kind.table, object_id, document, columns)
        return 1

    dangers = await _danger(by, kind, None, document, {})
    return str(object_id), await _done(by, change, dangers, write, (None, document))


async def change(by: By, kind: ObjectKind[D], stored: Stored[D], document: D) -> Made:
    """Another document in place of the one that was read. The same document again changes nothing."""
    if document == stored.document:
        return Made(revision=stored.revision)
    keeps(kind.table, stored, document)
    await kind.check(by, stored.document, document)
    change = Change(
        verb="change", kind=kind, object_id=stored.object_id, base=stored.revision,
        before=plain(stored.document), after=plain(document),
    )  # fmt: skip

    async def write() -> int:
        return await documents.write(
            by.conn, kind.table, stored.object_id, document, stored.revision
        )

    dangers = await _danger(by, kind, stored.document, document, stored.facts)
    return await _done(by, change, dangers, write, (stored.document, document))


async def remove(by: By, kind: ObjectKind[D], stored: Stored[D]) -> Made:
    """Archive the object (or delete it where its table keeps no history)."""
    await kind.check(by, stored.document, None)
    change = Change(
        verb="remove", kind=kind, object_id=stored.object_id, base=stored.revision,
        before=plain(stored.document), after=None,
    )  # fmt: skip

    async def write() -> int:
        return await documents.archive(by.conn, kind.table, stored.object_id, stored.revision)

    dangers = await _danger(by, kind, stored.document, None, stored.facts)
    return await _done(by, change, dangers, write, (stored.document, None))


async def put_fact(
    by: By,
    kind: ObjectKind[D],
    stored: Stored[D],
    column: str,
    value: Any,
    categories: frozenset[str],
) -> Made:
    """Change one column that is no part of the document (a trading state, a revocation)."""
    if stored.facts[column] == value:
        return Made(revision=stored.revision)
    change = Change(
        verb="state", kind=kind, object_id=stored.object_id, base=stored.revision,
        before={column: stored.facts[column]}, after={column: value},
    )  # fmt: skip

    async def write() -> int:
        return await documents.put_fact(
            by.conn, kind.table, stored.object_id, column, value, stored.revision
        )

    record = Kind.KILL_SWITCH if column == "state" else Kind.ADMIN_CHANGE
    return await _done(by, change, categories, write, None, record)


async def _done(
    by: By,
    change: Change[D],
    categories: frozenset[str],
    write: Callable[[], Awaitable[int]],
    ends: tuple[D | None, D | None] | None,
    record: Kind = Kind.ADMIN_CHANGE,
) -> Made:
    """The change itself; or a proposal, after the change was tried and taken back.

    What cannot be done is said to its author, not to the second person after their yes. `ends`: the
    document before and after; None where it is not the document that changes.
    """
    reasons = await waits(by, categories)
    if not reasons:
        made = await _kept(by, change, await write(), record)
        await _follow(by, change, ends)
        return made
    async with by.conn.transaction(force_rollback=True):
        await write()
        await _follow(by, change, ends)
    return await propose(by, change, reasons)


async def _follow(by: By, change: Change[D], ends: tuple[D | None, D | None] | None) -> None:
    if change.kind.follow is not None and ends is not None:
        await change.kind.follow(by, change.object_id, *ends)


def keeps(table: Table[D], stored: Stored[D], document: D) -> None:
    """Raises Conflict for history, Invalid for another value of what is fixed."""
    if table.archived and stored.facts.get(table.archived) is not None:
        raise Conflict(f"the {table.noun} is history since {stored.facts[table.archived]}")
    for name in table.fixed:
        if getattr(document, name) != getattr(stored.document, name):
            raise Invalid(f"{name}: the {table.noun} keeps it; make another one", field=name)


async def _danger(
    by: By, kind: ObjectKind[D], before: D | None, after: D | None, facts: Mapping[str, Any]
) -> frozenset[str]:
    return kind.danger(before, after, {**facts, **await kind.beside(by, before, after)})


def plain(document: msgspec.Struct | None) -> dict[str, Any] | None:
    """A document as JSON has it."""
    return None if document is None else msgspec.to_builtins(document)


async def _kept(by: By, change: Change[D], revision: int, record: Kind) -> Made:
    await by.conn.execute(
        "INSERT INTO revisions (tenant_id, kind, object_id, revision, before, after, actor, why,"
        " proposal_id) VALUES (%s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb, %s, %s)",
        (
            by.scope.tenant_id, change.kind.name, change.object_id, revision, _json(change.before),
            _json(change.after), _json(by.scope.actor), by.why, by.proposal,
        ),
    )  # fmt: skip
    await record_change(
        by, record,
        payload(by, change.kind.name, change.object_id, revision, change.before, change.after),
    )  # fmt: skip
    return Made(revision=revision)


def payload(
    by: By, kind: str, object_id: str, revision: int, before: Any, after: Any
) -> dict[str, Any]:
    """What the audit record of a change says."""
    return {
        "object": kind, "id": object_id, "revision": revision, "before": before, "after": after,
        "why": by.why, "proposal": str(by.proposal) if by.proposal else None,
        "approved_by": plain(by.approved_by),
    }  # fmt: skip


async def record_change(
    by: By, kind: Kind, payload: dict[str, Any], subject: str | None = None
) -> bytes:
    """One record in the tenant's audit log, in this transaction; its commitment.

    `subject`: under whose key the payload lies; None: of a change to a person that person's, else as
    audit.inbox has it.
    """
    entry = Entry(
        kind=kind,
        ts_ns=by.services.clock.now_ns(),
        payload=payload,
        actor=by.scope.actor,
        cor=by.trace_id,
        cls="admin",
        subject=subject or (_subject(payload) if kind is Kind.ADMIN_CHANGE else None),
    )
    return (await append(by.conn, [(by.scope.tenant_id, entry)]))[0]


def _subject(payload: Mapping[str, Any]) -> str | None:
    if payload.get("object") == "person" and payload.get("id"):
        return person(payload["id"])
    return None


async def waits(by: By, categories: frozenset[str]) -> frozenset[str]:
    """Those of the categories for which this tenant wants a second person, who has not agreed yet."""
    if by.proposal is not None or not categories:
        return frozenset()
    settings = by.settings or await read_settings(by.conn, by.scope.tenant_id)
    return asked(categories, frozenset(settings.four_eyes))


async def propose(by: By, change: Change[D], reasons: frozenset[str]) -> Made:
    """A proposal in place of the change, whatever the tenant says of four eyes."""
    settings = by.settings or await read_settings(by.conn, by.scope.tenant_id)
    proposal = new_id()
    now: datetime = by.services.clock.now()
    await by.conn.execute(
        "INSERT INTO proposals (proposal_id, tenant_id, reasons, operation, kind, object_id, base,"
        " before, after, comment, proposed_by, proposed_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s, %s::jsonb, %s, %s)",
        (
            proposal, by.scope.tenant_id, sorted(reasons), change.verb, change.kind.name,
            change.object_id, change.base, _json(change.before), _json(change.after), by.why,
            _json(by.scope.actor), now, now + timedelta(hours=settings.proposal_hours),
        ),
    )  # fmt: skip
    await record_change(by, Kind.APPROVAL_ASKED, {
        "proposal": str(proposal), "reasons": sorted(reasons), "operation": change.verb,
        "object": change.kind.name, "id": change.object_id, "before": change.before,
        "after": change.after, "why": by.why,
    })  # fmt: skip
    return Made(proposal=proposal)


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
