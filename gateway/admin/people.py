"""People of a tenant: who is here, with which roles; invitations, resets, sessions ended.

Nobody raises their own roles, and nobody takes the last one away who may give them: the last
person who can administer a tenant stays until there is another. Nobody gives more than they have,
and nobody gets hold of an account that may do more than they: making, raising, inviting anew and
taking factors away need all that the person may do. Only what no key may have is not asked for (a
key makes approvers, who decide as people).

Who holds the invitation of a person who is here already is that person. Where the tenant guards
roles, such a reset is a proposal; agreed on, the password is gone and the invitation can be had.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from gateway.admin import changes, login_records
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.errors import Forbidden
from gateway.admin.objects import Proposed, Resource
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import PageQuery
from gateway.admin.sessions import Ended
from tenancy.errors import Conflict, Invalid
from tenancy.four_eyes import adds_roles
from tenancy.people import Person, PersonID
from tenancy.roles import PERSONS, Role, actions_of, roles_of
from tenancy.store import people as people_store
from tenancy.store import proposals, push_devices, sessions
from tenancy.store.documents import Stored
from tenancy.store.people import INVITED_FOR, PEOPLE
from tenancy.tenant import TenantKind

TAG = "People"
ERASED = "@erased.invalid"
"""What the address of a person ends in who was erased (gateway/admin/subjects.py)."""
_GIVES_ROLES = ["admin", "operator"]


class PersonView(msgspec.Struct, frozen=True, kw_only=True):
    """A person as they are. `factors_reset_at`: when their second factors were taken away last.
    `password_reset_at`: since when, agreed on by two, they may be invited anew."""

    person_id: UUID
    email: str
    name: str
    roles: tuple[Role, ...]
    disabled: bool
    state: str
    joined_at: datetime | None
    factors_reset_at: datetime | None
    password_reset_at: datetime | None
    created_at: datetime
    archived_at: datetime | None
    revision: int


class PersonInvited(PersonView, frozen=True, kw_only=True):
    """`invitation` and `invitation_url` are shown in the first answer only."""

    invitation_expires_at: datetime
    invitation: str | None = None
    invitation_url: str | None = None

    def __repr__(self) -> str:
        return f"PersonInvited({self.person_id})"


class Invited(msgspec.Struct, frozen=True, kw_only=True):
    """`invitation` and `invitation_url` are shown in the first answer only."""

    person_id: UUID
    invitation_expires_at: datetime
    invitation: str | None = None
    invitation_url: str | None = None

    def __repr__(self) -> str:
        return f"Invited({self.person_id})"


class PeopleFilters(PageQuery, frozen=True, kw_only=True):
    """Which people."""

    email: str | None = None
    state: str | None = None
    archived: bool = False


async def _check(by: By, before: Person | None, after: Person | None) -> None:
    """Raises Invalid, Forbidden, Conflict."""
    if before is not None and after is not None and before.email.endswith(ERASED):
        raise Conflict("this person was erased by two people: make another one")
    if after is not None:
        await _check_roles(by, before, after)
        if adds_roles(_power(before), _power(after)) or _other_hands(before, after):
            _within_own(by, await _kind(by), after)
    if before is None:
        return
    if adds_roles(_power(before), _power(after)) and await _is_oneself(by, before):
        raise Forbidden("nobody raises their own roles: ask another administrator")
    lost = frozenset(_GIVES_ROLES) & (_power(before) - _power(after))
    if lost and not await _others_give_roles(by, before):
        raise Conflict("this is the last person here who may give roles: make another one first")


async def _check_roles(by: By, before: Person | None, after: Person) -> None:
    new = frozenset(after.roles) - frozenset(() if before is None else before.roles)
    if "examiner" in new and by.proposal is None:
        raise Invalid(
            "roles: an examiner is appointed by two people, at /v1/audit/examiners", field="roles"
        )
    wrong = sorted(set(after.roles) - roles_of(await _kind(by)))
    if wrong:
        raise Invalid(f"roles: {', '.join(wrong)}: not a role of such a tenant", field="roles")


async def _kind(by: By) -> TenantKind:
    row = await (await by.conn.execute("SELECT kind FROM tenants")).fetchone()
    assert row is not None
    kind: TenantKind = row[0]
    return kind


def _within_own(by: By, kind: TenantKind, person: Person) -> None:
    """Raises Forbidden where the person may do what the caller may not."""
    if by.proposal is not None:
        return
    beyond = actions_of(_power(person), kind) - by.actions - PERSONS
    if beyond:
        raise Forbidden(
            f"you may not do {', '.join(sorted(beyond))}, so you give nobody that, and get hold of"
            " nobody's account who may"
        )


async def _is_oneself(by: By, person: Person) -> bool:
    """Also by a service key of one's own making."""
    behind = sorted({*await proposals.people_behind(by.conn, by.scope.actor), by.scope.actor.id})
    row = await (
        await by.conn.execute(
            "SELECT 1 FROM people WHERE person_id::text = ANY(%s) AND email = %s"
            " AND archived_at IS NULL",
            (behind, person.email),
        )
    ).fetchone()
    return row is not None


async def _others_give_roles(by: By, person: Person) -> bool:
    # The lock makes two who take each other's role away wait for one another.
    cursor = await by.conn.execute(
        "SELECT person_id, email, state FROM people WHERE archived_at IS NULL AND roles && %s"
        " ORDER BY person_id FOR UPDATE",
        (_GIVES_ROLES,),
    )
    rows = await cursor.fetchall()
    return any(email != person.email and state == "active" for _, email, state in rows)


def _power(person: Person | None) -> frozenset[str]:
    """The roles somebody can use."""
    return frozenset(person.roles) if person is not None and not person.disabled else frozenset()


def _other_hands(before: Person | None, after: Person | None) -> bool:
    """Whether roles that are in use go to another address."""
    other = before is not None and after is not None and before.email != after.email
    return other and bool(_power(after))


def _danger(
    before: Person | None, after: Person | None, facts: Mapping[str, Any]
) -> frozenset[str]:
    """More roles, or roles in other hands: another e-mail address is another way to come in."""
    if adds_roles(_power(before), _power(after)) or _other_hands(before, after):
        return frozenset({"roles"})
    return frozenset()


PERSON: ObjectKind[Person] = ObjectKind(name="person", table=PEOPLE, check=_check, danger=_danger)

PEOPLE_RESOURCE: Resource[Person] = Resource(
    kind=PERSON,
    path="/v1/people",
    id_name="person_id",
    tag=TAG,
    view=PersonView,
    resource="people",
    filters=PeopleFilters,
)


async def _create(call: Call) -> Result:
    """Made, and invited; where a second person is asked, the invitation follows their yes."""
    object_id, made = await changes.create(by(call), PERSON, call.body)
    result = await PEOPLE_RESOURCE.answer(call, object_id, made, 201)
    if made.proposal is not None:
        return result
    expires, once = await _invitation(call, PersonID(UUID(object_id)))
    content = PersonInvited(**msgspec.structs.asdict(result.content), invitation_expires_at=expires)
    return Result(
        content=content, status=201, revision=result.revision, location=result.location, once=once
    )


async def _invite(call: Call) -> Result:
    """A new invitation is a reset: the old password is gone and sessions end."""
    stored = await PEOPLE_RESOURCE.stored(call, lock=True)
    if stored.document.disabled or stored.facts["archived_at"] is not None:
        raise Conflict("a person who is disabled or archived is not invited")
    author = by(call)
    _within_own(author, await _kind(author), stored.document)
    if await _needs_a_yes(call, author, stored):
        made = await changes.put_fact(
            author, PERSON, stored, "password_reset_at", call.services.clock.now(),
            frozenset({"roles"}),
        )  # fmt: skip
        return await PEOPLE_RESOURCE.answer(call, stored.object_id, made)
    person = PersonID(UUID(stored.object_id))
    await people_store.drop_password(call.conn, person)
    await sessions.end_sessions(call.conn, person)
    expires, once = await _invitation(call, person)
    facts = {"of": stored.object_id, "why": call.why}
    await login_records.record(call, call.conn, call.scope, "invited", facts)
    return Result(
        content=Invited(person_id=person, invitation_expires_at=expires), status=201, once=once
    )


async def _needs_a_yes(call: Call, author: By, stored: Stored[Person]) -> bool:
    """Whether the invitation would hand over an account in use, to which nobody else agreed lately."""
    if stored.facts["joined_at"] is None or not _power(stored.document):
        return False
    if not await changes.waits(author, frozenset({"roles"})):
        return False
    agreed = stored.facts["password_reset_at"]
    if agreed is None or call.services.clock.now() >= agreed + INVITED_FOR:
        return True
    kept = await people_store.password_of(call.conn, PersonID(UUID(stored.object_id)))
    return kept is not None  # the reset that was agreed on has been used


async def _invitation(call: Call, person: PersonID) -> tuple[datetime, dict[str, str]]:
    token, expires = await people_store.invite(
        call.conn, call.scope, person, call.services.clock.now()
    )
    # After the #, which no browser sends and no proxy logs.
    url = f"{call.sign_in.base_url}/#invitation={token}"
    return expires, {"invitation": token, "invitation_url": url}


async def _end_sessions(call: Call) -> Result:
    stored = await PEOPLE_RESOURCE.stored(call)
    person = PersonID(UUID(stored.object_id))
    ended = await sessions.end_sessions(call.conn, person)
    devices = await push_devices.remove_all(call.conn, person)  # as for a phone that was lost
    facts = {"of": stored.object_id, "ended": ended, "devices": devices, "why": call.why}
    await login_records.record(call, call.conn, call.scope, "sessions_ended", facts)
    return Result(content=Ended(ended=ended))


async def _reset_factors(call: Call) -> Result:
    """A trigger removes them with the column's change, so that an approved proposal does the same."""
    stored = await PEOPLE_RESOURCE.stored(call, lock=True)
    author = by(call)
    _within_own(author, await _kind(author), stored.document)
    made = await changes.put_fact(
        author, PERSON, stored, "factors_reset_at", call.services.clock.now(),
        frozenset({"roles"}),
    )  # fmt: skip
    return await PEOPLE_RESOURCE.answer(call, stored.object_id, made)


OPERATIONS: tuple[Operation, ...] = (
    *PEOPLE_RESOURCE.operations(),
    Operation(
        name="create_person", method="POST", path="/v1/people", tag=TAG, action="people:write",
        handle=_create, body=Person, status=201, answer=PersonInvited, also={202: Proposed},
        shows_once=("invitation", "invitation_url"), problems=("conflict",),
        summary="Make a person and invite them: they set their own password.",
    ),
    Operation(
        name="invite_person", method="POST", path="/v1/people/{person_id}/invitation", tag=TAG,
        action="people:write", handle=_invite, status=201, answer=Invited, also={202: Proposed},
        shows_once=("invitation", "invitation_url"), problems=("not_found", "conflict"),
        summary="Invite a person anew: their password is gone, their sessions end.",
        detail="Where the tenant guards roles, a second person agrees first if the person was here"
        " before; then the same request gives the invitation.",
    ),
    Operation(
        name="end_sessions_of_person", method="DELETE", path="/v1/people/{person_id}/sessions",
        tag=TAG, action="people:write", handle=_end_sessions, answer=Ended,
        problems=("not_found",), summary="End all sessions of a person; their devices are told no more.",
    ),
    Operation(
        name="reset_factors_of_person", method="DELETE", path="/v1/people/{person_id}/factors",
        tag=TAG, action="people:write", handle=_reset_factors, conditional=True, answer=PersonView,
        also={202: Proposed}, problems=("not_found", "stale_revision"),
        summary="Take away all second factors of a person who lost theirs; their sessions end.",
    ),
)  # fmt: skip
