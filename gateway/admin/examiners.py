"""Examiners: a designated officer or third party who looks and reads for a time, by two people's yes.

1. Somebody who administers the tenant names them, with a reason, a number of days and, where they shall
   be able to read without us, a public key. Whatever the tenant says of four eyes, it waits.
2. A second person agrees. In that one transaction: the appointment, the tenant's audit key encrypted to
   that public key (audit/export/escrow.py), a person with the role `examiner`, and the records of all.
3. The person is invited like any other (POST /v1/people/{person_id}/invitation, the same id).

The role holds while the appointment stands: each request compares the clock anew (migration 0025,
find_session), nobody makes the time longer, and anybody who administers the tenant ends it at once.
The role is given in no other way. What left with them cannot be taken back: an escrowed key opens what
was exported before the end, for good; the log names each export.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from audit.export import escrow
from audit.malformed import Malformed
from gateway.admin import changes
from gateway.admin.archive import Archive, no_audit_key
from gateway.admin.changes import By, Change, ObjectKind, by, plain
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor
from gateway.admin.people import PERSON
from tenancy.errors import Conflict, Invalid
from tenancy.ids import new_id
from tenancy.people import Email, Person, PersonID
from tenancy.store import documents, sessions
from tenancy.store.documents import Stored, Table
from tenancy.values import Name

TAG = "Audit"


class Examiner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is appointed, for how many days from the second yes, why, and the public key of theirs that
    the audit key is encrypted to (PEM; RSA of 3072 bits or more, or X25519; none: they open nothing
    by themselves)."""

    email: Email
    name: Name
    days: Annotated[int, Meta(ge=1, le=731)]
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    public_key: Annotated[str, Meta(max_length=4000)] | None = None


class ExaminerView(msgspec.Struct, frozen=True, kw_only=True):
    """`public_key_sha256`: of the key's SubjectPublicKeyInfo, as hex; null without one. `live`: at this
    moment."""

    examiner_id: UUID
    email: str
    name: str
    days: int
    reason: str
    public_key_sha256: str | None
    until: datetime
    ended_at: datetime | None
    created_at: datetime
    revision: int
    live: bool


async def _check(by: By, before: Examiner | None, after: Examiner | None) -> None:
    if after is None:
        return
    if after.public_key is not None:
        _key(after.public_key)
    row = await (
        await by.conn.execute(
            "SELECT 1 FROM people WHERE email = %s AND archived_at IS NULL", (after.email,)
        )
    ).fetchone()
    if row is not None:
        raise Conflict(
            "somebody with this e-mail address is here already: an examiner is nobody else"
        )


def _key(pem: str) -> escrow.PublicKey:
    try:
        return escrow.read_public_key(pem)
    except Malformed as error:
        raise Invalid(f"public_key: {error}", field="public_key") from None


async def _columns(by: By, object_id: UUID | str, document: Examiner) -> Mapping[str, Any]:
    """When it ends, and the audit key for their key. Raises Unavailable where that cannot be had: then
    nobody is appointed, and the proposal waits for another try."""
    until = by.services.clock.now() + timedelta(days=document.days)
    if document.public_key is None:
        return {"until": until}
    archive: Archive | None = by.services.archive
    ask = no_audit_key if archive is None else archive.audit_key
    made = escrow.encrypt(await ask(by.scope), by.scope.tenant_id, _key(document.public_key))
    return {"until": until, "escrow": msgspec.json.encode(made).decode()}


async def _follow(by: By, object_id: str, before: Examiner | None, after: Examiner | None) -> None:
    """The person, with the appointment's id: neither is there without the other."""
    if before is None and after is not None:
        person = Person(email=after.email, name=after.name, roles=("examiner",))
        await changes.create(by, PERSON, person, UUID(object_id))


EXAMINER: ObjectKind[Examiner] = ObjectKind(
    name="examiner",
    table=Table(
        noun="examiner",
        table="audit_examiners",
        key="examiner_id",
        document=Examiner,
        facts=("until", "ended_at", "created_at", "escrow"),
        write_as={"escrow": "%s::jsonb"},
        fixed=frozenset(Examiner.__struct_fields__),
        archived="",
    ),
    check=_check,
    columns=_columns,
    follow=_follow,
)


def view(stored: Stored[Examiner], now: datetime) -> ExaminerView:
    fields, facts = msgspec.structs.asdict(stored.document), dict(stored.facts)
    pem, made = fields.pop("public_key"), facts.pop("escrow")
    live = facts["ended_at"] is None and facts["until"] > now
    return ExaminerView(
        examiner_id=UUID(stored.object_id), revision=stored.revision, live=live,
        public_key_sha256=None if pem is None else made["public_key_sha256"], **fields, **facts,
    )  # fmt: skip


async def _ask(call: Call) -> Result:
    """Checked as far as it can be before the second person, and then proposed."""
    document: Examiner = call.body
    author = msgspec.structs.replace(by(call), why=call.why or document.reason)
    await _check(author, None, document)
    change: Change[Examiner] = Change(
        verb="create", kind=EXAMINER, object_id=str(new_id()), base=0, before=None,
        after=plain(document),
    )  # fmt: skip
    made = await changes.propose(author, change, frozenset({"examiner"}))
    assert made.proposal is not None
    address = f"/v1/proposals/{made.proposal}"
    return Result(content=Proposed(proposal_id=made.proposal), location=address)


async def _list(call: Call) -> Result:
    query: PageQuery = call.query
    rows = await documents.page(
        call.conn, EXAMINER.table, limit=query.limit, after=read_id(query.cursor)
    )
    more = write_cursor(rows[-1].object_id) if len(rows) == query.limit else None
    now = call.services.clock.now()
    return Result(content=Page(items=[view(row, now) for row in rows], next=more))


async def _get(call: Call) -> Result:
    stored = await documents.read(call.conn, EXAMINER.table, call.uuid("examiner_id"))
    return Result(content=view(stored, call.services.clock.now()), revision=stored.revision)


async def _end(call: Call) -> Result:
    """At once, by one person: what makes it stricter never waits."""
    stored = await documents.read(call.conn, EXAMINER.table, call.uuid("examiner_id"), lock=True)
    if stored.facts["ended_at"] is not None:
        raise Conflict(f"this has ended already, at {stored.facts['ended_at']}")
    now = call.services.clock.now()
    await changes.put_fact(by(call), EXAMINER, stored, "ended_at", now, frozenset())
    await sessions.end_sessions(call.conn, PersonID(UUID(stored.object_id)))
    return await _get(call)


_ADDRESS = "/v1/audit/examiners"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="appoint_examiner", method="POST", path=_ADDRESS, tag=TAG, action="examiners:write",
        summary="Ask that somebody may examine the audit log for a time: a second person has to agree.",
        handle=_ask, body=Examiner, answer=Proposed, status=202, problems=("conflict",),
        detail="Agreed on, the person is there with the appointment's id: invite them with POST"
        " /v1/people/{person_id}/invitation.",
    ),
    Operation(
        name="list_examiners", method="GET", path=_ADDRESS, tag=TAG, action="audit:read",
        summary="List who was appointed to examine, and until when.", handle=_list,
        query=PageQuery, answer=Page[ExaminerView],
    ),
    Operation(
        name="get_examiner", method="GET", path=f"{_ADDRESS}/{{examiner_id}}", tag=TAG,
        action="audit:read", summary="Read one appointment.", handle=_get, answer=ExaminerView,
        problems=("not_found",),
    ),
    Operation(
        name="end_examiner", method="DELETE", path=f"{_ADDRESS}/{{examiner_id}}", tag=TAG,
        action="examiners:write", summary="End an appointment now: their sessions end too.",
        handle=_end, answer=ExaminerView, problems=("not_found", "conflict"),
    ),
)  # fmt: skip
