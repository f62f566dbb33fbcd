"""Many changes of one kind of object at once: the steps of gateway/admin/changes.py, each for all.

In the caller's transaction: what the kind demands, the rows, a row of `revisions` for each, one
append of audit records for all, what follows. Whether a second person is asked is decided before,
for all of them together (`reasons`): nothing here becomes a proposal half-way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn
from uuid import UUID

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind, plain
from gateway.admin.errors import Malformed
from tenancy.errors import Conflict, Invalid, NotFound, PortcullisError, Stale
from tenancy.store import batches
from tenancy.store.documents import Stored

AT_ONCE = 500
"""Rows in one statement, and records in one append."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One object that begins (`stored` None), changes, or ends (`document` None).

    `place` says where somebody asked for it: `accounts[3]`.
    """

    kind: ObjectKind[Any]
    object_id: UUID | str
    stored: Stored[Any] | None
    document: Any
    place: str

    @property
    def before(self) -> Any:
        return self.stored.document if self.stored is not None else None

    @property
    def revision(self) -> int:
        return (self.stored.revision if self.stored is not None else 0) + 1


async def reasons(by: By, wanted: Sequence[Wanted]) -> frozenset[str]:
    """For which a second person is asked, all changes together. Empty where nobody is."""
    found: frozenset[str] = frozenset()
    for one in wanted:
        facts = one.stored.facts if one.stored is not None else {}
        beside = await one.kind.beside(by, one.before, one.document)
        found |= one.kind.danger(one.before, one.document, {**facts, **beside})
    return await changes.waits(by, found)


async def check(by: By, wanted: Sequence[Wanted]) -> None:
    """What the kinds demand. Raises what they raise, with the place."""
    for one in wanted:
        try:
            if one.stored is not None and one.document is not None:
                changes.keeps(one.kind.table, one.stored, one.document)
            await one.kind.check(by, one.before, one.document)
        except PortcullisError as error:
            _at(one.place, error)


async def carry_out(by: By, kind: ObjectKind[Any], wanted: Sequence[Wanted]) -> None:
    """Write them all. Raises Conflict, Invalid, Stale with the place where it can be known."""
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        try:
            async with by.conn.transaction():  # a savepoint: what failed can be looked for
                await _write(by, kind, some)
        except (Conflict, Invalid, NotFound):
            await _find(by, kind, some)
            raise
        await _keep(by, some)
        await _follow(by, some)


async def _write(by: By, kind: ObjectKind[Any], some: Sequence[Wanted]) -> None:
    new = [
        batches.New(
            object_id=str(one.object_id), document=one.document,
            extra=await kind.columns(by, one.object_id, one.document),
        )
        for one in some if one.stored is None
    ]  # fmt: skip
    await batches.insert_all(by.conn, by.scope, kind.table, new)
    there = [(one.stored, one.document) for one in some if one.stored is not None]
    await batches.write_all(by.conn, kind.table, [(s, d) for s, d in there if d is not None])
    await batches.archive_all(by.conn, kind.table, [s for s, d in there if d is None])


async def _find(by: By, kind: ObjectKind[Any], some: Sequence[Wanted]) -> None:
    """Which of them cannot be written: each once more alone, until one fails. Nothing of it stays."""
    for one in some:
        try:
            async with by.conn.transaction():
                await _write(by, kind, [one])
        except (Conflict, Invalid, NotFound) as error:
            _at(one.place, error)


async def _keep(by: By, some: Sequence[Wanted]) -> None:
    """The history, and the audit records."""
    rows = [
        {
            "tenant_id": by.scope.tenant_id, "kind": one.kind.name, "object_id": str(one.object_id),
            "revision": one.revision, "before": plain(one.before), "after": plain(one.document),
            "actor": by.scope.actor, "why": by.why, "proposal_id": by.proposal,
        }
        for one in some
    ]  # fmt: skip
    await by.conn.execute(
        "INSERT INTO revisions (tenant_id, kind, object_id, revision, before, after, actor, why,"
        " proposal_id) SELECT tenant_id, kind, object_id, revision, nullif(before, 'null'),"
        " nullif(after, 'null'), actor, why, proposal_id"
        " FROM jsonb_populate_recordset(NULL::revisions, %s::jsonb)",
        (msgspec.json.encode(rows).decode(),),
    )
    now = by.services.clock.now_ns()
    entries = [
        Entry(
            kind=Kind.ADMIN_CHANGE, ts_ns=now, actor=by.scope.actor, cor=by.trace_id, cls="admin",
            payload=changes.payload(
                by, one.kind.name, str(one.object_id), one.revision, plain(one.before),
                plain(one.document),
            ),
        )
        for one in some
    ]  # fmt: skip
    await append(by.conn, [(by.scope.tenant_id, entry) for entry in entries])


async def _follow(by: By, some: Sequence[Wanted]) -> None:
    for one in some:
        if one.kind.follow is None:
            continue
        try:
            await one.kind.follow(by, str(one.object_id), one.before, one.document)
        except PortcullisError as error:
            _at(one.place, error)


def _at(place: str, error: PortcullisError) -> NoReturn:
    """The same error, with the place where somebody asked for it."""
    again: Callable[[str], PortcullisError]
    if isinstance(error, Invalid):
        field = f"{place}.{error.field}" if error.field else place
        text = str(error).removeprefix(f"{error.field}: ")
        raise Malformed(f"{field}: {text}", field=field) from None
    for again in (Conflict, Stale, NotFound):
        if type(error) is again:
            raise again(f"{place}: {error}") from None
    raise error
