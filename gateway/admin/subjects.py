"""Data subjects: everything that is held about a person, corrected, and restricted or erased.

Erasure is two things:

1. **Restriction**, while records must be kept (GDPR Art. 17(3)(b), 18): always by two people, whatever
   the tenant says of four eyes. The person is disabled; password, second factors, sessions and the
   binding to an identity provider are deleted; name and e-mail address in the person's row become a
   pseudonym. Revisions and audit records are evidence and stay as they are until their time is over.
   The receipt is the audit record `erasure` with both people, and the applied proposal.
2. **Shredding** what the audit log says about the person, after the retention: the same proposal then
   destroys the person's data keys too (gateway/admin/audit_erasures.py). Within the retention or under a
   legal hold it is refused, never pretended. Revisions stay.

An export is itself recorded. Audit entries appear in it when the recorder has given them their place
in the log, a moment after they were made. It reads the tenant's whole log: rare, and not fast.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import Meta
from psycopg.rows import dict_row

from audit import ring
from audit.proving import commitment
from audit.record import Kind
from audit.sealing import person as subject_of
from audit.shredding import WithinRetention
from gateway.admin import audit_erasures, changes
from gateway.admin.changes import By, Change, by
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.people import ERASED, PERSON, PersonView
from gateway.admin.sessions import person_of
from tenancy.errors import NotFound, Stale
from tenancy.people import Person, PersonID
from tenancy.store import documents, factors, push_devices, sessions
from tenancy.store import people as people_store
from tenancy.store.documents import Stored
from tenancy.store.people import PEOPLE
from tenancy.store.proposals import Proposal
from tenancy.store.tenants import read_settings

TAG = "Data subjects"
ENTRIES_MOST = 10_000
"""Of each kind in one export; `complete` is false where there are more."""

_SESSIONS = """
SELECT session_id, transport, created_at, seen_at, second_factor_at, client, user_agent
FROM sessions WHERE person_id = %(id)s ORDER BY session_id DESC LIMIT %(most)s"""
_REVISIONS = """
SELECT kind, object_id, revision, before, after, actor, why, at FROM revisions
WHERE actor ->> 'id' = %(text)s OR kind = 'person' AND object_id = %(text)s
ORDER BY at DESC LIMIT %(most)s"""
_PROPOSALS = """
SELECT proposal_id, kind, object_id, operation, comment, state, proposed_by, proposed_at,
       decided_by, decided_at, decision_comment
FROM proposals WHERE proposed_by ->> 'id' = %(text)s OR decided_by ->> 'id' = %(text)s
    OR kind = 'person' AND object_id = %(text)s
ORDER BY proposal_id DESC LIMIT %(most)s"""
_AUDIT = """
SELECT l.i, l.leaf, p.payload FROM audit_leaves l LEFT JOIN audit_payloads p USING (log_id, i)
WHERE l.i < %(before)s ORDER BY l.i DESC LIMIT %(page)s"""
PAGE = 1_000
_LAST = """
SELECT max(at) FROM revisions
WHERE actor ->> 'id' = %(text)s OR kind = 'person' AND object_id = %(text)s"""


class PersonalData(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a person, without hashes and secrets. `complete`: nothing was left out."""

    person: PersonView
    factors: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    push_devices: list[dict[str, Any]]
    revisions: list[dict[str, Any]]
    proposals: list[dict[str, Any]]
    audit_entries: list[dict[str, Any]]
    complete: bool
    at: datetime


class Correction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong in the records about a person, and what is right. `entry`: an index of the
    tenant's audit log; the row itself is corrected with PATCH /v1/people/{person_id}."""

    statement: Annotated[str, Meta(min_length=1, max_length=4000)]
    entry: Annotated[int, Meta(ge=0)] | None = None


class Erasure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`shred`: also what is evidence, after its retention."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    shred: bool = False


async def _export(call: Call) -> Result:
    return await _data(call, PersonID(call.uuid("person_id")))


async def _export_own(call: Call) -> Result:
    return await _data(call, person_of(call))


async def _data(call: Call, person: PersonID) -> Result:
    stored = await documents.read(call.conn, PEOPLE, person)
    found = {
        "sessions": await _rows(call, _SESSIONS, person),
        "revisions": await _rows(call, _REVISIONS, person),
        "proposals": await _rows(call, _PROPOSALS, person),
        "audit_entries": await _audit_entries(call, person),
    }
    await changes.record_change(
        by(call), Kind.EXPORT, {"what": "personal_data", "subject": str(person), "why": call.why}
    )
    content = PersonalData(
        person=_view(stored),
        factors=await factors.listed(call.conn, person),
        push_devices=[_shown(row) for row in await push_devices.listed(call.conn, person)],
        complete=all(len(rows) < ENTRIES_MOST for rows in found.values()),
        at=call.services.clock.now(),
        **found,
    )
    return Result(content=content)


def _view(stored: Stored[Person]) -> PersonView:
    fields = msgspec.structs.asdict(stored.document)
    return PersonView(
        person_id=UUID(stored.object_id), revision=stored.revision, **fields, **stored.facts
    )


def _shown(device: dict[str, Any]) -> dict[str, Any]:
    """A device with its push service; with the whole endpoint others could ask that service about it."""
    return {**device, "endpoint": urlsplit(device["endpoint"]).hostname}


async def _rows(call: Call, query: str, person: PersonID) -> list[dict[str, Any]]:
    cursor = call.conn.cursor(row_factory=dict_row)
    values = {"id": person, "text": str(person), "most": ENTRIES_MOST}
    await cursor.execute(query.encode(), values)
    return list(await cursor.fetchall())


async def _audit_entries(call: Call, person: PersonID) -> list[dict[str, Any]]:
    """Records by or about the person, newest first. Payloads are opened here: the database cannot look
    into them."""
    text, before = str(person).encode(), 2**62
    found: list[dict[str, Any]] = []
    while len(found) < ENTRIES_MOST:
        cursor = await call.conn.execute(_AUDIT, {"before": before, "page": PAGE}, binary=True)
        rows = await cursor.fetchall()
        stored = [(payload, commitment(leaf)) for _, leaf, payload in rows]
        payloads = await ring.shown(call.scope.tenant_id, stored)
        for (index, leaf, _), payload in zip(rows, payloads, strict=True):
            if text in leaf or (payload is not None and text in payload):
                said = None if payload is None else msgspec.json.decode(payload)
                if said is not None:
                    said.pop("k_rec", None)
                found.append({"i": index, "leaf": msgspec.json.decode(leaf), "payload": said})
        if len(rows) < PAGE:
            break
        before = rows[-1][0]
    return found[:ENTRIES_MOST]


async def _correct(call: Call) -> Result:
    person, correction = call.uuid("person_id"), call.body
    await documents.read(call.conn, PEOPLE, person)
    facts = {"event": "correction", "object": "person", "id": str(person),
             "statement": correction.statement, "entry": correction.entry, "why": call.why}  # fmt: skip
    await changes.record_change(by(call), Kind.ADMIN_CHANGE, facts)
    return Result()


async def _erase(call: Call) -> Result:
    person, wanted = call.uuid("person_id"), call.body
    stored = await documents.read(call.conn, PEOPLE, person, lock=True)
    until = await _kept_until(by(call), str(person))
    if wanted.shred and until > call.services.clock.now():
        raise WithinRetention(
            f"records by or about this person are kept until {until:%Y-%m-%d}, so they are not"
            " shredded; ask without `shred` to restrict them"
        )
    author = msgspec.structs.replace(by(call), why=wanted.reason)
    shred = wanted.shred and await _shreddable(author, person)
    change: Change[Person] = Change(
        verb="erase", kind=PERSON, object_id=stored.object_id, base=stored.revision,
        before=None, after={"disabled": True, "pseudonym": pseudonym(person).email,
                            "records_kept_until": until.isoformat(), "shred": shred},
    )  # fmt: skip
    made = await changes.propose(author, change, frozenset({"retention"}))
    assert made.proposal is not None
    address = f"/v1/proposals/{made.proposal}"
    return Result(content=Proposed(proposal_id=made.proposal), location=address)


async def _kept_until(by: By, person: str) -> datetime:
    """Until when evidence by or about the person stays: so many years after the last of it."""
    row = await (await by.conn.execute(_LAST, {"text": person})).fetchone()
    settings = await read_settings(by.conn, by.scope.tenant_id)
    last: datetime = (row[0] if row is not None else None) or by.services.clock.now()
    return last + timedelta(days=366 * settings.retention_years)


async def _shreddable(by: By, person: UUID) -> bool:
    """Whether there is anything to shred; then its keys are retired. Raises UnderHold, WithinRetention."""
    try:
        await audit_erasures.prepare(by, subject_of(person))
    except NotFound:
        return False
    return True


def pseudonym(person: UUID) -> Person:
    """Who is left in the row: the id, which evidence refers to, and nothing that names anybody."""
    return Person(email=f"{person}{ERASED}", name=f"erased {str(person)[-12:]}", disabled=True)


async def restrict(by: By, proposal: Proposal) -> None:
    """What two people agreed on: the row names nobody and opens nothing. Raises Stale, Conflict; where it
    is shredded too, what audit_erasures.erase() raises."""
    person = PersonID(UUID(proposal.object_id))
    stored = await documents.read(by.conn, PEOPLE, person, lock=True)
    if stored.revision != proposal.base:
        raise Stale(f"the person is at revision {stored.revision}, not {proposal.base}: ask again")
    erased = None
    if (proposal.after or {}).get("shred"):  # first: what follows is a record about the person
        erased = await audit_erasures.erase(by, proposal, subject_of(person))
    await changes.change(by, PERSON, stored, pseudonym(person))
    await people_store.drop_password(by.conn, person)
    await factors.remove_all(by.conn, person)
    await sessions.end_sessions(by.conn, person)
    gone = await by.conn.execute(
        "UPDATE people SET oidc_issuer = NULL, oidc_subject = NULL WHERE person_id = %s", (person,)
    )
    if gone.rowcount != 1:
        raise NotFound(f"there is no person {person} any more")
    kept = (proposal.after or {}).get("records_kept_until")
    await changes.record_change(by, Kind.ADMIN_CHANGE, {
        "event": "erasure", "object": "person", "id": str(person), "restricted": True,
        "shredded": erased is not None, "erasure": str(erased.erasure_id) if erased else None,
        "records_kept_until": kept, "why": by.why,
        "proposal": str(by.proposal), "proposed_by": msgspec.to_builtins(proposal.proposed_by),
        "approved_by": msgspec.to_builtins(by.approved_by),
    })  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="export_person", method="GET", path="/v1/people/{person_id}/data", tag=TAG,
        action="subjects:export", handle=_export, answer=PersonalData, problems=("not_found",),
        summary="Everything that is held about a person; the export is recorded.",
    ),
    Operation(
        name="export_me", method="GET", path="/v1/me/data", tag=TAG, action="self",
        handle=_export_own, answer=PersonalData,
        summary="Everything that is held about oneself; the export is recorded.",
    ),
    Operation(
        name="correct_records_of_person", method="POST", path="/v1/people/{person_id}/corrections",
        tag=TAG, action="subjects:correct", handle=_correct, body=Correction, status=204,
        summary="Set right what records say about a person, by a further record.",
        problems=("not_found",),
    ),
    Operation(
        name="erase_person", method="POST", path="/v1/people/{person_id}/erasure", tag=TAG,
        action="subjects:correct", handle=_erase, body=Erasure, answer=Proposed, status=202,
        summary="Ask for a person's erasure: restricted by two people while records must be kept.",
        problems=("not_found", "within_retention", "under_hold"),
    ),
)  # fmt: skip
